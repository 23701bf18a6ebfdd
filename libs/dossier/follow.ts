import type { Drained } from './drain.ts';

/** Between two looks at the queue while the server answers. */
export const TICK_MS = 300_000;
const DOWN_MS = 500;
const DOWN_MS_MAX = 30_000;

/** What one look at the queue came to. `busy`: another process sends at this moment. */
export type Tick = Drained | { stopped: 'busy' | 'unreachable' };

export type FollowQueueOptions = {
  /** One drain. */
  tick: () => Promise<Tick>;
  /** When the next waiting row is due, in ms from now; null: none waits. */
  nextDueMs: () => number | null;
  /**
   * Resolves after the time, or as soon as the signal is aborted; where nothing is down, it may
   * also do so earlier, when rows have come.
   */
  sleep: (ms: number, isDown: boolean) => Promise<void>;
  signal: AbortSignal;
  /** Default 300 000 ms. */
  tickMs?: number;
  /** Told of each tick, with the wait that follows it. */
  onTick?: (tick: Tick, waitMs: number) => void;
};

/**
 * Sends what is due, and again whenever something is, until the signal is aborted. A server that
 * does not serve is left alone as a whole: 0.5 s, doubling to 30 s (reference §3).
 */
export async function followQueue(options: FollowQueueOptions): Promise<void> {
  const { tick, nextDueMs, sleep, signal, tickMs = TICK_MS, onTick } = options;
  let failures = 0;
  while (!signal.aborted) {
    const told = await tick();
    if (told.stopped === 'aborted') return;
    failures = told.stopped === null ? 0 : failures + 1;
    const waitMs = failures > 0 ? downMs(failures) : waitOf(nextDueMs(), tickMs);
    onTick?.(told, waitMs);
    await sleep(waitMs, failures > 0);
  }
}

/** How long the whole service waits after so many failed ticks (from 1): 0.5, 1, 2 … 30 s. */
export function downMs(failures: number): number {
  return Math.min(DOWN_MS * 2 ** (failures - 1), DOWN_MS_MAX);
}

/** A row that is due before the next tick has one of its own; a due one did not come just now. */
function waitOf(dueMs: number | null, tickMs: number): number {
  return dueMs === null ? tickMs : Math.min(Math.max(dueMs, DOWN_MS), tickMs);
}
