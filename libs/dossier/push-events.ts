import { gzipSync } from 'node:zlib';
import { isAppError } from '#libs/contracts';
import type { EventQueue, QueuedEvent } from './event-queue.ts';
import { within } from './push.ts';

/** Where events go, below the server's address. */
export const EVENTS_PATH = '/api/v1/events/batch/';
const BATCH_MAX = 1_000;
const TIMEOUT_MS = 60_000;

export type EventsOptions = {
  queue: EventQueue;
  /** Refuses what breaks the contract. @throws an AppError that says why */
  gate: (event: unknown) => void;
  server: string;
  token: string | undefined;
  /** Gives up the request. */
  abort?: AbortSignal | undefined;
};

/**
 * Sends what waits, oldest first. What breaks the contract is set aside and never sent.
 * @returns null: every event had its answer, so bodies may follow; else why not
 */
export async function drainEventQueue(options: EventsOptions): Promise<string | null> {
  const { queue, gate } = options;
  let size = BATCH_MAX;
  for (;;) {
    const rows = queue.take(size);
    if (rows.length === 0) return null;
    const fit = rows.filter((row) => passes(queue, gate, row));
    const [first] = fit;
    if (first === undefined) continue;
    const answer = await sendBatch(options, fit);
    if (answer.kind === 'failed') return answer.reason;
    if (answer.kind === 'results') {
      if (!settle(queue, fit, answer.results)) return null;
      size = Math.min(size * 2, BATCH_MAX);
    } else if (fit.length === 1) {
      if (answer.kind === 'too large') queue.setAside(first.id, answer.reason);
      else queue.refused(first.id, answer.reason);
    } else {
      // A half of it may go, and in the end the event that is to blame stands alone.
      size = Math.floor(fit.length / 2);
    }
  }
}

function passes(queue: EventQueue, gate: EventsOptions['gate'], row: QueuedEvent): boolean {
  try {
    gate(JSON.parse(row.data));
    return true;
  } catch (error) {
    if (!isAppError(error) && !(error instanceof SyntaxError)) throw error;
    queue.setAside(row.id, `not sent: ${error.message}`);
    return false;
  }
}

type Results = ReadonlyMap<string, { status: string; reason: string }>;
type BatchAnswer =
  | { kind: 'results'; results: Results }
  /** No useful answer: nothing is known of any of them. */
  | { kind: 'failed'; reason: string }
  /** None of them was taken because of what they are. */
  | { kind: 'refused' | 'too large'; reason: string };

async function sendBatch(
  { server, token, abort }: EventsOptions,
  rows: readonly QueuedEvent[],
): Promise<BatchAnswer> {
  try {
    const response = await fetch(server.replace(/\/+$/, '') + EVENTS_PATH, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        'content-encoding': 'gzip',
        ...(token !== undefined && { authorization: `Bearer ${token}` }),
      },
      body: gzipSync(`{"events":[${rows.map(({ data }) => data).join(',')}]}`),
      redirect: 'manual',
      signal: within(TIMEOUT_MS, abort),
    });
    const text = await response.text();
    const reason = `${response.status} ${text.slice(0, 200)}`;
    if (response.status === 413) return { kind: 'too large', reason };
    if (response.status === 400) return { kind: 'refused', reason };
    const results = response.status === 200 ? resultsOf(text) : undefined;
    return results === undefined ? { kind: 'failed', reason } : { kind: 'results', results };
  } catch (error) {
    const { message, cause } = error as Error & { cause?: NodeJS.ErrnoException };
    return { kind: 'failed', reason: cause?.code ?? cause?.message ?? message };
  }
}

/** @throws {SyntaxError} the answer is no JSON */
function resultsOf(text: string): Results | undefined {
  const { results } = JSON.parse(text) as Record<string, unknown>;
  if (!Array.isArray(results)) return undefined;
  const told = results as { event_id?: string; status?: string; error_message?: string | null }[];
  return new Map(
    told.map(({ event_id = '', status = '', error_message }) => [
      event_id,
      { status, reason: error_message ?? 'refused by the server' },
    ]),
  );
}

/** @returns false: none of them left the queue, so sending on would send the same again */
function settle(queue: EventQueue, rows: readonly QueuedEvent[], results: Results): boolean {
  const done: number[] = [];
  for (const { id, eventId } of rows) {
    const result = results.get(eventId);
    if (result?.status === 'success' || result?.status === 'duplicate') done.push(id);
    // Still on its way there: told again with the next batch.
    else if (result === undefined || ['queued', 'pending'].includes(result.status)) continue;
    else queue.refused(id, result.reason);
  }
  queue.done(done);
  return done.length > 0;
}
