import { LIMITS, type OrderFile } from '#libs/contracts';
import type { Task } from '#libs/units';
import { filesWanted, PROMPT_LIMITS } from './prompt.ts';

/** What one order may ask for in all. */
export type Caps = {
  /** Tool calls. */
  calls: number;
  /** Tokens of all answers. */
  tokens: number;
};

/** Bytes of what the tool calls of one order answer, in all and each, and the time of each. */
const TOOL_BYTES = 256 * 1024;
const CALL_BYTES = 32 * 1024;
const CALL_MS = 2_000;

/** The caps of an order: its own, else the defaults; an answer that its profile asks for fits. */
export function capsOf({ constraints, profile }: OrderFile): Caps {
  const asked = Number.isSafeInteger(profile?.max_tokens) ? Number(profile?.max_tokens) : 0;
  return {
    calls: constraints.max_tool_calls ?? LIMITS.toolCallsDefault,
    tokens: constraints.max_tokens ?? Math.max(LIMITS.orderTokensDefault, asked),
  };
}

/** Patterns of the files that the order's unit may touch. */
export function allowOf({ constraints }: OrderFile): string[] {
  return constraints.tool_policy?.fs_allowlist ?? ['./'];
}

/** What a unit is told of its order. */
export function taskOf(order: OrderFile, root: string, caps: Caps): Task {
  return {
    root,
    allow: allowOf(order),
    wanted: [...filesWanted(order)],
    limits: {
      ...PROMPT_LIMITS,
      toolCalls: caps.calls,
      toolBytes: TOOL_BYTES,
      callBytes: CALL_BYTES,
      callMs: CALL_MS,
    },
  };
}
