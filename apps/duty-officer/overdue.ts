import { LIMITS } from '#libs/contracts';
import type { OrderState } from '#libs/orders';

/** How long a unit may be at an order. */
export type Patience = {
  /** How long a silent worker keeps its job. */
  leaseMs: number;
  graceMs: number;
  /** The order's time budget where the ledger does not know it. */
  budgetSeconds?: number;
};

/** Why an order is taken from its unit. */
export type Fault = { code: 'RECOVERY_REQUIRED' | 'ORDER_OVERDUE'; reason: string };

/**
 * What is wrong with an order that a unit holds: somebody has asked for its recovery, or its budget,
 * a lease and the grace have passed. Null: nothing, or no unit holds it. An order that waits in a
 * queue is not overdue, however long it waits; one that has ended never is.
 */
export function faultOf(order: OrderState, nowMs: number, patience: Patience): Fault | null {
  const since = heldSince(order);
  if (since === null) return null;
  const { status, recovery, constraints } = order;
  if (recovery?.state === 'REQUIRED') {
    return { code: 'RECOVERY_REQUIRED', reason: recovery.reason || 'recovery was asked for' };
  }
  const budget =
    constraints?.budget_seconds ?? patience.budgetSeconds ?? LIMITS.budgetSecondsDefault;
  // A time to come counts as now.
  const dueMs = Math.min(Date.parse(since), nowMs) + budget * 1_000;
  if (nowMs <= dueMs + patience.leaseMs + patience.graceMs) return null;
  const reason = `overdue: ${status} since ${since}, with a budget of ${budget} s`;
  return { code: 'ORDER_OVERDUE', reason };
}

/** From when the time of the unit that holds the order counts; null where none does. */
function heldSince(order: OrderState): string | null {
  const { status, claimed_at, started_at, resumed_at, blocked_at, blocked_until } = order;
  switch (status) {
    case 'CLAIMED':
      return claimed_at ?? order.updated_at;
    case 'RUNNING':
      return resumed_at ?? started_at ?? claimed_at ?? order.updated_at;
    case 'BLOCKED':
      // Until then it waits for what is over by itself, as a quota.
      return blocked_until ?? started_at ?? claimed_at ?? blocked_at ?? order.updated_at;
    default:
      return null;
  }
}

/** True for an order that was put on the queue longer than `stallMs` ago and has not begun. */
export function waitsLong(
  { status, enqueued_at }: OrderState,
  nowMs: number,
  stallMs: number,
): boolean {
  return status === 'QUEUED' && enqueued_at !== null && nowMs - Date.parse(enqueued_at) > stallMs;
}
