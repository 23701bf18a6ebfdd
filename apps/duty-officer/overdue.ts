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
  const dueMs = Math.min(Date.parse(since), nowMs) + budget * 1_000;
  if (nowMs <= dueMs + patience.leaseMs + patience.graceMs) return null;
  const reason = `overdue: ${status} since ${since}, with a budget of ${budget} s`;
  return { code: 'ORDER_OVERDUE', reason };
}

/** When the unit that holds the order took it; null where none does. */
function heldSince(order: OrderState): string | null {
  const { status, claimed_at, started_at, blocked_at, updated_at } = order;
  switch (status) {
    case 'CLAIMED':
      return claimed_at ?? updated_at;
    case 'RUNNING':
      return started_at ?? claimed_at ?? updated_at;
    case 'BLOCKED':
      return started_at ?? claimed_at ?? blocked_at ?? updated_at;
    default:
      return null;
  }
}

/** A job is published within so long after its order was enqueued. */
const PUBLISH_SLACK_MS = 60_000;

/**
 * True for an order that has waited for longer than `stallMs` although its job is not in the queue.
 * @param oldestJobMs when the oldest job of its queue was published; null: the queue is empty
 */
export function lacksJob(
  { status, enqueued_at }: OrderState,
  nowMs: number,
  stallMs: number,
  oldestJobMs: number | null,
): boolean {
  if (status !== 'QUEUED' || enqueued_at === null) return false;
  const since = Date.parse(enqueued_at);
  if (nowMs - since <= stallMs) return false;
  // A queue is taken from the front: one whose oldest job is younger has lost this one.
  return oldestJobMs === null || oldestJobMs > since + PUBLISH_SLACK_MS;
}
