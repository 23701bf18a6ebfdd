import { isAppError } from '#libs/contracts';
import type { OrderState } from '#libs/orders';
import { readCommit, type Theater } from '#libs/worktrees';
import { type Clock, hasTree } from './clock.ts';
import { awaitsVerdict, type Finding, isTold, overdue, settle, tellOverdue } from './findings.ts';
import { judgeResult } from './result.ts';
import { type Told, told, type Watch } from './watch.ts';

/**
 * Looks at one order and tells what is wrong with it, or that it is ready.
 * @param theater undefined: its folders are not on this host, so only clocks are looked at
 */
export async function judgeOrder(
  watch: Watch,
  clock: Clock,
  theater: Theater | undefined,
): Promise<Told | undefined> {
  if (!awaitsVerdict(clock.order)) return judgeLive(watch, clock, theater);
  if (theater === undefined) return undefined;
  const { theaterId: theater_id } = theater;
  const order = await watch.orders.load({ theater_id, order_id: clock.order.order_id });
  return awaitsVerdict(order) ? judgeCompleted(watch, theater, order) : undefined;
}

/** INTEGRATION_READY for a completed order whose result is as it must be; else what is wrong. */
export async function judgeCompleted(
  watch: Watch,
  theater: Theater,
  order: OrderState,
): Promise<Told | undefined> {
  const { order_id, attempt } = order;
  const place = { theater_id: theater.theaterId, order_id };
  const finding = await judgeResult(theater, order);
  const { wrote } = await watch.orders.decide(place, (at) => settle(at, { attempt, finding }));
  return finding && told(order_id, finding, wrote);
}

async function judgeLive(
  { context, orders, now }: Watch,
  clock: Clock,
  theater: Theater | undefined,
): Promise<Told | undefined> {
  const { order_id, theater_id } = clock.order;
  let committedAt: number | undefined;
  const judge = (at: Clock): Finding | undefined =>
    overdue(at, now(), context.config.watch, committedAt);
  let finding = judge(clock);
  if (finding?.kind === 'no-commit') {
    committedAt = theater && (await lastCommitAt(theater, clock.order));
    // Where the branch cannot be seen, nobody knows.
    finding = committedAt === undefined ? undefined : judge(clock);
  }
  if (finding === undefined || theater_id === null) return undefined;
  const { kind } = finding;
  if (isTold(clock.order, kind)) return told(order_id, finding, false);
  const { wrote } = await orders.decide({ theater_id, order_id }, (order) =>
    tellOverdue(order, { clock, kind }, judge),
  );
  return told(order_id, finding, wrote);
}

/** Time of the newest commit on an order's branch; undefined where the branch has none. */
async function lastCommitAt(theater: Theater, order: OrderState): Promise<number | undefined> {
  const branch = order.worktree?.branch;
  if (branch == null || !hasTree(order)) return undefined;
  try {
    const { timestampSec } = await readCommit(theater.repoPath, `refs/heads/${branch}`);
    return timestampSec * 1_000;
  } catch (error) {
    if (!isAppError(error, 'NOT_FOUND', 'INVALID_REQUEST')) throw error;
    return undefined;
  }
}
