import { callBroker } from '#libs/broker';
import type { JobMessage } from '#libs/contracts';
import { jobSubject } from '#libs/eventlog';
import type { OrderState } from '#libs/orders';
import type { RoleContext } from './role.ts';

/** Publishes the job of an enqueued order; the queue drops the second of the same attempt. */
export async function publishJob(
  context: Pick<RoleContext, 'broker' | 'config'>,
  order: OrderState,
): Promise<void> {
  const { order_id, run_id, theater_id, attempt, profile, constraints, worktree } = order;
  if (theater_id === null || worktree?.path == null) return;
  const job: JobMessage = {
    job_type: 'EXECUTE_ORDER',
    order_id,
    run_id,
    theater_id,
    worktree_path: worktree.path,
    attempt,
    ...(profile !== null && { profile }),
    ...(constraints !== null && { constraints }),
    ...(constraints?.tool_policy && { tool_policy: constraints.tool_policy }),
  };
  const subject = jobSubject(theater_id, context.config.workerClass);
  await callBroker(context.broker, () =>
    context.broker.js.publish(subject, JSON.stringify(job), { msgID: `${order_id}:${attempt}` }),
  );
}
