import { type Broker, callBroker, callPatiently } from '#libs/broker';
import type { StoredEvent } from '#libs/contracts';
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
      const ask = started ? callBroker : callPatiently;
      const info = await ask(broker, () => broker.jsm.streams.info(stream));
      started = true;
      return `${stream} ${info.created}`;
    },
  };
}
