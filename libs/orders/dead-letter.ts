import { clip, type Decision, decided, orderEvent } from './draft.ts';
import { failOrder } from './order-decide.ts';
import type { OrderState } from './order-state.ts';
import { isTerminal } from './tables.ts';

/**
 * The job of an attempt was set aside as nobody could work on it: JOB_DEAD_LETTERED, and the attempt
 * has failed. Nothing where the order is not known, or is past that attempt.
 */
export function deadLetterJob(
  order: OrderState,
  command: { attempt: number; reason: string; deadSeq: number },
): Decision {
  const { attempt, deadSeq } = command;
  const past = attempt !== order.attempt || isTerminal(order.status);
  if (order.version === 0 || past) return decided();
  const reason = clip(command.reason);
  const failed = failOrder(order, {
    attempt,
    unitId: null,
    code: 'JOB_DEAD_LETTERED',
    message: reason,
    stage: 'execution',
    retryable: true,
  });
  if (!failed.ok) return failed;
  const payload = { attempt, reason, dead_seq: deadSeq };
  const told = orderEvent(order, 'JOB_DEAD_LETTERED', payload, { key: [deadSeq] });
  return decided(told, ...failed.events);
}
