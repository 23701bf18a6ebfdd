export {
  type Board,
  type BoardEntry,
  findWp,
  inGraphOrder,
  readyOf,
  summaryOf,
  unsatisfied,
  viewOf,
  type WorkPackageView,
} from './board.ts';
export { parseClock, receive, tick } from './clock.ts';
export {
  type Decided,
  type ExecutionMode,
  locate,
  type Moved,
  retry,
  type StartCommand,
  startImplementation,
  startReview,
  transition,
  type TransitionCommand,
} from './decide.ts';
export {
  type Accepted,
  acceptMission,
  appendHistory,
  finalize,
  markSubtask,
  mergeFaults,
  type MergeRecord,
  readiness,
  recordMerge,
  register,
  withdrawHistory,
} from './decide-mission.ts';
export {
  derivedId,
  type Emitter,
  type EventDraft,
  type MissionIdentity,
  readEnvelope,
  type Stamp,
  toEnvelopes,
} from './envelope.ts';
export {
  activityLine,
  boardOf,
  identityOf,
  layoutOf,
  type Meta,
  openSubtasks,
  parseMeta,
  parseSelector,
  parseTaskFile,
  renderMeta,
  subtaskCounts,
  taskFiles,
  tickSubtask,
  withAcceptance,
  withActivity,
} from './files.ts';
export { type FrontMatter, type FrontValue, parseFrontMatter } from './front-matter.ts';
export { compileGate, type Extensions, type Gate, type GateContext, type Surface } from './gate.ts';
export {
  EDGES,
  GENESIS,
  type Guard,
  GUARDS,
  LANES,
  type Lane,
  type Origin,
  parseLane,
  POLICY_LANES,
  satisfies,
} from './lanes.ts';
export { parsePolicy, type Policy } from './policy.ts';
export { accept, refuse, rejected, type Result } from './result.ts';
export { type Evidence, evidenceFault, parseJsonFlag, type ReviewResult } from './review.ts';
export {
  artifactKey,
  type Closing,
  compareOrder,
  type EventOrder,
  evolve,
  fold,
  type HistoryEntry,
  initialState,
  type MissionState,
  orderOf,
  RUN_REQUESTED,
  type WorkPackageState,
} from './state.ts';
export {
  appendRows,
  type ImportedRow,
  importRows,
  type ParsedLog,
  parseLog,
  reduceRows,
  renderRow,
  rowOf,
  sortRows,
  type StatusRow,
  type StatusSnapshot,
} from './status-log.ts';
export { checkProvider, CONTRACT_VERSION, MIN_PROVIDER_VERSION } from './version.ts';
