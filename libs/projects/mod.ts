export {
  type ArtifactState,
  artifactStateOf,
  type ArtifactStatus,
  COMPLETION_CHARS_MIN,
  isFieldSatisfied,
  isWaiverValid,
  missingFields,
  WAIVER_CHARS_MIN,
} from './artifact-state.ts';
export {
  type Bundle,
  BUNDLE_VERSION,
  bundleFilename,
  type Exported,
  exportProject,
  type ExportOptions,
  isBundle,
  READER_VERSION,
  wrapProject,
} from './bundle.ts';
export { canonicalJson, hashOf, sha256Hex } from './canonical.ts';
export {
  type ChainEntry,
  type ChainFault,
  type ChainHead,
  type ChainReport,
  entryHash,
  nextEntry,
  verifyChain,
} from './chain.ts';
export { acceptsByTime } from './conflict.ts';
export { createProject, type CreateProject, type NewPhase } from './create.ts';
export {
  acceptDraft,
  dismissDraft,
  draftOf,
  heartbeat,
  type JudgeDraft,
  linkAgent,
  type ProposeDraft,
  proposeDraft,
} from './decide-agent.ts';
export {
  type AddComment,
  addComment,
  applyWaiver,
  type ArtifactChange,
  type CommentCommand,
  immutableField,
  removeWaiver,
  reopenComment,
  resolveComment,
  type UpdateArtifact,
  updateArtifact,
  type UpdateProject,
  updateProject,
  type WaiverCommand,
} from './decide-artifact.ts';
export {
  importProject,
  type ImportOutcome,
  type ImportProject,
  migrateStored,
} from './decide-document.ts';
export { type DecideGate, decideGate, reopenGate } from './decide-gate.ts';
export {
  type Author,
  checkRevision,
  type DecisionWarning,
  type ProjectDecision,
  type StoredDocument,
} from './decision.ts';
export { diffPaths, diffValues, type JsonChange } from './diff.ts';
export {
  type Artifact,
  type AuditEntry,
  type Category,
  type Comment,
  type CommentType,
  DEFAULT_PLAN_ID,
  type GateStatus,
  type GoNoGo,
  type GovernanceMode,
  type Phase,
  type ProjectDocument,
  RULE_ENGINE_VERSION,
  SCHEMA_VERSION,
  type Waiver,
} from './document.ts';
export { BUILT_IN_PLANS, contextOf, createEngine, type Engine } from './engine.ts';
export {
  documentOf,
  type Documents,
  type Draft,
  evolveProject,
  foldProject,
  isChainEvent,
} from './evolve.ts';
export { type Finding, type FindingCode, FINDINGS, hasErrors, type ReadMode } from './findings.ts';
export {
  computeState,
  type ComputedState,
  type GovernanceDepth,
  governanceDepth,
  type PhaseGate,
  type PhaseState,
  phaseStateOf,
} from './gates.ts';
export {
  type AsOf,
  type DecisionRecord,
  decisionsOf,
  historyHead,
  projectAsOf,
  verifyHistory,
} from './history.ts';
export {
  type CollisionChoice,
  type ReadOptions,
  type ReadProject,
  readProject,
  readProjectValue,
} from './import.ts';
export {
  type HistoryHead,
  type Integrity,
  type IntegrityReport,
  keyIdOf,
  makeIntegrity,
  projectHash,
  type PublicJwk,
  publicJwk,
  type SignatureOutcome,
  type SigningKey,
  verifyIntegrity,
} from './integrity.ts';
export {
  EMPTY_RING,
  exportPublicKey,
  type KeyInfo,
  type KeyRing,
  knows,
  listKeys,
  newKeyPair,
  readKeyRing,
  type RingKey,
  rotateKey,
  signingKey,
  trustKey,
} from './keyring.ts';
export { isReadableVersion, migrateProject, type Migration } from './migrate.ts';
export { type NormalizeContext, normalizeProject } from './normalize.ts';
export {
  checkPlan,
  createPlanRegistry,
  type PlanArtifact,
  planFault,
  type PlanPhase,
  type PlanProfile,
  type PlanRegistry,
} from './plans.ts';
export {
  enforcePolicy,
  type GovernancePolicy,
  type PolicyAction,
  type PolicyVerdict,
  SOLO_NOTES_CHARS_MIN,
} from './policy.ts';
export { revertTo } from './revert.ts';
export { findArtifact, findPhase, type ProjectState } from './state.ts';
export {
  type Binding,
  bindingOf,
  type BindingState,
  createTemplateRegistry,
  NO_TEMPLATES,
  type Template,
  type TemplateField,
  templateFault,
  templateHash,
  type TemplateRegistry,
} from './templates.ts';
export { isIsoTime } from './text.ts';
export { type ValidateOptions, validateProject, type Validation } from './validate.ts';
export { type Verification, verifyProject } from './verify.ts';
export { detectVersion } from './version.ts';
