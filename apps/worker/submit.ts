import { callBroker } from '#libs/broker';
import { AppError, invalid, type JobMessage } from '#libs/contracts';
import { jobSubject } from '#libs/eventlog';
import type { RoleContext } from '#libs/runtime';
import { assertWorktree } from '#libs/worktrees';
import type { OrderBook } from './orders.ts';

/** What POST /jobs answers; `status` is the order's, where the ledger knows it. */
export type Submitted = {
  order_id: string;
  attempt: number;
  /** False: this attempt is at work or has ended; nothing was put on the queue. */
  queued: boolean;
  /** True: the same job was on the queue before. */
  duplicate?: boolean;
  status?: string;
};

/**
 * Checks a job and puts it on the queue; the same attempt again is not queued twice.
 * @throws {THEATER_NOT_FOUND} · {WORKTREE_NOT_FOUND} · {PATH_OUTSIDE_THEATER}
 * · {ILLEGAL_TRANSITION} the attempt is ahead of the order · {INVALID_REQUEST} it is of another run
 */
export async function submitJob(
  context: RoleContext,
  book: OrderBook,
  job: JobMessage,
): Promise<Submitted> {
  const { theater_id, order_id, attempt } = job;
  const theater = await context.theaters.get(theater_id);
  const { order } = await book.load(job);
  const known = order.version > 0;
  if (known && job.run_id != null && order.run_id !== null && job.run_id !== order.run_id) {
    throw invalid('run_id', `the order is of run ${order.run_id}`);
  }
  const answer = { order_id, attempt, ...(known && { status: order.status }) };
  const { status } = order;
  const past = attempt < order.attempt || (attempt === order.attempt && status !== 'QUEUED');
  if (known && past) return { ...answer, queued: false };
  if (known && attempt > order.attempt) {
    throw new AppError(
      'ILLEGAL_TRANSITION',
      { what: `Attempt ${attempt}`, status: `attempt ${order.attempt} is ${status}` },
      { field: 'attempt' },
    );
  }
  const { worktreePath } = await assertWorktree(theater, job.worktree_path, order_id);
  const message: JobMessage = { ...job, worktree_path: worktreePath };
  const subject = jobSubject(theater_id, context.config.workerClass);
  const { duplicate } = await callBroker(context.broker, () =>
    context.broker.js.publish(subject, JSON.stringify(message), {
      msgID: `${order_id}:${attempt}`,
    }),
  );
  return { ...answer, queued: true, ...(duplicate && { duplicate }) };
}
