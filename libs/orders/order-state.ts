import type {
  Constraints,
  GateResult,
  InputRef,
  MissionRef,
  OutputSpec,
  Profile,
  PromptSpec,
  Severity,
  StoredEvent,
} from '#libs/contracts';
import { ABSENT } from '#libs/contracts';
import { type AnomalyMark, attemptOf } from './anomaly.ts';
import { type Cost, NO_COST } from './cost.ts';
import type { IntegrationStatus, OrderStatus, RecoveryStatus, WorktreeStatus } from './tables.ts';

/** Bounds of the lists that a state keeps. */
export const STATE_LIMITS = {
  /** Ended attempts kept on an order, newest last. */
  attempts: 16,
  /** Escalations kept on an order, newest last. */
  escalations: 32,
  /** Labels kept on an order. */
  labels: 16,
  /** Changes of a run's plan. */
  replans: 128,
  /** Decisions that a run waits for at once. */
  holds: 128,
  /** Keys of a run's metadata. */
  metadataKeys: 64,
} as const;

export type OrderError = { code: string; message: string; stage: string; retryable: boolean };

/** An attempt that has ended: in a terminal status, or taken away while it had `status`. */
export type AttemptRecord = {
  attempt: number;
  status: OrderStatus;
  unit_id: string | null;
  started_at: string | null;
  ended_at: string;
  error?: OrderError;
};

export type Worktree = {
  path: string | null;
  branch: string | null;
  state: WorktreeStatus;
  base_sha: string | null;
  archive_path: string | null;
  /** The attempt that it was made in. */
  attempt: number;
};

export type Artifact = { path: string; type: string; sha256?: string; bytes?: number };

export type Integration = {
  state: IntegrationStatus;
  /** The commit on the mainline, once INTEGRATED. */
  commit_sha?: string;
  /** The branch's commit that passed the gates. */
  head_sha?: string;
  gates?: GateResult[];
  /** The gate that failed. */
  gate?: string;
  message?: string;
  /** Files in conflict. */
  files?: string[];
};

/** The recovery of the current attempt. */
export type Recovery = { state: RecoveryStatus; reason: string };
export type DecisionWord = 'approve' | 'deny' | 'timeout';
export type Escalation = {
  escalation_id: string;
  severity: Severity;
  acked: boolean;
  /** A person must decide until then; null: nothing waits for it. */
  decision_by: string | null;
  decision: DecisionWord | null;
  note: string | null;
};

/** An order while it is being folded; everyone else sees it as OrderState. */
export type OrderDraft = {
  order_id: string;
  run_id: string | null;
  theater_id: string | null;
  garrison_id: string;
  /** Key of the step in the plan. */
  step: string | null;
  type: string | null;
  status: OrderStatus;
  /** True once ORDER_CREATED was seen. */
  created: boolean;
  /** The current attempt, from 1. */
  attempt: number;
  /** Attempts that have ended, oldest first. */
  attempts: readonly AttemptRecord[];
  unit_id: string | null;
  objective: string | null;
  profile: Profile | null;
  constraints: Constraints | null;
  depends_on: readonly string[];
  gate_profile: string | null;
  prompt: PromptSpec | null;
  outputs: readonly OutputSpec[];
  inputs: readonly InputRef[];
  /** The work package that it is for; it works on that one's branch instead of the mainline. */
  mission: MissionRef | null;
  /** A person must approve the result before it is integrated. */
  approval: boolean;
  /** A person decides whether it is tried again where nothing else helps. */
  ask: boolean;
  /** Who knows how to mend what blocks it. */
  remedy: 'steps' | 'planner' | null;
  created_at: string | null;
  /** This and the next times are of the current attempt. */
  enqueued_at: string | null;
  claimed_at: string | null;
  started_at: string | null;
  /** When it last went on after it was blocked. */
  resumed_at: string | null;
  blocked_at: string | null;
  blocked_reason: string | null;
  /** When what blocks it is over by itself, as a refused quota; null: not by itself. */
  blocked_until: string | null;
  finished_at: string | null;
  updated_at: string;
  queue_wait_ms: number | null;
  duration_ms: number | null;
  worktree: Worktree | null;
  /** What the current attempt wrote. */
  artifacts: readonly Artifact[];
  aar: { path: string; status: 'completed' | 'failed' | null } | null;
  commit_sha: string | null;
  integration: Integration | null;
  recovery: Recovery | null;
  escalations: readonly Escalation[];
  last_error: OrderError | null;
  /** The unit's last sign of life. */
  signal: { stage: string; message: string; ts: string } | null;
  /** Spent by all attempts, and by the current one. */
  cost: Cost;
  attempt_cost: Cost;
  labels: readonly string[];
  /** Events that did not fit. */
  anomalies: number;
  anomaly_last: AnomalyMark | null;
  last_event_id: string | null;
  /** Stream sequence of the last event applied. */
  version: number;
  /** Sequence of the last event on the order's own subject: what a conditional append expects. */
  subject_seq: number;
};

/** What is known of an order: a pure function of the events that name it, in stream order. */
export type OrderState = Readonly<OrderDraft>;

/** What names an order before anything is known of it. */
export type OrderIds = {
  order_id: string;
  run_id: string | null;
  theater_id: string | null;
  garrison_id: string;
};

/** An order nobody has told of: what deciders get where the ledger has no events yet. */
export function unknownOrder(ids: OrderIds): OrderState {
  return blankOrder(ids, 1, '');
}

/** The state that the first event of an order meets. */
export function initialOrder(event: StoredEvent): OrderDraft {
  const attempt = event.type === 'ORDER_REISSUED' ? 1 : (attemptOf(event) ?? 1);
  const { run_id, theater_id, garrison_id } = event;
  const order_id = event.order_id ?? ABSENT;
  return blankOrder({ order_id, run_id, theater_id, garrison_id }, attempt, event.ts);
}

function blankOrder(ids: OrderIds, attempt: number, updatedAt: string): OrderDraft {
  return {
    order_id: ids.order_id,
    run_id: ids.run_id,
    theater_id: ids.theater_id,
    garrison_id: ids.garrison_id,
    step: null,
    type: null,
    status: 'QUEUED',
    created: false,
    attempt,
    attempts: [],
    unit_id: null,
    objective: null,
    profile: null,
    constraints: null,
    depends_on: [],
    gate_profile: null,
    prompt: null,
    outputs: [],
    inputs: [],
    mission: null,
    approval: false,
    ask: false,
    remedy: null,
    created_at: null,
    enqueued_at: null,
    claimed_at: null,
    started_at: null,
    resumed_at: null,
    blocked_at: null,
    blocked_reason: null,
    blocked_until: null,
    finished_at: null,
    updated_at: updatedAt,
    queue_wait_ms: null,
    duration_ms: null,
    worktree: null,
    artifacts: [],
    aar: null,
    commit_sha: null,
    integration: null,
    recovery: null,
    escalations: [],
    last_error: null,
    signal: null,
    cost: NO_COST,
    attempt_cost: NO_COST,
    labels: [],
    anomalies: 0,
    anomaly_last: null,
    last_event_id: null,
    version: 0,
    subject_seq: 0,
  };
}
