import type { z } from 'zod';
import { AppError } from '../errors.ts';
import { PAYLOADS } from './payloads.ts';

type EventTypeEntry = {
  payload: z.ZodType<Record<string, unknown>>;
  /** Base fields that may not be null for this type. */
  needs: readonly ('theater_id' | 'run_id' | 'order_id')[];
  /** True: ours, not in the service contracts. */
  extension?: true;
};

const RUN = ['theater_id', 'run_id'] as const;
const ORDER = ['theater_id', 'order_id'] as const;
const NONE = [] as const;

/** Every event type there is: the 33 of the service contracts, POLICY_UPDATED, and our extensions. */
export const EVENT_TYPES = {
  RUN_CREATED: { payload: PAYLOADS.runCreated, needs: RUN },
  RUN_UPDATED: { payload: PAYLOADS.runUpdated, needs: RUN },
  RUN_COMPLETED: { payload: PAYLOADS.runCompleted, needs: RUN },
  RUN_FAILED: { payload: PAYLOADS.runFailed, needs: RUN },
  RUN_CANCELLED: { payload: PAYLOADS.runCancelled, needs: RUN },
  ORDER_CREATED: { payload: PAYLOADS.orderCreated, needs: ORDER },
  ORDER_ENQUEUED: { payload: PAYLOADS.orderEnqueued, needs: ORDER },
  ORDER_CLAIMED: { payload: PAYLOADS.orderClaimed, needs: ORDER },
  ORDER_STARTED: { payload: PAYLOADS.orderStarted, needs: ORDER },
  ORDER_BLOCKED: { payload: PAYLOADS.orderBlocked, needs: ORDER },
  ORDER_COMPLETED: { payload: PAYLOADS.orderCompleted, needs: ORDER },
  ORDER_FAILED: { payload: PAYLOADS.orderFailed, needs: ORDER },
  ORDER_REISSUED: { payload: PAYLOADS.orderReissued, needs: ORDER },
  ORDER_CANCELLED: { payload: PAYLOADS.orderCancelled, needs: ORDER },
  WORKTREE_CREATED: { payload: PAYLOADS.worktreeCreated, needs: ORDER },
  WORKTREE_READY: { payload: PAYLOADS.worktreeReady, needs: ORDER },
  WORKTREE_ARCHIVED: { payload: PAYLOADS.worktreeArchived, needs: ORDER },
  WORKTREE_REMOVED: { payload: PAYLOADS.worktreeRemoved, needs: ORDER },
  ARTIFACT_WRITTEN: { payload: PAYLOADS.artifactWritten, needs: ORDER },
  AAR_WRITTEN: { payload: PAYLOADS.aarWritten, needs: ORDER },
  INTEGRATION_READY: { payload: PAYLOADS.integrationReady, needs: ORDER },
  INTEGRATION_STARTED: { payload: PAYLOADS.integrationStarted, needs: ORDER },
  INTEGRATION_PASSED: { payload: PAYLOADS.integrationPassed, needs: ORDER },
  INTEGRATION_FAILED: { payload: PAYLOADS.integrationFailed, needs: ORDER },
  INTEGRATED: { payload: PAYLOADS.integrated, needs: ORDER },
  ESCALATION_RAISED: { payload: PAYLOADS.escalationRaised, needs: NONE },
  ESCALATION_ACKED: { payload: PAYLOADS.escalationAcked, needs: NONE },
  RECOVERY_REQUIRED: { payload: PAYLOADS.recovery, needs: NONE },
  RECOVERY_STARTED: { payload: PAYLOADS.recovery, needs: NONE },
  RECOVERY_COMPLETED: { payload: PAYLOADS.recovery, needs: NONE },
  PATROL_TICK: { payload: PAYLOADS.patrolTick, needs: NONE },
  SERVICE_DEGRADED: { payload: PAYLOADS.service, needs: NONE },
  SERVICE_RECOVERED: { payload: PAYLOADS.service, needs: NONE },
  POLICY_UPDATED: { payload: PAYLOADS.policyUpdated, needs: NONE },
  THEATER_OPENED: { payload: PAYLOADS.theaterOpened, needs: ['theater_id'], extension: true },
  RUN_PLANNED: { payload: PAYLOADS.runPlanned, needs: RUN, extension: true },
  RUN_DISPATCHED: { payload: PAYLOADS.runDispatched, needs: RUN, extension: true },
  WORKTREE_QUARANTINED: { payload: PAYLOADS.worktreeQuarantined, needs: ORDER, extension: true },
  UNIT_SIGNAL: { payload: PAYLOADS.unitSignal, needs: ORDER, extension: true },
  MODEL_CALL_STARTED: { payload: PAYLOADS.modelCall, needs: ORDER, extension: true },
  MODEL_CALL_COMPLETED: { payload: PAYLOADS.modelCall, needs: ORDER, extension: true },
  MODEL_CALL_FAILED: { payload: PAYLOADS.modelCall, needs: ORDER, extension: true },
  TOOL_CALLED: { payload: PAYLOADS.toolCalled, needs: ORDER, extension: true },
  FEEDBACK_RECORDED: { payload: PAYLOADS.feedbackRecorded, needs: RUN, extension: true },
  RUN_PAUSED: { payload: PAYLOADS.paused, needs: RUN, extension: true },
  RUN_RESUMED: { payload: PAYLOADS.paused, needs: RUN, extension: true },
  RUN_REPLANNED: { payload: PAYLOADS.runReplanned, needs: RUN, extension: true },
  THEATER_PAUSED: { payload: PAYLOADS.paused, needs: ['theater_id'], extension: true },
  THEATER_RESUMED: { payload: PAYLOADS.paused, needs: ['theater_id'], extension: true },
  CLASS_PAUSED: { payload: PAYLOADS.paused, needs: NONE, extension: true },
  CLASS_RESUMED: { payload: PAYLOADS.paused, needs: NONE, extension: true },
  BUDGET_WARNED: { payload: PAYLOADS.budget, needs: ['theater_id'], extension: true },
  BUDGET_EXCEEDED: { payload: PAYLOADS.budget, needs: ['theater_id'], extension: true },
  AUDIT_RECORDED: { payload: PAYLOADS.auditRecorded, needs: NONE, extension: true },
  DECISION_GIVEN: { payload: PAYLOADS.decisionGiven, needs: NONE, extension: true },
  DEAD_LETTER_REDRIVEN: { payload: PAYLOADS.deadLetter, needs: NONE, extension: true },
  DEAD_LETTER_DISCARDED: { payload: PAYLOADS.deadLetter, needs: NONE, extension: true },
  JOB_DEAD_LETTERED: { payload: PAYLOADS.jobDeadLettered, needs: ORDER, extension: true },
} as const satisfies Record<string, EventTypeEntry>;

export type EventType = keyof typeof EVENT_TYPES;

/** Payload of an event of type `T`. */
export type PayloadOf<T extends EventType> = z.output<(typeof EVENT_TYPES)[T]['payload']>;

/** Scan errors of the contract's text that are read as what they mean. */
const MISPRINTS: Record<string, EventType> = {
  'ORDER CLAIMED': 'ORDER_CLAIMED',
  WORKTREE_Removed: 'WORKTREE_REMOVED',
};

/**
 * The canonical event type for `name`.
 * @param field of the request, for the error
 * @throws {UNKNOWN_EVENT_TYPE} there is none
 */
export function demandEventType(name: string, field = 'type'): EventType {
  const type = eventType(name);
  if (type === undefined) throw new AppError('UNKNOWN_EVENT_TYPE', { type: name }, { field });
  return type;
}

/** The canonical event type for `name`, or undefined where there is none. */
export function eventType(name: string): EventType | undefined {
  if (Object.hasOwn(EVENT_TYPES, name)) return name as EventType;
  return Object.hasOwn(MISPRINTS, name) ? MISPRINTS[name] : undefined;
}
