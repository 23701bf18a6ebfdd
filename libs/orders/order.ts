import type { StoredEvent } from '#libs/contracts';
import { type Anomaly, type AnomalyKind, attemptOf, markOf } from './anomaly.ts';
import { applyToOrder, beginAttempt, define } from './order-apply.ts';
import { initialOrder, type OrderDraft, type OrderState } from './order-state.ts';
import {
  INTEGRATION_TRANSITIONS,
  isLegal,
  ORDER_TRANSITIONS,
  RECOVERY_TRANSITIONS,
  WORKTREE_TRANSITIONS,
} from './tables.ts';

/**
 * Folds one event into an order. Never throws. An event of another order, or one at or below
 * `state.version`, returns `state` itself; a repeated id moves only the version; an event that does
 * not fit counts as an anomaly and changes nothing else (a late ORDER_CREATED still defines).
 */
export function evolveOrder(state: OrderState | undefined, event: StoredEvent): OrderState {
  if (state !== undefined) {
    if (event.order_id !== state.order_id || event.seq <= state.version) return state;
  }
  const next: OrderDraft = state === undefined ? initialOrder(event) : { ...state };
  const kind = judge(next, event);
  next.version = event.seq;
  if (kind !== 'run_mismatch') {
    next.run_id ??= event.run_id;
    next.theater_id ??= event.theater_id;
    const atHome = event.run_id === next.run_id && event.theater_id === next.theater_id;
    if (atHome && event.garrison_id === next.garrison_id) next.subject_seq = event.seq;
  }
  if (kind === 'duplicate_event') return next;
  next.last_event_id = event.event_id;
  if (kind !== null) {
    next.anomalies += 1;
    next.anomaly_last = markOf(describe(next, event, kind), event);
    // A definition that comes late is still the only one there is.
    if (event.type === 'ORDER_CREATED' && kind === 'illegal_transition') define(next, event);
    return next;
  }
  next.updated_at = event.ts;
  const attempt = attemptOf(event);
  if (attempt !== undefined && attempt > next.attempt && event.type !== 'ORDER_REISSUED') {
    beginAttempt(next, attempt, event.ts);
  }
  applyToOrder(next, event);
  return next;
}

/** Why `event` would change nothing in `state`; null where it fits or was applied already. */
export function anomalyOf(state: OrderState | undefined, event: StoredEvent): Anomaly | null {
  if (state !== undefined) {
    if (event.order_id !== state.order_id || event.seq <= state.version) return null;
  }
  const known = state ?? initialOrder(event);
  const kind = judge(known, event);
  return kind === null ? null : describe(known, event, kind);
}

function judge(state: OrderState, event: StoredEvent): AnomalyKind | null {
  if (event.event_id === state.last_event_id) return 'duplicate_event';
  if (differs(state.run_id, event.run_id) || differs(state.theater_id, event.theater_id)) {
    return 'run_mismatch';
  }
  const { type } = event;
  const attempt = attemptOf(event);
  const ofOrder = ORDER_TRANSITIONS[type];
  if (attempt !== undefined) {
    const late = type === 'ORDER_REISSUED' ? attempt <= state.attempt : attempt < state.attempt;
    if (late) return 'fenced_attempt';
    if (attempt > state.attempt && ofOrder === undefined) return 'illegal_transition';
  }
  if (ofOrder === undefined) return judgeSide(state, event);
  if (type === 'ORDER_CREATED') {
    if (state.created) return 'duplicate_create';
    return state.status === 'QUEUED' ? null : 'illegal_transition';
  }
  if (ofOrder.from.includes(state.status)) {
    const blocked = type === 'ORDER_REISSUED' && !mayReissue(state);
    return blocked ? 'illegal_transition' : null;
  }
  const claimed = type === 'ORDER_CLAIMED' && state.status === 'CLAIMED';
  return claimed && differs(state.unit_id, event.unit_id)
    ? 'claimed_by_other'
    : 'illegal_transition';
}

/** Side lifecycles: worktree, integration, recovery. */
function judgeSide(state: OrderState, { type }: StoredEvent): AnomalyKind | null {
  const legal =
    (!(type in WORKTREE_TRANSITIONS) ||
      isLegal(WORKTREE_TRANSITIONS, type, state.worktree?.state ?? 'NONE')) &&
    (!(type in INTEGRATION_TRANSITIONS) ||
      isLegal(INTEGRATION_TRANSITIONS, type, state.integration?.state ?? 'NONE')) &&
    (!(type in RECOVERY_TRANSITIONS) ||
      isLegal(RECOVERY_TRANSITIONS, type, state.recovery?.state ?? 'NONE'));
  return legal ? null : 'illegal_transition';
}

/**
 * True where ORDER_REISSUED is legal. A COMPLETED order is redone only after its integration failed
 * or its result was found wanting (RECOVERY_REQUIRED for this attempt), never once INTEGRATED.
 */
export function mayReissue(state: OrderState): boolean {
  if (!isLegal(ORDER_TRANSITIONS, 'ORDER_REISSUED', state.status)) return false;
  if (state.status !== 'COMPLETED') return true;
  if (state.integration?.state === 'INTEGRATED') return false;
  const { recovery, integration } = state;
  if (integration?.state === 'FAILED') return true;
  return recovery !== null && recovery.state !== 'COMPLETED';
}

function differs(known: string | null, told: string | null): boolean {
  return known !== null && told !== null && known !== told;
}

function describe(state: OrderState, event: StoredEvent, kind: AnomalyKind): Anomaly {
  const { type } = event;
  const detail = (): string => {
    switch (kind) {
      case 'duplicate_event':
        return `event ${event.event_id} is stored twice`;
      case 'run_mismatch': {
        const told = `${event.theater_id}/${event.run_id}`;
        return `${type} names ${told}, the order is of ${state.theater_id}/${state.run_id}`;
      }
      case 'fenced_attempt':
        return `${type} of attempt ${attemptOf(event)} while attempt ${state.attempt} is current`;
      case 'duplicate_create':
        return 'the order was created before';
      case 'claimed_by_other':
        return `${event.unit_id} claims what ${state.unit_id} holds`;
      case 'illegal_transition':
        return `${type} is not possible while ${standing(state, event)}`;
    }
  };
  return { kind, detail: detail() };
}

function standing(state: OrderState, event: StoredEvent): string {
  const { type } = event;
  if (type in WORKTREE_TRANSITIONS) return `the worktree is ${state.worktree?.state ?? 'absent'}`;
  const attempt = `in attempt ${state.attempt}`;
  if (type in INTEGRATION_TRANSITIONS) {
    return `the integration is ${state.integration?.state ?? 'not begun'} ${attempt}`;
  }
  if (type in RECOVERY_TRANSITIONS) {
    return `the recovery is ${state.recovery?.state ?? 'not begun'} ${attempt}`;
  }
  return `${state.status} ${attempt}`;
}
