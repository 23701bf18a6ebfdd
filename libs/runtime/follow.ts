import { setTimeout as sleep } from 'node:timers/promises';
import { type Broker, callBroker } from '#libs/broker';
import { isAppError, type StoredEvent } from '#libs/contracts';
import {
  type Decode,
  followBatches,
  followStream,
  LEDGER_STREAM,
  ledgerTail,
} from '#libs/eventlog';
import type { Followed, Recorded } from '#libs/projections';

/** The ledger stream of a broker, for a projection to follow. */
export function followLedger(broker: Broker): Followed<StoredEvent> {
  return {
    source: (fromSeq, signal) => followBatches(broker, { fromSeq, signal }),
    tail: () => ledgerTail(broker),
    streamId: streamIdOf(broker, LEDGER_STREAM),
  };
}

/** Another stream of events, for a projection to follow. */
export function followEvents<E extends Recorded>(
  broker: Broker,
  stream: string,
  decode: Decode<E>,
): Followed<E> {
  return {
    source: (fromSeq, signal) => followStream(broker, { fromSeq, signal, stream, decode }),
    tail: () =>
      callBroker(broker, async () => (await broker.jsm.streams.info(stream)).state.last_seq),
    streamId: streamIdOf(broker, stream),
  };
}

function streamIdOf(broker: Broker, stream: string): () => Promise<string> {
  let started = false;
  return async () => {
    // Only the start waits: later the projector has its own retries, and must end when told.
    const ask = (): Promise<string> => createdAt(broker, stream);
    const id = await (started ? ask() : patiently(ask));
    started = true;
    return id;
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
