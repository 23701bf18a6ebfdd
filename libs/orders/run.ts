import type { InputRef, MissionRef, ObjectRef, StoredEvent } from '#libs/contracts';
import { ABSENT, LIMITS } from '#libs/contracts';
import {
  type Anomaly,
  type AnomalyKind,
  type AnomalyMark,
  markOf,
  millisBetween,
} from './anomaly.ts';
import { addCost, type Cost, costOf, hasCost, NO_COST } from './cost.ts';
import { STATE_LIMITS } from './order-state.ts';
import { isLegal, RUN_TRANSITIONS, type RunStatus } from './tables.ts';

export type ReplyPart = { order_id: string; path: string };
export type RunArtifact = { order_id: string; path: string; commit_sha: string };
export type RunError = { code: string; message: string; stage: string; order_id: string | null };

/** A change of the plan after it was made. */
export type Replan = {
  order_ids: readonly string[];
  /** The order that the new ones are to unblock, and its attempt. */
  blocked_order_id: string | null;
  attempt: number | null;
  /** The order whose plan this follows from, or that is planned anew. */
  plan_order_id: string | null;
};

/** A run while it is being folded; everyone else sees it as RunState. */
export type RunDraft = {
  run_id: string;
  theater_id: string | null;
  garrison_id: string;
  user_id: string | null;
  objective: string | null;
  status: RunStatus;
  /** True once RUN_CREATED was seen. */
  created: boolean;
  request_id: string | null;
  request_digest: string | null;
  playbook: string | null;
  playbook_version: number | null;
  variables: Readonly<Record<string, string>>;
  /** Settings of this run alone. */
  settings: Readonly<Record<string, string | number | boolean>>;
  inputs: readonly InputRef[];
  /** The work package of a mission that it does. */
  mission: MissionRef | null;
  /** True: it goes from plan to reply by itself. */
  autopilot: boolean;
  planned: boolean;
  dispatched: boolean;
  /** True: nothing new is begun. */
  paused: boolean;
  replans: readonly Replan[];
  /** When its clock begins: as it goes by itself, or is dispatched; null: not yet. */
  clock_from: string | null;
  /** What its clock stands still for: its pause, and decisions of people, by escalation. */
  holds: readonly string[];
  /** Since when it stands still, and for how long it did before. */
  held_since: string | null;
  held_ms: number;
  /** Orders in the sequence in which the run's events first named them. */
  order_ids: readonly string[];
  /** The files that make the reply, in order. */
  reply_parts: readonly ReplyPart[];
  reply: ObjectRef | null;
  /** Why it failed or was cancelled. */
  reason: string | null;
  last_error: RunError | null;
  policy_version: number | string | null;
  metadata: Readonly<Record<string, unknown>>;
  /** What RUN_COMPLETED lists; `artifactsOf(aggregate)` knows them earlier. */
  artifacts: readonly RunArtifact[];
  created_at: string;
  updated_at: string;
  ended_at: string | null;
  duration_ms: number | null;
  /** Of all model calls so far; what RUN_COMPLETED says, once it says. */
  cost: Cost;
  anomalies: number;
  anomaly_last: AnomalyMark | null;
  last_event_id: string | null;
  /** Stream sequence of the last event applied, of the run or of one of its orders. */
  version: number;
  /** Sequence of the last event on the run's own subject: what a conditional append expects. */
  subject_seq: number;
};

/** What is known of a run: a pure function of the events that name it, in stream order. */
export type RunState = Readonly<RunDraft>;

function initialRun(event: StoredEvent): RunDraft {
  return {
    run_id: event.run_id ?? ABSENT,
    theater_id: event.theater_id,
    garrison_id: event.garrison_id,
    user_id: null,
    objective: null,
    status: 'OPEN',
    created: false,
    request_id: null,
    request_digest: null,
    playbook: null,
    playbook_version: null,
    variables: {},
    settings: {},
    inputs: [],
    mission: null,
    autopilot: false,
    planned: false,
    dispatched: false,
    paused: false,
    replans: [],
    clock_from: null,
    holds: [],
    held_since: null,
    held_ms: 0,
    order_ids: [],
    reply_parts: [],
    reply: null,
    reason: null,
    last_error: null,
    policy_version: null,
    metadata: {},
    artifacts: [],
    created_at: event.ts,
    updated_at: event.ts,
    ended_at: null,
    duration_ms: null,
    cost: NO_COST,
    anomalies: 0,
    anomaly_last: null,
    last_event_id: null,
    version: 0,
    subject_seq: 0,
  };
}

/**
 * Folds one event, of a run or of one of its orders, into the run. Never throws. Any event opens an
 * unknown run. An event of another run, or one at or below `state.version`, returns `state` itself;
 * a repeated id moves only the version; one that does not fit only counts as an anomaly.
 */
export function evolveRun(state: RunState | undefined, event: StoredEvent): RunState {
  if (state !== undefined) {
    if (event.run_id !== state.run_id || event.seq <= state.version) return state;
  }
  const next: RunDraft = state === undefined ? initialRun(event) : { ...state };
  const kind = judge(next, event);
  next.version = event.seq;
  if (kind !== 'run_mismatch') {
    next.theater_id ??= event.theater_id;
    const atHome = event.order_id === null && event.theater_id === next.theater_id;
    if (atHome && event.garrison_id === next.garrison_id) next.subject_seq = event.seq;
  }
  if (kind === 'duplicate_event') return next;
  next.last_event_id = event.event_id;
  if (kind !== null) {
    next.anomalies += 1;
    next.anomaly_last = markOf(describe(next, event, kind), event);
    // A definition that comes late is still the only one there is.
    if (event.type === 'RUN_CREATED' && kind === 'illegal_transition') define(next, event);
    return next;
  }
  next.updated_at = event.ts;
  if (event.order_id !== null) addOrder(next, event.order_id);
  applyToRun(next, event);
  return next;
}

/** Why `event` would change nothing in `state`; null where it fits or was applied already. */
export function runAnomalyOf(state: RunState | undefined, event: StoredEvent): Anomaly | null {
  if (state !== undefined) {
    if (event.run_id !== state.run_id || event.seq <= state.version) return null;
  }
  const known = state ?? initialRun(event);
  const kind = judge(known, event);
  return kind === null ? null : describe(known, event, kind);
}

function judge(state: RunState, event: StoredEvent): AnomalyKind | null {
  if (event.event_id === state.last_event_id) return 'duplicate_event';
  const { theater_id } = event;
  if (theater_id !== null && state.theater_id !== null && theater_id !== state.theater_id) {
    return 'run_mismatch';
  }
  if (!(event.type in RUN_TRANSITIONS)) return null;
  if (event.type === 'RUN_CREATED') {
    if (state.created) return 'duplicate_create';
    return state.status === 'OPEN' ? null : 'illegal_transition';
  }
  return isLegal(RUN_TRANSITIONS, event.type, state.status) ? null : 'illegal_transition';
}

function describe(state: RunState, event: StoredEvent, kind: AnomalyKind): Anomaly {
  const { type, theater_id } = event;
  const details: Partial<Record<AnomalyKind, string>> = {
    duplicate_event: `event ${event.event_id} is stored twice`,
    run_mismatch: `${type} names theater ${theater_id}, the run is of ${state.theater_id}`,
    duplicate_create: 'the run was created before',
  };
  return { kind, detail: details[kind] ?? `${type} is not possible while ${state.status}` };
}

function addOrder(next: RunDraft, orderId: string): void {
  const { order_ids } = next;
  if (order_ids.length >= LIMITS.ordersPerRun || order_ids.includes(orderId)) return;
  next.order_ids = [...order_ids, orderId];
}

function define(next: RunDraft, event: StoredEvent & { type: 'RUN_CREATED' }): void {
  const { payload } = event;
  next.created = true;
  next.created_at = event.ts;
  next.user_id = payload.user_id ?? null;
  next.objective = payload.objective ?? next.objective;
  next.request_id = payload.request_id ?? null;
  next.request_digest = payload.request_digest ?? null;
  next.playbook = payload.playbook ?? null;
  next.playbook_version = payload.playbook_version ?? null;
  next.settings = payload.settings ?? {};
  next.variables = payload.variables ?? {};
  next.inputs = payload.inputs ?? [];
  next.mission = payload.mission ?? null;
  next.autopilot = payload.autopilot ?? false;
  if (next.autopilot) next.clock_from ??= event.ts;
}

function end(next: RunDraft, status: RunStatus, ts: string): void {
  next.status = status;
  next.ended_at = ts;
  next.duration_ms = millisBetween(next.created_at, ts);
}

function applyToRun(next: RunDraft, event: StoredEvent): void {
  switch (event.type) {
    case 'RUN_CREATED':
      define(next, event);
      break;
    case 'RUN_UPDATED':
      next.objective = event.payload.objective ?? next.objective;
      next.policy_version = event.payload.policy_version ?? next.policy_version;
      if (event.payload.metadata) next.metadata = merge(next.metadata, event.payload.metadata);
      break;
    case 'RUN_PLANNED':
      next.planned = true;
      next.playbook = event.payload.playbook ?? next.playbook;
      next.playbook_version = event.payload.playbook_version ?? next.playbook_version;
      next.reply_parts = event.payload.reply ?? [];
      for (const orderId of event.payload.order_ids ?? []) addOrder(next, orderId);
      break;
    case 'RUN_REPLANNED':
      replan(next, event);
      break;
    case 'RUN_PAUSED':
      next.paused = true;
      hold(next, PAUSE, event.ts);
      break;
    case 'RUN_RESUMED':
      next.paused = false;
      release(next, PAUSE, event.ts);
      break;
    case 'ESCALATION_RAISED':
      if (event.payload.decision_by !== undefined) {
        hold(next, event.payload.escalation_id ?? event.event_id, event.ts);
      }
      break;
    case 'DECISION_GIVEN':
      if (event.payload.escalation_id !== undefined) {
        release(next, event.payload.escalation_id, event.ts);
      }
      break;
    case 'RUN_DISPATCHED':
      next.dispatched = true;
      next.clock_from ??= event.ts;
      break;
    case 'RUN_COMPLETED':
      complete(next, event);
      break;
    case 'RUN_FAILED':
      end(next, 'FAILED', event.ts);
      next.last_error = {
        code: event.payload.code ?? 'RUN_FAILED',
        message: event.payload.message ?? event.payload.reason ?? '',
        stage: event.payload.stage ?? '',
        order_id: event.payload.order_id ?? null,
      };
      next.reason = event.payload.reason ?? event.payload.message ?? null;
      break;
    case 'RUN_CANCELLED':
      end(next, 'CANCELLED', event.ts);
      next.reason = event.payload.reason ?? null;
      break;
    case 'MODEL_CALL_COMPLETED':
    case 'MODEL_CALL_FAILED':
      next.cost = addCost(next.cost, costOf(event.payload));
      break;
    default:
  }
}

function complete(next: RunDraft, event: StoredEvent & { type: 'RUN_COMPLETED' }): void {
  const { payload } = event;
  end(next, 'COMPLETE', event.ts);
  next.reply = payload.reply ?? null;
  next.artifacts = payload.artifacts ?? [];
  next.duration_ms = payload.duration_ms ?? next.duration_ms;
  if (hasCost(payload)) next.cost = costOf(payload);
}

function replan(next: RunDraft, { payload }: StoredEvent & { type: 'RUN_REPLANNED' }): void {
  const { order_ids = [], blocked_order_id, attempt, plan_order_id, reply } = payload;
  const made = {
    order_ids,
    blocked_order_id: blocked_order_id ?? null,
    attempt: attempt ?? null,
    plan_order_id: plan_order_id ?? null,
  };
  if (next.replans.length < STATE_LIMITS.replans) next.replans = [...next.replans, made];
  if (reply !== undefined) next.reply_parts = reply;
  for (const orderId of order_ids) addOrder(next, orderId);
}

const PAUSE = 'pause';

/** The clock of the run stands still from here, for one cause or several. */
function hold(next: RunDraft, cause: string, ts: string): void {
  if (next.holds.includes(cause) || next.holds.length >= STATE_LIMITS.holds) return;
  next.holds = [...next.holds, cause];
  next.held_since ??= ts;
}

function release(next: RunDraft, cause: string, ts: string): void {
  if (!next.holds.includes(cause)) return;
  next.holds = next.holds.filter((one) => one !== cause);
  if (next.holds.length > 0) return;
  next.held_ms += millisBetween(next.held_since, ts) ?? 0;
  next.held_since = null;
}

/**
 * When a run has taken its time, in milliseconds since 1970; times of pauses and of waiting for a
 * person's decision do not count. Null: its clock has not begun.
 */
export function runDeadlineMs(run: RunState, limitMs: number, nowMs: number): number | null {
  if (run.clock_from === null) return null;
  const since = run.held_since === null ? nowMs : Math.min(nowMs, Date.parse(run.held_since));
  return Date.parse(run.clock_from) + limitMs + run.held_ms + (nowMs - since);
}

/** Later values win; beyond the limit, new keys are left out. */
function merge(
  known: Readonly<Record<string, unknown>>,
  told: Record<string, unknown>,
): Record<string, unknown> {
  const keys = Object.entries({ ...known, ...told }).slice(0, STATE_LIMITS.metadataKeys);
  return Object.fromEntries(keys);
}
