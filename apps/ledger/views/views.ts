import { LIMITS, type StoredEvent } from '#libs/contracts';
import type { EventIndex } from '#libs/eventlog';
import {
  openProjection,
  type Projection,
  type ProjectionOptions,
  type View,
} from '#libs/projections';
import { ordersView, runsView, theatersView } from './aggregates.ts';
import { escalationsView } from './escalations.ts';
import { eventsView } from './events-view.ts';
import { findEvent } from './search.ts';

/** The views of the ledger role. The events view stands first: it drops repeated events. */
const LEDGER_VIEWS: readonly View<StoredEvent>[] = [
  eventsView,
  ordersView,
  runsView,
  theatersView,
  escalationsView,
];

export type LedgerViewsOptions = Omit<ProjectionOptions<StoredEvent>, 'name' | 'views'>;

/** Opens the views of the ledger role in `options.folder`. */
export function openLedgerViews(options: LedgerViewsOptions): Promise<Projection> {
  return openProjection({ ...options, name: 'ledger', views: LEDGER_VIEWS });
}

/** The views as the append path's memory of event ids. */
export function eventIndex(projection: Projection): EventIndex {
  return {
    findById: (eventId) => projection.read((reader) => findEvent(reader, eventId)),
    catchUp: () => projection.catchUp({ timeoutMs: LIMITS.atLeastWaitMs }),
    behindMs: () => performance.now() - (projection.caughtUpAt() ?? Number.NEGATIVE_INFINITY),
  };
}
