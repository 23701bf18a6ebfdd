import type { RunAggregate } from './aggregate.ts';
import { mayReissue } from './order.ts';
import { hasRetriesLeft } from './order-decide.ts';
import type { OrderState } from './order-state.ts';
import { requiredOrders } from './run-decide.ts';
import { type IntegrationStatus, isTerminal } from './tables.ts';

/** One thing that the commanding officer has to do for a run now. */
export type RunStep =
  | { do: 'plan' }
  | { do: 'enqueue'; orderIds: string[] }
  /** `attempt` is the one that failed: wait `delayMs(attempt, …)` from its end. */
  | { do: 'reissue'; orderId: string; reason: string; attempt: number }
  /** Stands until INTEGRATED or INTEGRATION_FAILED; `state` tells how far it is. */
  | { do: 'integrate'; orderId: string; state: IntegrationStatus | null }
  | { do: 'synthesize' }
  | { do: 'fail'; reason: string; orderId: string }
  | { do: 'cancel-orders' };

/**
 * What is to be done for a run, from its state alone: the same until it is done, so a handler that
 * was lost is made up for by the next. Nothing is done for a run that nobody created through
 * RUN_CREATED, and for one without autopilot only what follows its dispatch, never the synthesis.
 */
export function nextForRun(agg: RunAggregate): RunStep[] {
  const { run } = agg;
  if (run === undefined || !run.created) return [];
  if (run.status !== 'OPEN') return hasLiveOrders(agg) ? [{ do: 'cancel-orders' }] : [];
  if (run.autopilot && !run.planned) return [{ do: 'plan' }];
  if (!isLetGo(agg)) return [];
  const orders = requiredOrders(agg);
  const steps = orders.flatMap(stepFor);
  const failure = steps.find((step) => step.do === 'fail');
  if (failure !== undefined) return [failure];
  const ready = readyOrders(agg);
  if (ready.length > 0) {
    steps.push({ do: 'enqueue', orderIds: ready.map(({ order_id }) => order_id) });
  }
  const done = orders.length > 0 && orders.every(isIntegrated);
  if (done && run.autopilot) steps.push({ do: 'synthesize' });
  return steps;
}

/** Orders to put on the queue now: not there yet, all they depend on is on the mainline. */
export function readyOrders(agg: RunAggregate): OrderState[] {
  if (agg.run?.status !== 'OPEN' || !isLetGo(agg)) return [];
  return requiredOrders(agg).filter(
    ({ status, enqueued_at, depends_on }) =>
      status === 'QUEUED' &&
      enqueued_at === null &&
      depends_on.every((id) => isIntegrated(agg.orders.get(id))),
  );
}

function stepFor(order: OrderState): RunStep[] {
  const { order_id: orderId, status, attempt, integration, last_error } = order;
  if (status === 'CANCELLED') {
    return [{ do: 'fail', orderId, reason: `order ${orderId} was cancelled` }];
  }
  if (status === 'FAILED') {
    const reason = `${last_error?.code ?? 'ORDER_FAILED'}: ${last_error?.message ?? ''}`;
    return retryOrFail(order, reason, last_error?.retryable ?? true);
  }
  if (status !== 'COMPLETED') return [];
  if (integration?.state === 'FAILED') {
    const { gate = 'a gate', message = '' } = integration;
    const reason = `integration failed at ${gate}: ${message}`;
    return retryOrFail(order, reason, true);
  }
  if (integration?.state === 'INTEGRATED') return [];
  return [{ do: 'integrate', orderId, state: integration?.state ?? null }];

  function retryOrFail(one: OrderState, why: string, retryable: boolean): RunStep[] {
    const reason = why.slice(0, 1_000);
    const again = retryable && mayReissue(one) && hasRetriesLeft(one);
    if (again) return [{ do: 'reissue', orderId, reason, attempt }];
    return [{ do: 'fail', orderId, reason: `order ${orderId} failed for good: ${reason}` }];
  }
}

function isLetGo({ run }: RunAggregate): boolean {
  return run !== undefined && (run.dispatched || (run.autopilot && run.planned));
}

function isIntegrated(order: OrderState | undefined): boolean {
  return order?.integration?.state === 'INTEGRATED';
}

function hasLiveOrders(agg: RunAggregate): boolean {
  return [...agg.orders.values()].some(({ status }) => !isTerminal(status));
}
