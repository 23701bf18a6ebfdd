import { setTimeout as sleep } from 'node:timers/promises';
import { invalid, LIMITS } from '#libs/contracts';
import type { Projection } from './projection.ts';

/** A view that follows is level within this; only later the stream is asked how far it goes. */
const GRACE_MS = 250;

type Followed = Pick<Projection, 'at' | 'waitFor'> & { tail: () => Promise<number> };

/** `reflect` of a projection whose stream ends at `tail`. */
export function createReflect({ at, waitFor, tail }: Followed): Projection['reflect'] {
  return async (atLeast) => {
    if (atLeast === undefined || at() >= atLeast) return;
    const over = new AbortController();
    const waiting = waitFor(atLeast, { timeoutMs: LIMITS.atLeastWaitMs, signal: over.signal });
    try {
      await Promise.race([waiting, refusal(tail, atLeast, waiting, over.signal)]);
    } finally {
      over.abort();
    }
  };
}

/**
 * Rejects where the stream ends before `atLeast`; otherwise ends as `waiting` does. The end is asked
 * twice: a leader that was elected a moment ago may not count yet what was acked before.
 */
async function refusal(
  tail: () => Promise<number>,
  atLeast: number,
  waiting: Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  for (let asked = 1; ; asked += 1) {
    // Ends with the waiting: then nobody listens any more, and the stream is not asked.
    await sleep(GRACE_MS, undefined, { signal });
    // A broker that is away does not say where the stream ends: nothing is refused then.
    const end = await tail().catch(() => Number.POSITIVE_INFINITY);
    if (end >= atLeast) return waiting;
    if (asked === 2) throw invalid('at_least', `the stream ends at ${end}`);
  }
}
