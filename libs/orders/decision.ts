import type { StoredEvent } from '#libs/contracts';
import { clip, type Decision, decided, type EventDraft, notPossible } from './draft.ts';
import type { DecisionWord, Escalation, OrderState } from './order-state.ts';
import { escalationIdFor } from './recovery.ts';

/** What an order can wait for a person's decision for. */
export type Question = 'approval' | 'blocked';

/** Names the question of the current attempt: each attempt is asked about anew. */
export function questionCause(order: OrderState, question: Question): string {
  return `${question}/${order.attempt}`;
}

/** The escalation in which a person was asked about the current attempt; undefined: not yet. */
export function askedAbout(order: OrderState, question: Question): Escalation | undefined {
  const id = escalationIdFor(order, questionCause(order, question));
  return order.escalations.find(({ escalation_id }) => escalation_id === id);
}

/** True while a result may not be integrated, as no person has approved it. */
export function awaitsApproval(order: OrderState): boolean {
  return order.approval && askedAbout(order, 'approval')?.decision !== 'approve';
}

/** One escalation, folded from the events of the subject on which it was raised. */
export type RaisedEscalation = Readonly<{
  escalation_id: string;
  garrison_id: string;
  theater_id: string | null;
  run_id: string | null;
  order_id: string | null;
  decision_by: string | null;
  acked: boolean;
  decision: DecisionWord | null;
}>;

/** Folds one event into the escalation called `escalationId`; undefined until it is raised. */
export function evolveRaised(
  state: RaisedEscalation | undefined,
  event: StoredEvent,
  escalationId: string,
): RaisedEscalation | undefined {
  if (event.type === 'ESCALATION_RAISED' && state === undefined) {
    const { garrison_id, theater_id, run_id, order_id, payload, event_id } = event;
    if ((payload.escalation_id ?? event_id) !== escalationId) return state;
    const decision_by = payload.decision_by ?? null;
    const place = { garrison_id, theater_id, run_id, order_id };
    return { ...place, escalation_id: escalationId, decision_by, acked: false, decision: null };
  }
  if (state === undefined) return state;
  if (event.type === 'ESCALATION_ACKED' && event.payload.escalation_id === escalationId) {
    return { ...state, acked: true };
  }
  if (event.type === 'DECISION_GIVEN' && event.payload.escalation_id === escalationId) {
    return { ...state, decision: state.decision ?? event.payload.decision ?? null };
  }
  return state;
}

type Person = { by: string; note?: string | undefined };

/** A person has seen the escalation; again is done already. */
export function ackRaised(state: RaisedEscalation, { by, note }: Person): Decision {
  return state.acked
    ? decided()
    : decided(told(state, 'ESCALATION_ACKED', { by, ...noteOf(note) }));
}

/**
 * Decides what an escalation asks, once. `timeout` does nothing before its time; an approval or
 * denial counts until the timeout is told, by the order of events.
 */
export function giveDecision(
  state: RaisedEscalation,
  command: Person & { decision: DecisionWord; nowMs: number },
): Decision {
  const { decision, by, note, nowMs } = command;
  if (state.decision_by === null) return notPossible('Deciding', 'nothing waits for a decision');
  if (state.decision !== null) {
    if (state.decision === decision || decision === 'timeout') return decided();
    return notPossible('Deciding', `it is decided: ${state.decision}`);
  }
  if (decision === 'timeout' && nowMs < Date.parse(state.decision_by)) return decided();
  return decided(told(state, 'DECISION_GIVEN', { decision, by, ...noteOf(note) }));
}

function noteOf(note: string | undefined) {
  return note === undefined ? {} : { note: clip(note) };
}

function told(
  state: RaisedEscalation,
  type: 'ESCALATION_ACKED' | 'DECISION_GIVEN',
  payload: Record<string, unknown>,
): EventDraft {
  const { escalation_id, garrison_id, theater_id, run_id, order_id } = state;
  return {
    type,
    payload: { escalation_id, ...payload },
    garrison_id,
    theater_id,
    run_id,
    order_id,
    unit_id: null,
    key: [theater_id, order_id ?? run_id, type, escalation_id].join('/'),
  } as EventDraft;
}
