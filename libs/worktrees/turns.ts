import { setImmediate as nextTurn } from 'node:timers/promises';
import { WORKTREE_LIMITS } from './limits.ts';

/** Makes a function that lets the event loop turn at every 32nd call of a long loop. */
export function turns(): () => Promise<void> | undefined {
  let count = 0;
  return () => (++count % WORKTREE_LIMITS.filesPerTurn === 0 ? nextTurn() : undefined);
}
