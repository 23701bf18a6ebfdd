import type { EventType, LedgerEvent, StoredEvent } from '#libs/contracts';
import { LIMITS } from '#libs/contracts';
import { millisBetween } from './anomaly.ts';
import { addCost, type Cost, costBeyond, costOf, hasCost, NO_COST, type Spent } from './cost.ts';
import {
  type Artifact,
  type Integration,
  type OrderDraft,
  type OrderError,
  STATE_LIMITS,
  type Worktree,
} from './order-state.ts';
import type { OrderStatus } from './tables.ts';

/** Writes one legal event into a draft. Lists are replaced, never changed in place. */
type Apply<T extends EventType> = (
  next: OrderDraft,
  event: LedgerEvent<T> & Pick<StoredEvent, 'seq'>,
) => void;

/** Begins attempt `attempt` afresh; what the one before it did goes into the history. */
export function beginAttempt(next: OrderDraft, attempt: number, ts: string): void {
  endAttempt(next, next.status, ts);
  next.attempt = attempt;
  next.unit_id = null;
  next.enqueued_at = null;
  next.claimed_at = null;
  next.started_at = null;
  next.resumed_at = null;
  next.blocked_at = null;
  next.blocked_reason = null;
  next.blocked_until = null;
  next.finished_at = null;
  next.queue_wait_ms = null;
  next.duration_ms = null;
  next.artifacts = [];
  next.aar = null;
  next.commit_sha = null;
  next.integration = null;
  next.recovery = null;
  next.signal = null;
  next.attempt_cost = NO_COST;
  next.labels = [];
}

/** Records the current attempt as ended, once. */
function endAttempt(next: OrderDraft, status: OrderStatus, ts: string, error?: OrderError): void {
  if (next.attempts.at(-1)?.attempt === next.attempt) return;
  const { attempt, unit_id, started_at } = next;
  const record = { attempt, status, unit_id, started_at, ended_at: ts, ...(error && { error }) };
  next.attempts = [...next.attempts.slice(1 - STATE_LIMITS.attempts), record];
}

function finish(next: OrderDraft, status: OrderStatus, ts: string, error?: OrderError): void {
  next.status = status;
  next.finished_at = ts;
  next.duration_ms = millisBetween(next.started_at, ts);
  next.last_error = error ?? null;
  endAttempt(next, status, ts, error);
}

/** The unit is at work: from here on the order no longer waits. */
function beginWork(next: OrderDraft, unitId: string | null, ts: string): void {
  next.unit_id = unitId ?? next.unit_id;
  next.queue_wait_ms ??= millisBetween(next.enqueued_at, ts);
}

function spend(next: OrderDraft, cost: Cost): void {
  next.cost = addCost(next.cost, cost);
  next.attempt_cost = addCost(next.attempt_cost, cost);
}

/** A report tells an attempt's total; what its model calls told already is not counted twice. */
function settleCost(next: OrderDraft, payload: Spent): void {
  if (hasCost(payload)) spend(next, costBeyond(costOf(payload), next.attempt_cost));
}

function putArtifact(list: readonly Artifact[], artifact: Artifact): readonly Artifact[] {
  const at = list.findIndex((known) => known.path === artifact.path);
  if (at >= 0) return list.with(at, { ...list[at], ...artifact });
  return list.length < LIMITS.artifactsPerOrder ? [...list, artifact] : list;
}

const modelCall = (next: OrderDraft, event: { payload: Spent }): void => {
  spend(next, costOf(event.payload));
};

const NO_WORKTREE = { path: null, branch: null, base_sha: null, archive_path: null };

function worktree(next: OrderDraft, change: Partial<Worktree> & Pick<Worktree, 'state'>): void {
  const known = next.worktree ?? { ...NO_WORKTREE, attempt: next.attempt };
  next.worktree = { ...known, ...change };
}

function integration(next: OrderDraft, change: Integration): void {
  next.integration = { ...next.integration, ...change };
}

function addLabel(next: OrderDraft, label: string): void {
  if (next.labels.includes(label) || next.labels.length >= STATE_LIMITS.labels) return;
  next.labels = [...next.labels, label];
}

/** What ORDER_CREATED tells; also taken from one that comes late. */
export const define: Apply<'ORDER_CREATED'> = (next, { payload, ts }) => {
  next.created = true;
  next.created_at = ts;
  next.step = payload.step ?? null;
  next.type = payload.type ?? null;
  next.objective = payload.objective ?? null;
  next.profile = payload.profile ?? null;
  next.constraints = payload.constraints ?? null;
  next.depends_on = payload.depends_on ?? [];
  next.gate_profile = payload.gate_profile ?? null;
  next.prompt = payload.prompt ?? null;
  next.outputs = payload.outputs ?? [];
  next.inputs = payload.inputs ?? [];
  next.mission = payload.mission ?? null;
  next.approval = payload.approval ?? false;
  next.ask = payload.ask ?? false;
  next.remedy = payload.remedy ?? null;
};

const APPLY: { readonly [T in EventType]?: Apply<T> } = {
  ORDER_CREATED: define,
  ORDER_ENQUEUED: (next, { ts }) => {
    next.enqueued_at ??= ts;
  },
  ORDER_CLAIMED: (next, { unit_id, ts }) => {
    next.status = 'CLAIMED';
    next.claimed_at = ts;
    beginWork(next, unit_id, ts);
  },
  ORDER_STARTED: (next, { unit_id, ts }) => {
    if (next.status === 'BLOCKED') next.resumed_at = ts;
    next.status = 'RUNNING';
    next.started_at ??= ts;
    next.blocked_at = null;
    next.blocked_reason = null;
    next.blocked_until = null;
    next.labels = [];
    beginWork(next, unit_id, ts);
  },
  ORDER_BLOCKED: (next, { payload, ts }) => {
    next.status = 'BLOCKED';
    next.blocked_at = ts;
    next.blocked_reason = payload.reason ?? null;
    next.blocked_until = payload.resets_at ?? null;
    addLabel(next, payload.label ?? 'order.blocked');
  },
  ORDER_COMPLETED: (next, { payload, unit_id, ts }) => {
    next.unit_id = unit_id ?? next.unit_id;
    for (const { path, type } of payload.artifacts ?? []) {
      next.artifacts = putArtifact(next.artifacts, { path, type });
    }
    if (payload.aar?.path !== undefined) {
      next.aar = { path: payload.aar.path, status: payload.aar.status ?? 'completed' };
    }
    next.commit_sha = payload.commit_sha ?? null;
    settleCost(next, payload);
    // What was wrong with the unit is over; a result that is wanting is told anew.
    if (next.recovery?.state === 'REQUIRED') next.recovery = null;
    finish(next, 'COMPLETED', ts);
    next.duration_ms = payload.duration_ms ?? next.duration_ms;
  },
  ORDER_FAILED: (next, { payload, unit_id, ts }) => {
    next.unit_id = unit_id ?? next.unit_id;
    settleCost(next, payload);
    finish(next, 'FAILED', ts, {
      code: payload.code ?? 'ORDER_FAILED',
      message: payload.message ?? payload.reason ?? '',
      stage: payload.stage ?? '',
      retryable: payload.retryable ?? true,
    });
    next.duration_ms = payload.duration_ms ?? next.duration_ms;
  },
  ORDER_REISSUED: (next, { payload, ts }) => {
    beginAttempt(next, payload.attempt ?? next.attempt + 1, ts);
    next.status = 'QUEUED';
  },
  ORDER_CANCELLED: (next, { payload, ts }) => {
    const message = payload.reason ?? '';
    finish(next, 'CANCELLED', ts, {
      code: 'ORDER_CANCELLED',
      message,
      stage: '',
      retryable: false,
    });
  },
  WORKTREE_CREATED: (next, { payload }) => {
    next.worktree = {
      path: payload.worktree_path ?? null,
      branch: payload.branch ?? null,
      state: 'CREATED',
      base_sha: payload.base_sha ?? null,
      archive_path: null,
      attempt: next.attempt,
    };
  },
  WORKTREE_READY: (next, { payload }) => {
    const path = payload.worktree_path ?? next.worktree?.path ?? null;
    const branch = payload.branch ?? next.worktree?.branch ?? null;
    worktree(next, { state: 'READY', path, branch });
  },
  WORKTREE_ARCHIVED: (next, { payload }) => {
    worktree(next, { state: 'ARCHIVED', archive_path: payload.archive_path ?? null });
  },
  WORKTREE_REMOVED: (next) => worktree(next, { state: 'REMOVED' }),
  WORKTREE_QUARANTINED: (next) => worktree(next, { state: 'QUARANTINED' }),
  ARTIFACT_WRITTEN: (next, { payload }) => {
    if (payload.path === undefined) return;
    next.artifacts = putArtifact(next.artifacts, {
      path: payload.path,
      type: payload.type ?? 'application/octet-stream',
      ...(payload.sha256 !== undefined && { sha256: payload.sha256 }),
      ...(payload.bytes !== undefined && { bytes: payload.bytes }),
    });
  },
  AAR_WRITTEN: (next, { payload }) => {
    next.aar = { path: payload.path ?? 'aar.json', status: payload.status ?? null };
  },
  INTEGRATION_READY: (next) => {
    next.integration = { state: 'READY' };
  },
  INTEGRATION_STARTED: (next) => {
    next.integration = { state: 'STARTED' };
  },
  INTEGRATION_PASSED: (next, { payload }) => {
    integration(next, {
      state: 'PASSED',
      ...(payload.commit_sha !== undefined && { head_sha: payload.commit_sha }),
      ...(payload.gates && { gates: payload.gates }),
    });
  },
  INTEGRATION_FAILED: (next, { payload }) => {
    integration(next, {
      state: 'FAILED',
      ...(payload.gates && { gates: payload.gates }),
      ...(payload.gate !== undefined && { gate: payload.gate }),
      ...(payload.message !== undefined && { message: payload.message }),
      ...(payload.files && { files: payload.files }),
    });
  },
  INTEGRATED: (next, { payload }) => {
    const { commit_sha } = payload;
    integration(next, { state: 'INTEGRATED', ...(commit_sha !== undefined && { commit_sha }) });
  },
  RECOVERY_REQUIRED: (next, { payload }) => {
    next.recovery = { state: 'REQUIRED', reason: payload.reason ?? '' };
  },
  RECOVERY_STARTED: (next, { payload }) => {
    const reason = payload.reason ?? next.recovery?.reason ?? '';
    next.recovery = { state: 'STARTED', reason };
  },
  RECOVERY_COMPLETED: (next, { payload }) => {
    const reason = payload.reason ?? next.recovery?.reason ?? '';
    next.recovery = { state: 'COMPLETED', reason };
  },
  ESCALATION_RAISED: (next, { payload, event_id }) => {
    const escalation_id = payload.escalation_id ?? event_id;
    if (next.escalations.some((known) => known.escalation_id === escalation_id)) return;
    const raised = {
      escalation_id,
      severity: payload.severity ?? 'MEDIUM',
      acked: false,
      decision_by: payload.decision_by ?? null,
      decision: null,
      note: null,
    };
    next.escalations = [...next.escalations.slice(1 - STATE_LIMITS.escalations), raised];
  },
  ESCALATION_ACKED: (next, { payload }) => {
    next.escalations = next.escalations.map((known) =>
      known.escalation_id === payload.escalation_id ? { ...known, acked: true } : known,
    );
  },
  DECISION_GIVEN: (next, { payload }) => {
    const { escalation_id, decision = null, note = null } = payload;
    next.escalations = next.escalations.map((known) =>
      known.escalation_id === escalation_id && known.decision === null
        ? { ...known, decision, note }
        : known,
    );
  },
  UNIT_SIGNAL: (next, { payload, ts }) => {
    next.signal = { stage: payload.stage ?? '', message: payload.message ?? '', ts };
  },
  MODEL_CALL_COMPLETED: modelCall,
  MODEL_CALL_FAILED: modelCall,
  JOB_DEAD_LETTERED: (next) => addLabel(next, 'job.dead-lettered'),
};

/** Writes `event` into `next`; types that say nothing about an order leave it as it is. */
export function applyToOrder(next: OrderDraft, event: StoredEvent): void {
  const apply = APPLY[event.type] as Apply<EventType> | undefined;
  apply?.(next, event as LedgerEvent & Pick<StoredEvent, 'seq'>);
}
