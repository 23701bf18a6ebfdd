export {
  ARTIFACT_BODY_BYTES,
  type BodyUpload,
  bodyUpload,
  contentHash,
  missionSlug,
  type NamespaceRef,
  namespaceRef,
} from './dossier.ts';
export {
  type Envelope,
  type ErrorBody,
  errorBody,
  errorBodySchema,
  fromErrorBody,
  okBody,
  parse,
} from './envelope.ts';
export {
  AppError,
  ERRORS,
  type ErrorCode,
  type ErrorDetail,
  invalid,
  isAppError,
  type Retry,
} from './errors.ts';
export {
  type AnyEvent,
  type EventDefaults,
  type EventInput,
  eventInput,
  type LedgerEvent,
  type ParsedEvent,
  parseEvent,
  type StoredEvent,
  storedEvent,
} from './events/event.ts';
export { type Severity, severity } from './events/payloads.ts';
export {
  demandEventType,
  EVENT_TYPES,
  type EventType,
  eventType,
  type PayloadOf,
} from './events/types.ts';
export {
  AGENT_EVENTS,
  type AgentEvent,
  type AgentEventType,
  type ChainEvent,
  type ChainEventType,
  type DraftContent,
  draftContent,
  parseProjectEvent,
  PROJECT_EVENTS,
  type ProjectEvent,
  type ProjectEventType,
  type ProjectPayload,
  type StoredProjectEvent,
} from './events/projects.ts';
export {
  type Channel,
  channel,
  CHANNELS,
  demandEnvelope,
  type DemandEnvelope,
  type DemandSegment,
  demandSnapshot,
  type DemandSnapshot,
  EVIDENCE_TYPES,
  type IngestAnswer,
  idempotencyKey,
  ingestRejected,
  milestoneEnvelope,
  type MilestoneEnvelope,
  milestoneEvent,
  type MilestoneEvent,
  REASON_CLASSES,
  type ReasonClass,
  RISK_STATUSES,
  sentMilestoneEvent,
  type SentMilestoneEvent,
} from './feeds.ts';
export { GATE_LIMITS, gateName, type GateProfile, gateProfile, type GateSpec } from './gates.ts';
export {
  ABSENT,
  commitSha,
  id,
  ID_PATTERN,
  isId,
  isRelativePath,
  nullableId,
  relativePath,
  timestamp,
} from './ids.ts';
export { checkJson } from './json.ts';
export { LIMITS, MISSIONS_IDLE } from './limits.ts';
export {
  type ContractShape,
  contractShape,
  MISSION_EVENTS,
  MISSION_SCHEMA_VERSION,
  type MissionEnvelope,
  missionEnvelope,
  type MissionEventType,
  normaliseEventId,
} from './missions.ts';
export { isMissionBranch, type MissionRef, missionRef } from './mission-ref.ts';
export {
  ORCHESTRATOR_ERRORS,
  type OrchestratorCode,
  type OrchestratorRefusal,
  refusal,
} from './orchestrator.ts';
export {
  type AarFile,
  aarFile,
  artifact,
  type Constraints,
  constraints,
  type GateResult,
  gateResult,
  type Governance,
  governance,
  type InputRef,
  inputRef,
  type JobMessage,
  jobMessage,
  type ObjectRef,
  objectRef,
  type OrderFile,
  orderFile,
  type OutputSpec,
  outputSpec,
  type Playbook,
  playbook,
  type Profile,
  type PromptSpec,
  promptSpec,
  profile,
  type ProfileSettings,
  profileSettings,
  type Routing,
  routing,
  type ToolPolicy,
  toolPolicy,
  type Usage,
  usage,
} from './shapes.ts';
export {
  LOCAL_TARGET,
  type TargetSettings,
  targetSettings,
} from './targets.ts';
export { API, ENDPOINTS } from './endpoints/list.ts';
export {
  COMMON_ERRORS,
  endpoint,
  type Endpoint,
  type InputOf,
  type Outside,
  pathParams,
  type Role,
  ROLES,
  type Scope,
} from './endpoints/endpoint.ts';
export {
  type PolicyCell,
  type PolicyDocument,
  policyCell,
  policyDocument,
} from './endpoints/learning.ts';
