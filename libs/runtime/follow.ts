import { type Broker, callBroker, callPatiently } from '#libs/broker';
import type { StoredEvent } from '#libs/contracts';
import { followBatches, LEDGER_STREAM, ledgerTail } from '#libs/eventlog';
import type { Followed } from '#libs/projections';

/** The ledger stream of a broker, for a projection to follow. */
export function followLedger(broker: Broker): Followed<StoredEvent> {
  let started = false;
  return {
    source: (fromSeq, signal) => followBatches(broker, { fromSeq, signal }),
    tail: () => ledgerTail(broker),
    async streamId() {
      // Only the start waits: later the projector has its own retries, and must end when told.
      const ask = started ? callBroker : callPatiently;
      const info = await ask(broker, () => broker.jsm.streams.info(LEDGER_STREAM));
      started = true;
      return `${LEDGER_STREAM} ${info.created}`;
    },
  };
}
