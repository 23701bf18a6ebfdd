import { z } from 'zod';
import { LIMITS } from './limits.ts';

/** Bounds of gate profiles. */
export const GATE_LIMITS = {
  /** Gates of one profile: their results stand in one event. */
  gates: 32,
  /** Longest time of all commands together, and of one where the profile says nothing. */
  timeoutSecondsMax: 480,
  timeoutSecondsDefault: 60,
  /** Bytes that one command may write to its output. */
  outputBytesMax: 64 * 1024 * 1024,
  outputBytesDefault: 1024 * 1024,
  /** Characters of a command's output that stand in its result: the last ones. */
  outputTailChars: 2_000,
} as const;

/** A path with `*` (inside a folder), `**` (any folders) and `?`; from the root of the repository. */
const glob = z
  .string()
  .min(1)
  .max(256)
  .refine((text) => !text.startsWith('/') && !text.split('/').includes('..'), {
    message: 'must be relative, without ..',
  });
const globs = z.array(glob).max(64);
const bytes = z
  .int()
  .min(0)
  .max(1024 ** 3);

const gate = z.discriminatedUnion('gate', [
  z.strictObject({ gate: z.literal('aar-schema') }),
  z.strictObject({ gate: z.literal('artifacts') }),
  z.strictObject({ gate: z.literal('clean-tree') }),
  /** The gate of the project's phase that the order belongs to must be decided go. */
  z.strictObject({ gate: z.literal('governance') }),
  /** Which paths an order's commit may change; `deny` is stronger than `allow`. */
  z.strictObject({
    gate: z.literal('paths'),
    allow: globs.min(1).default(['**']),
    deny: globs.default([]),
    /** May symbolic links and submodules be among them. */
    links: z.boolean().default(false),
  }),
  /** How much an order's commit may add or change. */
  z.strictObject({
    gate: z.literal('sizes'),
    max_file_bytes: bytes.default(LIMITS.artifactBytes),
    max_total_bytes: bytes.default(8 * LIMITS.artifactBytes),
    max_files: z.int().min(0).max(100_000).default(1_000),
  }),
  /** A program that must end with exit code 0, run in a fresh checkout of the commit. */
  z.strictObject({
    gate: z.literal('command'),
    name: z.string().regex(/^[a-z0-9][a-z0-9._-]{0,63}$/),
    /** Program and arguments; no shell reads them. */
    run: z.array(z.string().min(1).max(4_096)).min(1).max(64),
    timeout_seconds: z
      .number()
      .positive()
      .max(GATE_LIMITS.timeoutSecondsMax)
      .default(GATE_LIMITS.timeoutSecondsDefault),
    max_output_bytes: z
      .int()
      .min(1)
      .max(GATE_LIMITS.outputBytesMax)
      .default(GATE_LIMITS.outputBytesDefault),
    /** Beside PATH, HOME and the like; never secrets, as the profile is no secret. */
    env: z.record(z.string().regex(/^[A-Za-z_]\w{0,63}$/), z.string().max(4_096)).default({}),
    /** True: the command may reach the network. */
    network: z.boolean().default(false),
  }),
]);
/** One check of a gate profile. */
export type GateSpec = z.output<typeof gate>;

/** What an order's result must pass before it is promoted, kept as a data file. */
export const gateProfile = z
  .strictObject({
    name: z.string().regex(/^[a-z0-9][a-z0-9._-]{0,127}$/),
    description: z.string().max(1_000).default(''),
    gates: z.array(gate).min(1).max(GATE_LIMITS.gates),
  })
  .superRefine(({ gates }, ctx) => {
    const names = new Set<string>();
    for (const [index, spec] of gates.entries()) {
      const name = gateName(spec);
      if (names.has(name)) {
        ctx.addIssue({ code: 'custom', path: ['gates', index], message: `${name} is used twice` });
      }
      names.add(name);
    }
    const seconds = gates.reduce(
      (sum, spec) => sum + (spec.gate === 'command' ? spec.timeout_seconds : 0),
      0,
    );
    if (seconds > GATE_LIMITS.timeoutSecondsMax) {
      const message = `commands may take ${GATE_LIMITS.timeoutSecondsMax} s together, not ${seconds}`;
      ctx.addIssue({ code: 'custom', path: ['gates'], message });
    }
  });
export type GateProfile = z.output<typeof gateProfile>;

/** What a gate is called in results: its kind, or the name of its command. */
export function gateName(spec: GateSpec): string {
  return spec.gate === 'command' ? spec.name : spec.gate;
}
