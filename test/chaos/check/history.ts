import type { StoredEvent } from '#libs/contracts';
import {
  type Anomaly,
  anomalyOf,
  evolveOrder,
  evolveRun,
  type OrderState,
  runAnomalyOf,
  type RunState,
} from '#libs/orders';

export type FoundAnomaly = Anomaly & { event: StoredEvent };

/** What follows from all events, in order. */
export type History = {
  runs: ReadonlyMap<string, RunState>;
  orders: ReadonlyMap<string, OrderState>;
  anomalies: readonly FoundAnomaly[];
};

export function foldHistory(events: readonly StoredEvent[]): History {
  const runs = new Map<string, RunState>();
  const orders = new Map<string, OrderState>();
  const anomalies: FoundAnomaly[] = [];
  for (const event of events) {
    const { run_id, order_id } = event;
    if (run_id !== null) {
      const run = runs.get(run_id);
      const found = runAnomalyOf(run, event);
      if (found !== null) anomalies.push({ ...found, event });
      runs.set(run_id, evolveRun(run, event));
    }
    if (order_id === null) continue;
    const order = orders.get(order_id);
    const found = anomalyOf(order, event);
    if (found !== null) anomalies.push({ ...found, event });
    orders.set(order_id, evolveOrder(order, event));
  }
  return { runs, orders, anomalies };
}
