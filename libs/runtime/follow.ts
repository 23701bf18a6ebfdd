import type { Broker } from '#libs/broker';
import type { StoredEvent } from '#libs/contracts';
import { followBatches, LEDGER_STREAM, ledgerTail } from '#libs/eventlog';
import type { Followed } from '#libs/projections';

/** The ledger stream of a broker, for a projection to follow. */
export function followLedger(broker: Broker): Followed<StoredEvent> {
  return {
    source: (fromSeq, signal) => followBatches(broker, { fromSeq, signal }),
    tail: () => ledgerTail(broker),
    async streamId() {
      const info = await broker.jsm.streams.info(LEDGER_STREAM);
      return `${LEDGER_STREAM} ${info.created}`;
    },
  };
}
