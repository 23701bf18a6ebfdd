import { z } from 'zod';

/** Limits of what is put before a model and of the tools; bytes are of UTF-8. */
export type TaskLimits = {
  /** One file; a larger one is left out. */
  fileBytes: number;
  /** All files; those that no longer fit are left out. */
  totalBytes: number;
  files: number;
  toolCalls: number;
  /** What all tool calls of the order may answer. */
  toolBytes: number;
  /** What one call may answer; what is longer is cut. */
  callBytes: number;
  callMs: number;
};

/** All that a unit is told. */
export type Task = {
  /** The worktree. */
  root: string;
  /** Patterns of `fs_allowlist`. */
  allow: string[];
  /** Files that the order puts before the model, as paths or as `folder/*`. */
  wanted: string[];
  limits: TaskLimits;
};

/** A tool that the model asks for, its arguments as JSON. */
export type ToolCall = { id: string; name: string; input: Record<string, unknown> };

/** What the worker says: the task first, then one answer to each question. */
export type ToUnit =
  | { kind: 'begin'; task: Task }
  | { kind: 'calls'; calls: ToolCall[] }
  | { kind: 'answer'; outputs: { path: string; text: string }[] }
  | { kind: 'written' }
  | { kind: 'refused'; reason: string };

const size = z.int().min(0);
const text = z.string();

/** What a unit says, as the worker checks it; `ask` and `write` are questions. */
export const fromUnit = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('ask'),
    files: z.array(z.strictObject({ path: text.max(2_048), text })).max(1_000),
    results: z.array(z.strictObject({ id: text.max(256), exit: z.int(), output: text })).max(1_000),
  }),
  z.strictObject({
    kind: z.literal('tool'),
    index: size,
    command: text.max(64),
    line: text.max(500),
    exit: z.int().min(0).max(255),
    bytes_in: size,
    bytes_out: size,
    duration_ms: size,
    denied: text.max(500).optional(),
  }),
  z.strictObject({ kind: z.literal('write'), path: text.max(2_048), text }),
  z.strictObject({ kind: z.literal('blocked'), reason: text.max(100_000) }),
  z.strictObject({ kind: z.literal('done'), notes: z.array(text.max(4_096)).max(10_000) }),
  z.strictObject({ kind: z.literal('failed'), denied: z.boolean(), message: text.max(100_000) }),
]);
/** One message of a unit. */
export type FromUnit = z.output<typeof fromUnit>;

type Said<K extends FromUnit['kind']> = Extract<FromUnit, { kind: K }>;
/** It puts files or tool results before the model. */
export type Asked = Said<'ask'>;
/** It has run a tool. */
export type ToolReport = Said<'tool'>;
/** It wants a file written. */
export type Write = Said<'write'>;
