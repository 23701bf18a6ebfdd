import { setTimeout as sleep } from 'node:timers/promises';
import type { StoredEvent } from '#libs/contracts';
import type { EventBatch, Followed } from '#libs/projections';

const encoder = new TextEncoder();

/** The bytes under which the ledger would store an event. */
function bytesOf({ seq: _seq, ...body }: StoredEvent): Uint8Array {
  return encoder.encode(JSON.stringify(body));
}

/**
 * A finished history as a stream. `batchSize` is asked for each batch; with `pauseMs` batches come
 * slowly.
 */
export function followEvents(
  events: readonly StoredEvent[],
  batchSize: () => number,
  pauseMs?: () => number,
): Followed<StoredEvent> {
  async function* source(
    fromSeq: number,
    signal: AbortSignal,
  ): AsyncGenerator<EventBatch<StoredEvent>> {
    let at = events.findIndex(({ seq }) => seq >= fromSeq);
    while (at >= 0 && at < events.length && !signal.aborted) {
      const taken = events.slice(at, at + batchSize());
      at += taken.length;
      if (pauseMs) await sleep(pauseMs());
      yield {
        events: taken,
        raw: taken.map(bytesOf),
        poison: [],
        lastSeq: taken.at(-1)?.seq ?? 0,
        pending: events.length - at,
      };
    }
    if (!signal.aborted) {
      await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
    }
  }
  return {
    source,
    tail: async () => events.at(-1)?.seq ?? 0,
    streamId: async () => 'history',
  };
}
