import { isAppError, type JobMessage, LIMITS } from '#libs/contracts';
import {
  type Decision,
  failOrder,
  hasRetriesLeft,
  type OrderState,
  reissueOrder,
} from '#libs/orders';
import { reportFrom } from './aar.ts';
import type { AttemptTools } from './attempt.ts';
import { endOf } from './end.ts';
import { readOrder } from './order-file.ts';
import type { Workspace } from './workspace.ts';

/** Why an order is taken from a unit that fell silent. */
export const REISSUE_REASON = 'lease_expired';

/**
 * Tells the end that a dead unit committed but could not tell; false where it committed none. The
 * work is not done, nor the model asked, a second time.
 */
export async function finishCommitted(
  { context, book }: AttemptTools,
  job: JobMessage,
  order: OrderState,
  workspace: Workspace,
): Promise<boolean> {
  const committed = await workspace.committedReport();
  const report = reportFrom(committed?.aar);
  const isOwn =
    report?.order.order_id === order.order_id &&
    report.attempt === order.attempt &&
    report.unitId === order.unit_id;
  if (committed === undefined || report === undefined || !isOwn) return false;
  const stored = await book.decide(job, endOf(report, committed.commitSha));
  const { order_id, attempt } = order;
  const about = { order_id, attempt, status: report.status, stored };
  context.logger.info(about, 'finished what a dead unit had committed');
  return true;
}

/** Ends the attempt of a silent unit: the next attempt is announced, or the order fails for good. */
export function giveUp(seen: OrderState, maxRetries: number): (order: OrderState) => Decision {
  return (order) => {
    const { attempt, unit_id } = order;
    const same = attempt === seen.attempt && unit_id === seen.unit_id;
    if (!same || order.status !== seen.status) return { ok: true, events: [] };
    if (hasRetriesLeft(order, maxRetries)) {
      return reissueOrder(order, { reason: REISSUE_REASON, maxRetries });
    }
    return failOrder(order, {
      attempt,
      unitId: null,
      code: 'LEASE_EXPIRED',
      message: `Unit ${unit_id} fell silent in attempt ${attempt}, the last one allowed`,
      stage: 'execution',
      retryable: false,
    });
  };
}

/** The retries allowed: as the ledger, the job or order.json say. */
export async function retryCap(
  job: JobMessage,
  order: OrderState,
  workspace: Workspace,
): Promise<number> {
  const told = order.constraints ?? job.constraints;
  if (told !== undefined && told !== null) return told.max_retries;
  try {
    return (await readOrder(workspace.readFile, job)).constraints.max_retries;
  } catch (error) {
    // The attempt that follows fails at the same file and says so.
    if (isAppError(error)) return LIMITS.retriesDefault;
    throw error;
  }
}
