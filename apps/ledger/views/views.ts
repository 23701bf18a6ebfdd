import { type Broker } from '#libs/broker';
import type { StoredEvent } from '#libs/contracts';
import { followBatches, LEDGER_STREAM, ledgerTail } from '#libs/eventlog';
import {
  type Followed,
  openProjection,
  type Projection,
  type ProjectionOptions,
  type View,
} from '#libs/projections';
import { ordersView, runsView, theatersView } from './aggregates.ts';
import { eventsView } from './events-view.ts';

/** The views of the ledger role. The events view stands first: it drops repeated events. */
export const LEDGER_VIEWS: readonly View<StoredEvent>[] = [
  eventsView,
  ordersView,
  runsView,
  theatersView,
];

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

export type LedgerViewsOptions = Omit<ProjectionOptions<StoredEvent>, 'name' | 'views'>;

/** Opens the views of the ledger role in `options.folder`. */
export function openLedgerViews(options: LedgerViewsOptions): Promise<Projection> {
  return openProjection({ ...options, name: 'ledger', views: LEDGER_VIEWS });
}
