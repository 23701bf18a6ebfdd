import { LIMITS } from '#libs/contracts';
import type { RunAggregate } from './aggregate.ts';
import { askedAbout, awaitsApproval, type Question } from './decision.ts';
import { mayReissue } from './order.ts';
import { hasRetriesLeft } from './order-decide.ts';
import type { OrderState } from './order-state.ts';
import { requiredOrders } from './run-decide.ts';
import { type IntegrationStatus, isTerminal } from './tables.ts';

/** One thing that the commanding officer has to do for a run now. */
export type RunStep =
  | { do: 'plan' }
  | { do: 'enqueue'; orderIds: string[] }
  /**
   * `attempt` is the one that failed: wait `delayMs(attempt, …)` from its end. `granted`: its cap of
   * retries does not count, nor the wait, as what was in its way is mended or a person says so.
   */
  | { do: 'reissue'; orderId: string; reason: string; attempt: number; granted: boolean }
  /** Stands until INTEGRATED or INTEGRATION_FAILED; `state` tells how far it is. */
  | { do: 'integrate'; orderId: string; state: IntegrationStatus | null }
  /** The plan that this order wrote is on the mainline: its orders are to be made. */
  | { do: 'extend'; orderId: string }
  /** New orders are to mend what is in the way of this one. */
  | { do: 'replan'; orderId: string; reason: string }
  /** A person is to be asked about the order's current attempt. */
  | { do: 'ask'; orderId: string; question: Question; reason: string }
  | { do: 'synthesize' }
  | { do: 'fail'; reason: string; orderId: string; escalate: boolean }
  | { do: 'cancel-orders' };

/** What the settings and the world around a run say about it. */
export type RunRules = {
  /** True: its theater is paused. */
  held: boolean;
  /** How often its plan may be changed to unblock an order. */
  replans: number;
  /** Retries of all its orders together. */
  retries: number;
  /** True: a person is asked about every order that fails for good or is blocked. */
  ask: boolean;
};

const USUAL: RunRules = { held: false, replans: 1, retries: LIMITS.ordersPerRun * 10, ask: false };

/** The type of orders whose result is the plan of further ones. */
export const PLAN_TYPE = 'plan';

/**
 * What is to be done for a run, from its state alone: the same until it is done, so a handler that
 * was lost is made up for by the next. Nothing is done for a run that nobody created through
 * RUN_CREATED, and for one without autopilot only what follows its dispatch, never the synthesis.
 * Nothing new is begun while it is paused.
 */
export function nextForRun(agg: RunAggregate, rules: RunRules = USUAL): RunStep[] {
  const { run } = agg;
  if (run === undefined || !run.created) return [];
  if (run.status !== 'OPEN') return hasLiveOrders(agg) ? [{ do: 'cancel-orders' }] : [];
  if (run.paused || rules.held) return [];
  if (run.autopilot && !run.planned) return [{ do: 'plan' }];
  if (!isLetGo(agg)) return [];
  const orders = requiredOrders(agg);
  const steps = orders.flatMap((order) => stepFor(agg, order, rules));
  const failure = steps.find((step) => step.do === 'fail');
  if (failure !== undefined) return [failure];
  const ready = readyOrders(agg);
  if (ready.length > 0) {
    steps.push({ do: 'enqueue', orderIds: ready.map(({ order_id }) => order_id) });
  }
  const done = orders.length > 0 && orders.every((order) => isDone(agg, order));
  if (done && run.autopilot) steps.push({ do: 'synthesize' });
  return steps;
}

/** Orders to put on the queue now: not there yet, all they depend on is on the mainline. */
export function readyOrders(agg: RunAggregate): OrderState[] {
  const { run } = agg;
  if (run?.status !== 'OPEN' || run.paused || !isLetGo(agg)) return [];
  return requiredOrders(agg).filter(
    ({ status, enqueued_at, depends_on }) =>
      status === 'QUEUED' &&
      enqueued_at === null &&
      depends_on.every((id) => isIntegrated(agg.orders.get(id))),
  );
}

function stepFor(agg: RunAggregate, order: OrderState, rules: RunRules): RunStep[] {
  const { order_id: orderId, status, integration, recovery, last_error } = order;
  switch (status) {
    case 'CANCELLED':
      return [fail(order, `order ${orderId} was cancelled`)];
    case 'FAILED': {
      const reason = `${last_error?.code ?? 'ORDER_FAILED'}: ${last_error?.message ?? ''}`;
      return retryOrMend(agg, order, reason, last_error?.retryable ?? true, rules);
    }
    case 'BLOCKED': {
      // What is over by itself is waited for by whoever holds the job.
      if (order.blocked_until !== null) return [];
      const reason = `blocked: ${order.blocked_reason ?? 'no reason was given'}`;
      return mend(agg, order, reason, rules);
    }
    case 'COMPLETED':
      break;
    default:
      return [];
  }
  if (integration?.state === 'FAILED') {
    const { gate = 'a gate', message = '' } = integration;
    const reason = `integration failed at ${gate}: ${message}`;
    return retryOrMend(agg, order, reason, true, rules);
  }
  if (integration?.state === 'INTEGRATED') {
    return isDone(agg, order) ? [] : [{ do: 'extend', orderId }];
  }
  if (integration === null && recovery?.state === 'REQUIRED') {
    const reason = `the result is wanting: ${recovery.reason}`;
    return retryOrMend(agg, order, reason, true, rules);
  }
  if (awaitsApproval(order)) return askFor(order, 'approval', `its result waits for approval`);
  return [{ do: 'integrate', orderId, state: integration?.state ?? null }];
}

function retryOrMend(
  agg: RunAggregate,
  order: OrderState,
  why: string,
  retryable: boolean,
  rules: RunRules,
): RunStep[] {
  const { order_id: orderId, attempt } = order;
  const reason = why.slice(0, 1_000);
  const used = requiredOrders(agg).reduce((sum, one) => sum + one.attempt - 1, 0);
  const again = retryable && mayReissue(order) && hasRetriesLeft(order) && used < rules.retries;
  if (again) return [{ do: 'reissue', orderId, reason, attempt, granted: false }];
  return mend(agg, order, reason, rules);
}

/** Retries do not help: first new orders, then a person, else the run fails. */
function mend(agg: RunAggregate, order: OrderState, reason: string, rules: RunRules): RunStep[] {
  const { order_id: orderId, attempt } = order;
  const all = agg.run?.replans ?? [];
  const made = all.filter((one) => one.blocked_order_id === orderId && one.attempt === attempt);
  const granted: RunStep = { do: 'reissue', orderId, reason, attempt, granted: true };
  const tried = attempt > LIMITS.retriesMax || !mayReissue(order);
  if (made.length > 0) {
    const remedies = made.flatMap(({ order_ids }) => order_ids.map((id) => agg.orders.get(id)));
    const mended = remedies.every((one) => one !== undefined && isDone(agg, one));
    if (!mended) return [];
    return tried ? [giveUp(order, reason)] : [granted];
  }
  // A plan may be changed in several steps for one attempt: they count once.
  const replans = new Set(all.map((one) => `${one.blocked_order_id}/${one.attempt}`));
  replans.delete('null/null');
  if (order.remedy !== null && !tried && replans.size < rules.replans) {
    return [{ do: 'replan', orderId, reason }];
  }
  if ((order.ask || rules.ask) && !tried) {
    return askedAbout(order, 'blocked')?.decision === 'approve'
      ? [granted]
      : askFor(order, 'blocked', reason);
  }
  return [giveUp(order, reason)];
}

/** Asks, waits for the answer, or fails because of it; an approval is the caller's to act on. */
function askFor(order: OrderState, question: Question, reason: string): RunStep[] {
  const { order_id: orderId } = order;
  const asked = askedAbout(order, question);
  if (asked === undefined) {
    return [
      { do: 'ask', orderId, question, reason: `order ${orderId}: ${reason}`.slice(0, 1_000) },
    ];
  }
  if (asked.decision === 'deny') {
    return [fail(order, `order ${orderId} was denied: ${asked.note ?? 'without a note'}`)];
  }
  if (asked.decision === 'timeout') {
    return [fail(order, `order ${orderId}: nobody decided until ${asked.decision_by}`)];
  }
  return [];
}

function giveUp(order: OrderState, reason: string): RunStep {
  const why = `order ${order.order_id} failed for good: ${reason}`;
  return { ...fail(order, why), escalate: order.status === 'BLOCKED' };
}

function fail({ order_id: orderId }: OrderState, reason: string): RunStep & { do: 'fail' } {
  return { do: 'fail', orderId, reason, escalate: false };
}

function isLetGo({ run }: RunAggregate): boolean {
  return run !== undefined && (run.dispatched || (run.autopilot && run.planned));
}

function isIntegrated(order: OrderState | undefined): boolean {
  return order?.integration?.state === 'INTEGRATED';
}

/** On the mainline; a plan, only once its orders were made. */
function isDone({ run }: RunAggregate, order: OrderState): boolean {
  if (!isIntegrated(order)) return false;
  if (order.type !== PLAN_TYPE) return true;
  return run?.replans.some((one) => one.plan_order_id === order.order_id) ?? false;
}

function hasLiveOrders(agg: RunAggregate): boolean {
  return [...agg.orders.values()].some(({ status }) => !isTerminal(status));
}
