import type { GateResult } from '#libs/contracts';
import type { Theater } from '#libs/worktrees';

/** What the gates look at: one commit of an order's branch, and the worktree it was made in. */
export type Candidate = {
  theater: Theater;
  orderId: string;
  runId: string | null;
  worktreePath: string;
  commitSha: string;
};

/** The result of one gate, before it has its name. */
export type GateVerdict = Omit<GateResult, 'gate'>;

/** Control files of an order: they stay on its branch, so that orders do not collide in them. */
export const BRANCH_ONLY: readonly string[] = ['order.json', 'task.md', 'aar.json', 'state.json'];

/** The gate lets the candidate through. */
export const passed = (message: string): GateVerdict => ({ passed: true, message });

/** The gate refuses the candidate. */
export const failed = (message: string, details?: Record<string, unknown>): GateVerdict => ({
  passed: false,
  message: clip(message, 1_000),
  ...(details && { details }),
});

const PATHS_SHOWN = 10;
const PATHS_LISTED = 50;
const PATH_CHARS = 300;

/** A refusal because of some paths: the first of them in the message, some more in the details. */
export function failedAt(what: string, key: string, paths: readonly string[]): GateVerdict {
  const listed = paths.slice(0, PATHS_LISTED).map((path) => clip(path, PATH_CHARS));
  const more = paths.length > PATHS_SHOWN ? ` and ${paths.length - PATHS_SHOWN} more` : '';
  return failed(`${what} ${listed.slice(0, PATHS_SHOWN).join(', ')}${more}`, { [key]: listed });
}

function clip(text: string, chars: number): string {
  return text.length <= chars ? text : `${text.slice(0, chars - 1)}…`;
}
