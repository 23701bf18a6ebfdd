export {
  artifactsOf,
  EMPTY_RUN,
  evolveRunAggregate,
  foldRun,
  orderCounts,
  type RunAggregate,
  totalCost,
} from './aggregate.ts';
export type { Anomaly, AnomalyKind, AnomalyMark } from './anomaly.ts';
export { addCost, type Cost, NO_COST } from './cost.ts';
export { type Decision, type EventDraft, type Result, toEvent } from './draft.ts';
export { deriveId, eventIdFor, orderIdFor, runIdFor } from './ids.ts';
export { anomalyOf, evolveOrder, mayReissue } from './order.ts';
export {
  type Artifact,
  type AttemptRecord,
  type Escalation,
  type Integration,
  type OrderError,
  type OrderIds,
  type OrderState,
  type Recovery,
  STATE_LIMITS,
  unknownOrder,
  type Worktree,
} from './order-state.ts';
export {
  evolveRun,
  type ReplyPart,
  type RunArtifact,
  runAnomalyOf,
  type RunError,
  type RunState,
} from './run.ts';
export {
  type IntegrationStatus,
  isTerminal,
  ORDER_STATUSES,
  ORDER_TRANSITIONS,
  type OrderStatus,
  type RecoveryStatus,
  RUN_STATUSES,
  RUN_TRANSITIONS,
  type RunStatus,
  type ServiceStatus,
  type WorktreeStatus,
} from './tables.ts';
