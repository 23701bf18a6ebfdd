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
export { deadLetterJob } from './dead-letter.ts';
export { transitionsMarkdown, transitionsMermaid } from './diagram.ts';
export { type Decision, type EventDraft, type Result, toEvent } from './draft.ts';
export {
  ackRaised,
  askedAbout,
  awaitsApproval,
  evolveRaised,
  giveDecision,
  type Question,
  questionCause,
  type RaisedEscalation,
} from './decision.ts';
export { deriveId, eventIdFor, orderIdFor, runIdFor } from './ids.ts';
export {
  failIntegration,
  integrated,
  integrationReady,
  passIntegration,
  startIntegration,
} from './integration.ts';
export { nextForRun, PLAN_TYPE, readyOrders, type RunRules, type RunStep } from './next.ts';
export { anomalyOf, evolveOrder, mayReissue } from './order.ts';
export {
  blockOrder,
  cancelOrder,
  claimOrder,
  completeOrder,
  delayMs,
  enqueueOrder,
  type FailCommand,
  failOrder,
  hasRetriesLeft,
  reissueOrder,
  retriesOf,
  startOrder,
  type UnitReport,
} from './order-decide.ts';
export {
  type Artifact,
  type AttemptRecord,
  type DecisionWord,
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
  evolvePauses,
  NO_PAUSES,
  pausedBy,
  type Pauses,
  type SetPause,
  setPause,
} from './pauses.ts';
export {
  capReasons,
  checkPlan,
  type PlanCaps,
  type PlanMeta,
  type PlannedStep,
} from './plan-check.ts';
export {
  ack,
  escalate,
  type EscalateCommand,
  escalationIdFor,
  type RecoverCommand,
  recoverOrder,
  recoveryRequired,
} from './recovery.ts';
export {
  evolveRun,
  type Replan,
  type ReplyPart,
  type RunArtifact,
  runAnomalyOf,
  runDeadlineMs,
  type RunError,
  type RunState,
} from './run.ts';
export {
  cancelLiveOrders,
  cancelRun,
  completeRun,
  createRun,
  type CreateRun,
  dispatchRun,
  failRun,
  pauseRun,
  planRun,
  type ReplanRun,
  replanRun,
  requiredOrders,
  resumeRun,
} from './run-decide.ts';
export { evolveService, serviceEdge, type ServiceState } from './service.ts';
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
export {
  type EscalationBook,
  type EscalationPlace,
  evolveEscalations,
  theaterEscalation,
  theaterEscalationIdFor,
} from './theater-escalation.ts';
export { evolveTheater, openTheater, type OpenTheater, type TheaterState } from './theater.ts';
export {
  presentWorktree,
  worktreeArchived,
  worktreeCreated,
  worktreeQuarantined,
  worktreeReady,
  worktreeRemoved,
} from './worktree.ts';
