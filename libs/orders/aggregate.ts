import { LIMITS, type StoredEvent } from '#libs/contracts';
import { addCost, type Cost, NO_COST } from './cost.ts';
import { evolveOrder } from './order.ts';
import type { OrderState } from './order-state.ts';
import { evolveRun, type RunArtifact, type RunState } from './run.ts';
import { ORDER_STATUSES, type OrderStatus } from './tables.ts';

/** One run with its orders: what the commanding officer decides on. */
export type RunAggregate = {
  readonly run: RunState | undefined;
  /** At most LIMITS.ordersPerRun, in the sequence in which they were first named. */
  readonly orders: ReadonlyMap<string, OrderState>;
  /** Highest sequence seen. */
  readonly version: number;
};

export const EMPTY_RUN: RunAggregate = { run: undefined, orders: new Map(), version: 0 };

/** Folds one event into the aggregate of the run that it names. Never throws. */
export function evolveRunAggregate(agg: RunAggregate, event: StoredEvent): RunAggregate {
  return foldRun([event], agg);
}

/** Folds many events; the same as one after the other, without a copy of the map for each. */
export function foldRun(events: Iterable<StoredEvent>, from = EMPTY_RUN): RunAggregate {
  let { run, version } = from;
  const orders = new Map(from.orders);
  for (const event of events) {
    if (event.run_id === null || event.seq <= version) continue;
    if (run !== undefined && event.run_id !== run.run_id) continue;
    version = event.seq;
    run = evolveRun(run, event);
    if (event.order_id === null) continue;
    const order = orders.get(event.order_id);
    if (order === undefined && orders.size >= LIMITS.ordersPerRun) continue;
    orders.set(event.order_id, evolveOrder(order, event));
  }
  return { run, orders, version };
}

/** How many orders stand at each status. */
export function orderCounts(agg: RunAggregate): Record<OrderStatus, number> {
  const counts = Object.fromEntries(ORDER_STATUSES.map((status) => [status, 0]));
  for (const { status } of agg.orders.values()) counts[status] = (counts[status] ?? 0) + 1;
  return counts as Record<OrderStatus, number>;
}

/** What all orders of the run have spent, ended attempts included. */
export function totalCost(agg: RunAggregate): Cost {
  return [...agg.orders.values()].reduce((sum, order) => addCost(sum, order.cost), NO_COST);
}

/** The artifacts that are on the mainline, in the sequence of the orders. */
export function artifactsOf(agg: RunAggregate): RunArtifact[] {
  return [...agg.orders.values()].flatMap(({ order_id, integration, artifacts }) => {
    const commit_sha = integration?.state === 'INTEGRATED' ? integration.commit_sha : undefined;
    if (commit_sha === undefined) return [];
    return artifacts.map(({ path }) => ({ order_id, path, commit_sha }));
  });
}
