import type { StoredEvent } from '#libs/contracts';
import { evolveOrder, evolveRun, type OrderState, type RunState } from '#libs/orders';
import { aggregateView, type View } from '#libs/projections';
import { anomalyRecorder } from './anomalies.ts';
import { evolveTheater, type TheaterState } from './theater.ts';

type Counted = { anomalies: number; anomaly_last: { kind: string; detail: string } | null };

/** Lists an anomaly wherever the fold has just counted one. */
function listAnomalies(finder: 'orders' | 'runs') {
  return (db: Parameters<typeof anomalyRecorder>[0]) => {
    const record = anomalyRecorder(db, finder);
    return (before: Counted | undefined, after: Counted, event: StoredEvent): void => {
      const { anomaly_last: last } = after;
      if (last === null || after.anomalies === (before?.anomalies ?? 0)) return;
      record(event, last.kind, last.detail);
    };
  };
}

export const ordersView: View<StoredEvent> = aggregateView<StoredEvent, OrderState>({
  name: 'orders',
  version: 4,
  idOf: (event) => event.order_id,
  evolve: evolveOrder,
  columns: {
    run_id: (order) => order.run_id,
    theater_id: (order) => order.theater_id,
    status: (order) => order.status,
  },
  observe: listAnomalies('orders'),
});

export const runsView: View<StoredEvent> = aggregateView<StoredEvent, RunState>({
  name: 'runs',
  version: 2,
  idOf: (event) => event.run_id,
  evolve: evolveRun,
  columns: { theater_id: (run) => run.theater_id, status: (run) => run.status },
  observe: listAnomalies('runs'),
});

export const theatersView: View<StoredEvent> = aggregateView<StoredEvent, TheaterState>({
  name: 'theaters',
  version: 1,
  idOf: (event) => event.theater_id,
  evolve: evolveTheater,
  columns: {},
});
