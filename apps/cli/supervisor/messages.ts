import { setTimeout as sleep } from 'node:timers/promises';
import { type ErrorBody, errorBody, isAppError } from '#libs/contracts';

/** Set for processes that a supervisor started and speaks with over Node's own channel. */
export const SUPERVISED = 'IRONCLAW_SUPERVISED';

const BEAT_EVERY_MS = 2_000;

/** What a role process tells its supervisor. */
export type ChildMessage =
  /** It does its work; `url` is of its HTTP API. */
  | { type: 'ready'; url: string | null }
  /** Its event loop turns. */
  | { type: 'beat' }
  /** It cannot start, and says why. */
  | { type: 'failed'; error: ErrorBody };

/** True in a process that a supervisor started. */
export function isSupervised(env: Record<string, string | undefined>): boolean {
  return env[SUPERVISED] === '1' && process.send !== undefined;
}

export function tellReady(url: string | null): void {
  void tell({ type: 'ready', url });
}

/** Gives a sign of life every 2 s, from the event loop: one that stands still gives none. */
export async function beatForever(everyMs = BEAT_EVERY_MS): Promise<void> {
  while (process.connected) {
    // The next one waits until this one is written: they do not pile up before who does not read.
    await tell({ type: 'beat' });
    await sleep(everyMs, undefined, { ref: false });
  }
}

/** Tells an error of the catalogue, and answers whether it was one. */
export async function tellFailure(error: unknown): Promise<boolean> {
  if (!isAppError(error)) return false;
  const body = errorBody(error);
  if (!body.ok) await tell({ type: 'failed', error: body.error });
  return true;
}

function tell(message: ChildMessage): Promise<void> {
  return new Promise((resolve) => {
    // A supervisor that is gone is noticed by 'disconnect'.
    process.send?.(message, undefined, undefined, () => resolve());
  });
}
