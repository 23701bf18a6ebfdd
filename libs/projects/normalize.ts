import {
  ATTESTATION,
  DEFAULT_PLAN_ID,
  type GovernanceMode,
  PROFILE_OF_MODE,
  RULE_ENGINE_VERSION,
  SCHEMA_VERSION,
} from './document.ts';
import { normalizeArtifact } from './normalize-artifact.ts';
import type { TemplateRegistry } from './templates.ts';
import {
  firstFilled,
  isFilled,
  isIsoTime,
  isObject,
  isPhaseNumber,
  type Json,
  listOf,
} from './text.ts';
import { detectVersion } from './version.ts';

/** Everything that normalization may not find in the document itself. */
export type NormalizeContext = {
  /** Used where a time is needed and the document holds none; ISO-8601 with milliseconds. */
  now: string;
  /** Binds artifacts of old documents to templates by phase number and name. */
  registry: TemplateRegistry;
  /** Plans whose old documents name no templates. Default: none is bound by name. */
  bindsByName?: (planId: string) => boolean;
};

/** What the artifacts of a project fall back on. */
export type ProjectDefaults = NormalizeContext & {
  projectId: unknown;
  owner: string;
  created: string;
  lastModified: string;
  byName: boolean;
};

/**
 * Brings a document of schema 0 or 1 into the canonical form of schema 1. Total, deterministic and
 * idempotent; unknown keys are kept. What cannot be repaired (a scalar, a newer schema, phases that
 * are no list) is left as it is, for validation to name.
 */
export function normalizeProject(input: unknown, context: NormalizeContext): unknown {
  if (!isObject(input) || !['0', SCHEMA_VERSION].includes(detectVersion(input))) return input;
  const mode: GovernanceMode = input.governance_mode === 'solo' ? 'solo' : 'team';
  const plan = planOf(input);
  const project_owner = ownerOf(input);
  const defaults: ProjectDefaults = {
    ...context,
    projectId: input.id,
    owner: project_owner,
    created: isIsoTime(input.created) ? input.created : context.now,
    lastModified: isIsoTime(input.lastModified) ? input.lastModified : context.now,
    byName: context.bindsByName?.(plan.id) ?? false,
  };
  const profile = profileOf(input, mode);
  return {
    ...input,
    description: input.description ?? '',
    schema_version: SCHEMA_VERSION,
    ...(Object.hasOwn(input, 'schemaVersion') && { schemaVersion: Number(SCHEMA_VERSION) }),
    plan,
    plan_id: plan.id,
    ...(plan.version !== undefined && { plan_version: plan.version }),
    governance_mode: mode,
    project_owner,
    ...profile,
    meta: metaOf(input, context),
    audit_log: listOf(input.audit_log),
    openclaw: agentsOf(input.openclaw),
    phases: phasesOf(input.phases, mode, defaults),
  };
}

function planOf(input: Json): { id: string; version?: string } {
  const plan: Json = isObject(input.plan) ? input.plan : {};
  const id = firstFilled(plan.id, input.plan_id, input.planId) ?? DEFAULT_PLAN_ID;
  const version = firstFilled(plan.version, input.plan_version);
  return version === undefined ? { id } : { id, version };
}

function ownerOf({ project_owner, lastSavedFrom }: Json): string {
  if (isFilled(project_owner)) return project_owner;
  const device = typeof lastSavedFrom === 'number' ? String(lastSavedFrom) : lastSavedFrom;
  return `owner:${isFilled(device) ? device : 'unknown-device'}`;
}

function profileOf(input: Json, mode: GovernanceMode): Json {
  const given = input.template_set_profile;
  const name = typeof given === 'string' ? given.trim() : profileName(given);
  const template_set_profile = name === '' ? PROFILE_OF_MODE[mode] : name;
  const version = isObject(given) ? given.registry_version : undefined;
  return typeof version === 'string'
    ? { template_set_profile, template_registry_version: version }
    : { template_set_profile };
}

/** The profile's name inside an object; one that was spread into its characters is joined again. */
function profileName(given: unknown): string {
  if (typeof given !== 'object' || given === null) return '';
  const { profile } = given as Json;
  if (typeof profile === 'string') return profile.trim();
  const characters = Object.entries(given)
    .filter(([key, value]) => /^\d+$/.test(key) && typeof value === 'string')
    .sort(([a], [b]) => Number(a) - Number(b));
  return characters
    .map(([, value]) => String(value))
    .join('')
    .trim();
}

function metaOf(input: Json, { now }: NormalizeContext): Json {
  const meta: Json = isObject(input.meta) ? input.meta : {};
  return {
    ...meta,
    schema_version: SCHEMA_VERSION,
    rule_engine_version: RULE_ENGINE_VERSION,
    normalized_at: isIsoTime(meta.normalized_at) ? meta.normalized_at : now,
  };
}

function agentsOf(value: unknown): Json {
  const block: Json = isObject(value) ? value : {};
  const { linkedAgentIds, lastAgentHeartbeat, advisoryDrafts } = block;
  const agents = listOf(linkedAgentIds);
  return {
    ...block,
    linkedAgentIds: agents.every(isFilled) ? agents : agents.filter(isFilled),
    lastAgentHeartbeat: isIsoTime(lastAgentHeartbeat) ? lastAgentHeartbeat : null,
    advisoryDrafts: isObject(advisoryDrafts) ? advisoryDrafts : {},
  };
}

function phasesOf(value: unknown, mode: GovernanceMode, defaults: ProjectDefaults): unknown {
  if (value == null || value === false || value === '' || value === 0) return [];
  if (!Array.isArray(value)) return value;
  return value.map((phase: unknown) => phaseOf(phase, mode, defaults));
}

function phaseOf(phase: unknown, mode: GovernanceMode, defaults: ProjectDefaults): unknown {
  if (!isObject(phase)) return phase;
  const phase_number = [phase.phase_number, phase.id].find(isPhaseNumber) ?? phase.phase_number;
  const { artifacts } = phase;
  const place = { id: phase.id, number: phase_number };
  return {
    ...phase,
    ...(phase_number !== undefined && { phase_number }),
    goNoGoDecision: decisionOf(phase.goNoGoDecision, mode),
    artifacts: artifacts == null ? [] : mapList(artifacts, place, defaults),
  };
}

function mapList(
  value: unknown,
  place: { id: unknown; number: unknown },
  defaults: ProjectDefaults,
): unknown {
  if (!Array.isArray(value)) return value;
  return value.map((artifact: unknown) => normalizeArtifact(artifact, place, defaults));
}

function decisionOf(value: unknown, mode: GovernanceMode): Json {
  const decision: Json = isObject(value) ? value : {};
  const { status, decidedAt, notes, attestation_type } = decision;
  const team = isFilled(attestation_type) && attestation_type !== ATTESTATION.solo;
  const open = status == null || status === '';
  return {
    ...decision,
    status: open ? 'pending' : status,
    decidedAt: decidedAt === undefined || decidedAt === '' ? null : decidedAt,
    notes: notes ?? '',
    attestation_type: mode === 'team' && team ? attestation_type : ATTESTATION[mode],
  };
}
