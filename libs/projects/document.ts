/** The schema that this engine writes. Its meaning is frozen. */
export const SCHEMA_VERSION = '1';
/** Raised whenever the meaning of gates, completion or waivers changes. */
export const RULE_ENGINE_VERSION = '1.0.0';
/** The plan of a document that names none, by the schema. */
export const DEFAULT_PLAN_ID = 'cpmai';

export type GovernanceMode = 'solo' | 'team';
export type Attestation = 'solo_attestation' | 'team_decision';
export type GateStatus = 'pending' | 'go' | 'no-go';
export type Category = 'core' | 'conditional' | 'supplemental';
export type CommentType = 'advisory' | 'self-critique' | 'future-review';

export type Waiver = {
  waived: boolean;
  rationale: string;
  waived_at: string | null;
  waived_by: string | null;
};

export type Comment = {
  id: string;
  comment_type: CommentType;
  content: string;
  status: 'open' | 'resolved';
  created_at: string;
  created_by: string;
  resolved_at: string | null;
  resolved_by: string | null;
};

/** Unknown keys are kept, so every object but waiver, comment and plan may hold more. */
export type Artifact = {
  id: string;
  name: string;
  category: Category;
  isGateBlocking: boolean;
  assigned_to: string;
  /** String form of the id of the phase that holds it. */
  phase_id: string;
  lastModified: string;
  template_id: string | null;
  template_version: string | null;
  template_hash: string | null;
  field_values: Record<string, unknown>;
  rationale: string;
  notes: string;
  waiver: Waiver | null;
  comments: readonly Comment[];
  [key: string]: unknown;
};

export type GoNoGo = {
  status: GateStatus;
  decidedAt: string | null;
  notes: string;
  attestation_type: Attestation;
  [key: string]: unknown;
};

export type Phase = {
  id: string | number;
  name: string;
  phase_number: number;
  goNoGoDecision: GoNoGo;
  artifacts: readonly Artifact[];
  [key: string]: unknown;
};

export type AuditEntry = {
  type: 'WAIVER_APPLIED' | 'WAIVER_REMOVED';
  actor_id: string;
  phase_id: string;
  artifact_id: string;
  rationale: string;
  timestamp: string;
  [key: string]: unknown;
};

export type AgentBlock = {
  linkedAgentIds: readonly string[];
  lastAgentHeartbeat: string | null;
  /** By artifact id. */
  advisoryDrafts: Readonly<Record<string, unknown>>;
  [key: string]: unknown;
};

/** A project in schema 1, normalized and valid. Computed state is no part of it. */
export type ProjectDocument = {
  id: string;
  name: string;
  description: string;
  created: string;
  lastModified: string;
  lastSavedFrom: string;
  schema_version: typeof SCHEMA_VERSION;
  plan: { id: string; version?: string };
  plan_id: string;
  plan_version?: string;
  governance_mode: GovernanceMode;
  project_owner: string;
  template_set_profile: string;
  meta: {
    schema_version: typeof SCHEMA_VERSION;
    rule_engine_version: string;
    normalized_at: string;
    migrated_from?: string;
    [key: string]: unknown;
  };
  audit_log: readonly AuditEntry[];
  openclaw: AgentBlock;
  phases: readonly Phase[];
  [key: string]: unknown;
};

/** How decisions of a mode are attested. */
export const ATTESTATION: Record<GovernanceMode, Attestation> = {
  solo: 'solo_attestation',
  team: 'team_decision',
};

/** The profile that a mode is recorded with unless another is named. */
export const PROFILE_OF_MODE: Record<GovernanceMode, string> = {
  solo: 'minimum-compliance',
  team: 'standard',
};
