import type { Severity } from '#libs/contracts';
import { clip, type Decision, decided, type EventDraft, notPossible, orderEvent } from './draft.ts';
import { deriveId } from './ids.ts';
import { failOrder, hasRetriesLeft } from './order-decide.ts';
import { mayReissue } from './order.ts';
import type { OrderState } from './order-state.ts';
import { isTerminal } from './tables.ts';

/** Something is wrong with the current attempt; told once for each reason. */
export function recoveryRequired(order: OrderState, command: { reason: string }): Decision {
  const { recovery, attempt } = order;
  const reason = clip(command.reason);
  const told = recovery?.state === 'REQUIRED' && recovery.reason === reason;
  if (told || recovery?.state === 'STARTED') return decided();
  return decided(
    orderEvent(order, 'RECOVERY_REQUIRED', { attempt, reason }, { key: [reason, order.version] }),
  );
}

export type RecoverCommand = {
  reason: string;
  /** Code of the failure where no attempt is left. */
  code: string;
  severity: Severity;
  route: string;
  /** Default: the order's own cap. */
  maxRetries?: number;
};

/**
 * Takes an order away from a unit that does not get on: the next attempt within the cap
 * (RECOVERY_STARTED, ORDER_REISSUED, RECOVERY_COMPLETED), else ORDER_FAILED and an escalation.
 */
export function recoverOrder(order: OrderState, command: RecoverCommand): Decision {
  const { code, severity, route, maxRetries } = command;
  const reason = clip(command.reason);
  if (!mayReissue(order)) {
    const status = `it is ${order.status} in attempt ${order.attempt}`;
    return notPossible('Recovering the order', status);
  }
  if (hasRetriesLeft(order, maxRetries)) {
    const { attempt } = order;
    const next = attempt + 1;
    const key = [reason, order.version];
    const begun = order.recovery?.state === 'STARTED';
    const started = orderEvent(order, 'RECOVERY_STARTED', { attempt, reason }, { key });
    return decided(
      ...(begun ? [] : [started]),
      orderEvent(order, 'ORDER_REISSUED', { attempt: next, reason }, { key: [reason] }),
      orderEvent(order, 'RECOVERY_COMPLETED', { attempt: next, reason }, { key }),
    );
  }
  const escalated = escalation(order, {
    severity,
    route,
    reason,
    cause: `${code}/${order.attempt}`,
  });
  if (isTerminal(order.status)) return decided(...escalated);
  const failed = failOrder(order, {
    attempt: order.attempt,
    unitId: null,
    code,
    message: reason,
    stage: 'recovery',
    retryable: false,
  });
  return failed.ok ? decided(...failed.events, ...escalated) : failed;
}

export type EscalateCommand = {
  severity: Severity;
  /** Who is to look at it, as `operator` or `duty-officer`. */
  route: string;
  reason: string;
  /** One escalation is raised for each cause. */
  cause: string;
  causeEventId?: string;
  /** A person must approve or deny until then (ISO-8601, UTC); something waits for it. */
  decisionBy?: string;
};

/** The id of the escalation of an order for one cause. */
export function escalationIdFor(
  order: Pick<OrderState, 'garrison_id' | 'order_id'>,
  cause: string,
): string {
  return deriveId('escalation', order.garrison_id, order.order_id, cause);
}

/** Raises an escalation about an order, once for each cause. */
export function escalate(order: OrderState, command: EscalateCommand): Decision {
  return decided(...escalation(order, command));
}

function escalation(order: OrderState, command: EscalateCommand): EventDraft[] {
  const { severity, route, cause, causeEventId, decisionBy } = command;
  const reason = clip(command.reason);
  const escalation_id = escalationIdFor(order, cause);
  if (order.escalations.some((known) => known.escalation_id === escalation_id)) return [];
  const payload = {
    escalation_id,
    severity,
    route,
    reason,
    ...(causeEventId !== undefined && { cause_event_id: causeEventId }),
    ...(decisionBy !== undefined && { decision_by: decisionBy }),
  };
  return [orderEvent(order, 'ESCALATION_RAISED', payload, { key: [escalation_id] })];
}

/** A person has seen an escalation. */
export function ack(
  order: OrderState,
  command: { escalationId: string; by: string; note?: string },
): Decision {
  const { escalationId: escalation_id, by, note } = command;
  const known = order.escalations.find((one) => one.escalation_id === escalation_id);
  if (known === undefined) return notPossible('Acknowledging', `${escalation_id} is not raised`);
  if (known.acked) return decided();
  const payload = { escalation_id, by, ...(note !== undefined && { note }) };
  return decided(orderEvent(order, 'ESCALATION_ACKED', payload, { key: [escalation_id] }));
}
