import { type Broker, callBroker, callPatiently } from '#libs/broker';
import type { StoredEvent } from '#libs/contracts';
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
    const ask = started ? callBroker : callPatiently;
    const info = await ask(broker, () => broker.jsm.streams.info(stream));
    started = true;
    return `${stream} ${info.created}`;
  };
}
