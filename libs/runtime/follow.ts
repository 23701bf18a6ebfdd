import { setTimeout as sleep } from 'node:timers/promises';
import { type Broker, callBroker } from '#libs/broker';
import { isAppError, type StoredEvent } from '#libs/contracts';
import {
  decodeEvent,
  type FactStream,
  followStream,
  LEDGER_STREAM,
  streamTail,
} from '#libs/eventlog';
import type { Followed, Recorded } from '#libs/projections';

/** The ledger stream of a broker, for a projection to follow. */
export function followLedger(broker: Broker): Followed<StoredEvent> {
  return followFacts(broker, { stream: LEDGER_STREAM, decode: decodeEvent });
}

/** Any stream of facts, for a projection to follow. */
export function followFacts<E extends Recorded>(broker: Broker, facts: FactStream<E>): Followed<E> {
  const { stream } = facts;
  let started = false;
  return {
    source: (fromSeq, signal) => followStream(broker, facts, { fromSeq, signal }),
    tail: () => streamTail(broker, stream),
    async streamId() {
      // Only the start waits: later the projector has its own retries, and must end when told.
      const id = await (started
        ? createdAt(broker, stream)
        : patiently(() => createdAt(broker, stream)));
      started = true;
      return id;
    },
  };
}

/** A role that starts while the broker stalls waits for it, and does not give up at once. */
const PATIENCE_MS = 60_000;
const RETRY_MS = 250;

async function patiently<T>(ask: () => Promise<T>): Promise<T> {
  const deadline = performance.now() + PATIENCE_MS;
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      if (!isAppError(error, 'DEPENDENCY_UNAVAILABLE') || performance.now() > deadline) throw error;
      await sleep(RETRY_MS);
    }
  }
}

function createdAt(broker: Broker, stream: string): Promise<string> {
  return callBroker(broker, async () => {
    const info = await broker.jsm.streams.info(stream);
    return `${stream} ${info.created}`;
  });
}
