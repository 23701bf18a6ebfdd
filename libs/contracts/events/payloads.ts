import { z } from 'zod';
import { commitSha, id, relativePath, timestamp } from '../ids.ts';
import { LIMITS } from '../limits.ts';
import { missionRef } from '../mission-ref.ts';
import {
  artifact,
  constraints,
  gateResult,
  governance,
  inputRef,
  objectRef,
  outputSpec,
  profile,
  promptSpec,
  routing,
  usage,
} from '../shapes.ts';

/**
 * Payload shapes of the event types. The ledger records any well-formed fact, so every field is
 * optional and unknown keys are kept; a field that is present must have its type. Prompts and
 * answers never stand here: digests, sizes, costs and pointers do.
 */
const text = z.string().max(LIMITS.objectiveChars);
const reason = z.string().max(2_000);
const attempt = z.int().min(1).max(1_000);
const millis = z.int().min(0);
const status = z.enum(['completed', 'failed']);
export const severity = z.enum(['LOW', 'MEDIUM', 'HIGH', 'CRITICAL']);
export type Severity = z.output<typeof severity>;

const failure = { code: z.string().max(128), message: reason, stage: z.string().max(128) };
const cost = { usage, cost_micro_usd: z.int().min(0) };

const partial = <S extends z.ZodRawShape>(shape: S) => z.looseObject(shape).partial();

export const PAYLOADS = {
  runCreated: partial({
    user_id: z.string().max(256),
    objective: text,
    request_id: z.string().max(256),
    request_digest: z.string().max(128),
    playbook: z.string().max(128),
    playbook_version: z.int(),
    /** Settings of this run alone, by their keys. */
    settings: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])),
    variables: z.record(z.string(), z.string()),
    inputs: z.array(inputRef).max(LIMITS.inputFiles),
    /** True: the commanding officer plans, dispatches and synthesizes by itself. */
    autopilot: z.boolean(),
    /** What its model calls may cost in all. */
    max_cost_micro_usd: z.int().min(0),
    /** Of all its orders that name none. */
    governance,
    /** The work package that it does, and the branch that its orders work on. */
    mission: missionRef,
  }),
  runUpdated: partial({
    objective: text,
    metadata: z.record(z.string(), z.unknown()),
    policy_version: z.union([z.int(), z.string()]),
  }),
  runPlanned: partial({
    order_ids: z.array(id).max(LIMITS.ordersPerRun),
    playbook: z.string().max(128),
    playbook_version: z.int(),
    reply: z.array(z.looseObject({ order_id: id, path: relativePath })),
  }),
  runDispatched: partial({}),
  runCompleted: partial({
    reply: objectRef,
    artifacts: z.array(z.looseObject({ order_id: id, path: relativePath, commit_sha: commitSha })),
    duration_ms: millis,
    ...cost,
  }),
  runFailed: partial({ ...failure, reason, order_id: id }),
  runCancelled: partial({ reason }),
  orderCreated: partial({
    step: id,
    type: z.string().max(128),
    objective: text,
    profile,
    routing,
    constraints,
    depends_on: z.array(id).max(LIMITS.ordersPerRun),
    gate_profile: z.string().max(128),
    governance,
    mission: missionRef,
    prompt: promptSpec,
    outputs: z.array(outputSpec).max(64),
    inputs: z.array(inputRef).max(LIMITS.inputFiles),
    /** A person must approve the result before it is integrated. */
    approval: z.boolean(),
    /** A person decides whether it is tried again where it fails for good or is blocked. */
    ask: z.boolean(),
    /** Who knows how to mend what blocks it: the playbook's steps, or the planner. */
    remedy: z.enum(['steps', 'planner']),
  }),
  orderEnqueued: partial({
    attempt,
    class: id,
    worktree_path: z.string().max(4_096),
    unit_id: id.nullable(),
  }),
  orderClaimed: partial({ attempt, lease_ms: millis }),
  orderStarted: partial({ attempt, worker: z.string().max(256) }),
  orderBlocked: partial({ attempt, reason, label: z.string().max(128), resets_at: timestamp }),
  orderCompleted: partial({
    attempt,
    commit_sha: commitSha,
    artifacts: z.array(artifact).max(LIMITS.artifactsPerOrder),
    aar: partial({ path: relativePath, status }),
    duration_ms: millis,
    ...cost,
  }),
  orderFailed: partial({
    attempt,
    ...failure,
    reason,
    retryable: z.boolean(),
    duration_ms: millis,
    ...cost,
  }),
  orderReissued: partial({ attempt, reason }),
  orderCancelled: partial({ attempt, reason }),
  worktreeCreated: partial({
    worktree_path: z.string().max(4_096),
    branch: z.string().max(256),
    base_sha: commitSha,
  }),
  worktreeReady: partial({ worktree_path: z.string().max(4_096), branch: z.string().max(256) }),
  worktreeArchived: partial({
    archive_path: z.string().max(4_096),
    commit_sha: commitSha,
    bytes: z.int().min(0),
  }),
  worktreeRemoved: partial({ reason }),
  worktreeQuarantined: partial({ reason }),
  artifactWritten: partial({
    attempt,
    path: relativePath,
    type: z.string().max(128),
    sha256: objectRef.shape.sha256,
    bytes: objectRef.shape.bytes,
  }),
  aarWritten: partial({ attempt, path: relativePath, status }),
  integrationReady: partial({ attempt, commit_sha: commitSha }),
  integrationStarted: partial({ attempt, gate_profile: z.string().max(128) }),
  integrationPassed: partial({
    attempt,
    /** The branch's commit that the gates looked at: the one to be merged. */
    commit_sha: commitSha,
    gates: z.array(gateResult).max(64),
  }),
  integrationFailed: partial({
    attempt,
    gate: z.string().max(128),
    message: reason,
    gates: z.array(gateResult).max(64),
    files: z.array(z.string().max(1_024)).max(256),
  }),
  integrated: partial({
    attempt,
    commit_sha: commitSha,
    /** The branch that it was promoted to. */
    mainline: z.string().max(256),
    mission: missionRef,
  }),
  escalationRaised: partial({
    escalation_id: id,
    severity,
    route: z.string().max(256),
    reason,
    cause_event_id: id,
    /** A person must approve or deny; without an answer until then it counts as `timeout`. */
    decision_by: timestamp,
  }),
  escalationAcked: partial({ escalation_id: id, by: z.string().max(256), note: reason }),
  recovery: partial({ attempt, reason, recovery_id: id }),
  patrolTick: partial({
    source: z.string().max(128),
    period_ms: millis,
    /** Start of the timer's period, in ms since 1970: one tick each. */
    period: millis,
    /** Roles that answered. */
    roles: z.array(z.string().max(128)).max(64),
  }),
  auditRecorded: partial({
    /** Orders under way or waiting. */
    backlog: z.int().min(0),
    /** Something was completed or mended since the audit before. */
    progress: z.boolean(),
  }),
  service: partial({
    service: z.string().max(128),
    reason,
    /** When a refused quota comes back. */
    resets_at: timestamp,
  }),
  policyUpdated: partial({
    policy_version: z.union([z.int(), z.string()]),
    previous_version: z.union([z.int(), z.string()]).nullable(),
    reason,
    /** The whole policy document. */
    document: objectRef,
    /** Sequences of the events it was made from. */
    window: z.looseObject({ from_seq: z.int(), to_seq: z.int() }),
    /** True: learning makes no newer one until it is unpinned. */
    pinned: z.boolean(),
    by: z.string().max(256),
  }),
  theaterOpened: partial({
    repo_path: z.string().max(4_096),
    worktrees_path: z.string().max(4_096),
    mainline: z.string().max(256),
    head_sha: commitSha,
  }),
  unitSignal: partial({ attempt, stage: z.string().max(128), message: z.string().max(500) }),
  modelCall: partial({
    attempt,
    index: z.int().min(0),
    provider: z.string().max(128),
    model: z.string().max(256),
    prompt_sha256: objectRef.shape.sha256,
    prompt_bytes: z.int().min(0),
    response_sha256: objectRef.shape.sha256,
    response_bytes: z.int().min(0),
    duration_ms: millis,
    tries: z.int().min(0),
    ...cost,
    code: z.string().max(128),
    message: reason,
  }),
  toolCalled: partial({
    attempt,
    index: z.int().min(0),
    command: z.string().max(64),
    /** Digest of the arguments, which may quote the user's text. */
    args_sha256: objectRef.shape.sha256,
    exit: z.int(),
    bytes_in: z.int().min(0),
    bytes_out: z.int().min(0),
    duration_ms: millis,
    /** Why the tool policy refused it. */
    denied: reason,
  }),
  feedbackRecorded: partial({
    user_id: z.string().max(256),
    verdict: z.enum(['good', 'bad', 'corrected']),
    order_id: id,
    note: reason,
    correction: objectRef,
  }),
  paused: partial({ reason, by: z.string().max(256), class: id }),
  runReplanned: partial({
    order_ids: z.array(id).max(LIMITS.ordersPerRun),
    reason,
    /** The order that the new ones are to unblock, and its attempt. */
    blocked_order_id: id,
    attempt,
    /** The order whose plan this follows from, or that is planned anew. */
    plan_order_id: id,
    /** Replaces the files that make the reply. */
    reply: z.array(z.looseObject({ order_id: id, path: relativePath })),
  }),
  budget: partial({
    scope: z.enum(['run', 'theater']),
    limit_micro_usd: z.int().min(0),
    spent_micro_usd: z.int().min(0),
  }),
  decisionGiven: partial({
    escalation_id: id,
    decision: z.enum(['approve', 'deny', 'timeout']),
    by: z.string().max(256),
    note: reason,
  }),
  deadLetter: partial({
    channel: z.string().max(128),
    dead_seq: z.int().min(1),
    by: z.string().max(256),
    reason,
  }),
  jobDeadLettered: partial({ attempt, reason, dead_seq: z.int().min(1) }),
} as const;
