import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { type BodyUpload, isAppError } from '#libs/contracts';
import type { Answer, Outcome } from './answers.ts';
import type { BodyQueue, QueuedUpload } from './queue.ts';
import { HELD_MS } from './rules.ts';

/** Rows sent before the queue is looked at again. */
export const DRAIN_BATCH = 50;
/** So many refusals of one kind in a row mean the server, not the rows. */
const REFUSALS_MAX = 10;

export type DrainOptions = {
  queue: BodyQueue;
  nowMs: () => number;
  push: (upload: BodyUpload) => Promise<Answer>;
  /** Refuses what breaks the contract, before it is sent. @throws an AppError that says why */
  gate: (upload: BodyUpload) => void;
  /**
   * Sends the events that wait. The server has an entry for an artifact only once its event is
   * there, so bodies wait until this answers true.
   */
  drainEvents?: () => Promise<boolean>;
  /**
   * True for a sender that comes again by itself: an answer that says nothing of the row uses up no
   * try of it and ends the drain, so that days without a network, or a valid token, cost no row.
   */
  keepTries?: boolean;
  signal?: AbortSignal;
};

export type Drained = {
  uploaded: number;
  already_exists: number;
  /** Failed for now. */
  retrying: number;
  /** Failed for good. */
  failed: number;
  /** Not sent, since the gate refuses them; they stay in the queue. */
  held: number;
  /** Given up because they were tried too often. */
  exhausted: number;
  /** Why not all that was due was sent: what the server said again and again; null: it was. */
  stopped: 'events_pending' | 'aborted' | Outcome | null;
};

/** Sends every row that is due once, oldest first. */
export async function drainQueue(options: DrainOptions): Promise<Drained> {
  const { queue, drainEvents, signal, nowMs } = options;
  const total: Drained = {
    uploaded: 0,
    already_exists: 0,
    retrying: 0,
    failed: 0,
    held: 0,
    exhausted: queue.dropExhausted(),
    stopped: null,
  };
  const startedMs = nowMs();
  let refused: { outcome: Outcome; times: number } | undefined;
  for (;;) {
    const areThrough = drainEvents === undefined || (await drainEvents());
    if (signal?.aborted) return { ...total, stopped: 'aborted' };
    if (!areThrough) return { ...total, stopped: 'events_pending' };
    // A row that failed is due later than the start, so each has one try in a drain.
    const rows = queue.due(DRAIN_BATCH, startedMs);
    if (rows.length === 0) return total;
    for (const row of rows) {
      if (signal?.aborted) return { ...total, stopped: 'aborted' };
      const refusal = refusalOf(row, options);
      if (refusal !== undefined) {
        queue.hold(row, refusal, HELD_MS);
        total.held += 1;
        continue;
      }
      const answer = await options.push(row.upload);
      const { outcome, disposition } = answer;
      // Cut off by ourselves: the row is as it was, and may have arrived; sending it again is safe.
      const isCut = signal?.aborted === true && outcome === 'unreachable';
      if (isCut) return { ...total, stopped: 'aborted' };
      if (options.keepTries && answer.ofService) {
        queue.hold(row, answer.detail, 0);
        return { ...total, stopped: outcome };
      }
      settle(queue, row, answer, total);
      if (disposition !== 'retry') refused = undefined;
      else if (refused?.outcome === outcome) refused.times += 1;
      else refused = { outcome, times: 1 };
      // Whoever does not answer for one row does not for the next; those keep their tries.
      const isDown = outcome === 'unreachable' || (refused?.times ?? 0) >= REFUSALS_MAX;
      if (isDown) return { ...total, stopped: outcome };
    }
  }
}

/** Why a row may not be sent under the contract that is in force now; undefined: it may. */
function refusalOf({ upload }: QueuedUpload, { gate }: DrainOptions): string | undefined {
  try {
    gate(upload);
    return undefined;
  } catch (error) {
    if (!isAppError(error)) throw error;
    return `not sent: ${error.message}`;
  }
}

function settle(queue: BodyQueue, row: QueuedUpload, answer: Answer, total: Drained): void {
  const { outcome, disposition, detail } = answer;
  if (disposition === 'done') {
    queue.done(row.rowId);
    total[outcome === 'uploaded' ? 'uploaded' : 'already_exists'] += 1;
  } else if (disposition === 'retry') {
    queue.retryLater(row, detail);
    total.retrying += 1;
  } else {
    queue.fail(row.rowId, detail);
    total.failed += 1;
  }
}

const SQLITE_BUSY = 5;

/**
 * Keeps other processes from draining the same queue. The lock is the operating system's, held
 * through SQLite on `<queue>.drain`: it ends with the process, however that ends.
 * @returns undefined if another holds it
 */
export function lockDrain(queueFile: string): { release(): void } | undefined {
  mkdirSync(dirname(queueFile), { recursive: true });
  const database = new DatabaseSync(`${queueFile}.drain`);
  try {
    database.exec('BEGIN EXCLUSIVE');
  } catch (error) {
    database.close();
    if ((error as { errcode?: number }).errcode !== SQLITE_BUSY) throw error;
    return undefined;
  }
  return {
    release() {
      if (database.isOpen) database.close();
    },
  };
}
