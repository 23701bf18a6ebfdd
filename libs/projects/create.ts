import { AppError, invalid, isId, LIMITS } from '#libs/contracts';
import { EMPTY_CHAIN } from './chain.ts';
import {
  type Author,
  draftFor,
  nothing,
  type ProjectDecision,
  refuse,
  refuseDocument,
  refused,
} from './decision.ts';
import {
  type Artifact,
  ATTESTATION,
  type Category,
  type GovernanceMode,
  type Phase,
  PROFILE_OF_MODE,
  type ProjectDocument,
  RULE_ENGINE_VERSION,
  SCHEMA_VERSION,
} from './document.ts';
import { contextOf, type Engine } from './engine.ts';
import { uuidFrom } from './ids.ts';
import type { PlanProfile } from './plans.ts';
import type { ProjectState } from './state.ts';
import { isFilled } from './text.ts';
import { validateProject } from './validate.ts';

/** A phase of a plan that has no profile here. */
export type NewPhase = {
  name: string;
  artifacts?:
    | {
        name: string;
        category: Category;
        isGateBlocking: boolean;
        /** Must be in the registry. Artifacts that block the gate need one. */
        template?: { id: string; version: string } | undefined;
      }[]
    | undefined;
};

export type CreateProject = Author & {
  projectId: string;
  garrisonId: string;
  name: string;
  description?: string | undefined;
  governanceMode: GovernanceMode;
  planId: string;
  /** Device that creates it; the project's owner is `owner:<device>`. */
  deviceId: string;
  /** Default: as the mode has it. */
  templateSetProfile?: string | undefined;
  /** Phases, where the plan has none of its own. */
  phases?: NewPhase[] | undefined;
};

/** Makes a new project of a plan; asked again for the same, it is done already. */
export function createProject(
  state: ProjectState | undefined,
  command: CreateProject,
  engine: Engine,
): ProjectDecision {
  const { projectId, garrisonId: garrison_id } = command;
  if (!isId(projectId)) return refused(invalid('project_id', 'must be an id'));
  if (!isFilled(command.name)) return refused(invalid('name', 'must not be blank'));
  if (!isFilled(command.deviceId)) return refused(invalid('device_id', 'must not be blank'));
  if (state !== undefined) return again(state, command);
  const phases = phasesFor(command, engine);
  if (phases instanceof AppError) return refused(phases);
  const document = newDocument(command, phases, engine.plans.find(command.planId));
  const { ok, findings } = validateProject(document, {
    ...contextOf(engine, command.now),
    plans: engine.plans,
  });
  if (!ok) return refuseDocument(findings);
  const base = { chain: EMPTY_CHAIN, revision: 0, garrison_id, projectId };
  const draft = draftFor(base, { ...command, savedFrom: command.deviceId });
  const ref = draft.store(document);
  const warnings = findings.map(({ code, message }) => ({ code, message }));
  return draft
    .link('PROJECT_CREATED', { document: ref, plan_id: command.planId })
    .done(...warnings);
}

/**
 * The same project asked for again is done already; another of its id is refused. Its name may have
 * been changed since, so that is not compared.
 */
function again(state: ProjectState, command: CreateProject): ProjectDecision {
  const { id, plan_id, governance_mode, project_owner } = state.document;
  const same =
    plan_id === command.planId &&
    governance_mode === command.governanceMode &&
    project_owner === ownerOf(command);
  return same ? nothing(state) : refuse('PROJECT_EXISTS', { id });
}

function newDocument(
  command: CreateProject,
  phases: readonly Phase[],
  plan: PlanProfile | undefined,
): ProjectDocument {
  const { now, deviceId, governanceMode, planId: id } = command;
  return {
    id: command.projectId,
    name: command.name,
    description: command.description ?? '',
    created: now,
    lastModified: now,
    lastSavedFrom: deviceId,
    schema_version: SCHEMA_VERSION,
    plan: plan === undefined ? { id } : { id, version: plan.version },
    plan_id: id,
    ...(plan !== undefined && { plan_version: plan.version }),
    governance_mode: governanceMode,
    project_owner: ownerOf(command),
    template_set_profile: command.templateSetProfile ?? PROFILE_OF_MODE[governanceMode],
    meta: {
      schema_version: SCHEMA_VERSION,
      rule_engine_version: RULE_ENGINE_VERSION,
      normalized_at: now,
    },
    audit_log: [],
    openclaw: { linkedAgentIds: [], lastAgentHeartbeat: null, advisoryDrafts: {} },
    phases,
  };
}

function phasesFor(command: CreateProject, engine: Engine): Phase[] | AppError {
  const plan = engine.plans.find(command.planId);
  if (plan?.phases !== undefined) return planPhases(command, plan, plan.phases, engine);
  const { phases = [] } = command;
  if (plan === undefined && phases.length === 0) {
    const known = engine.plans
      .list()
      .map(({ id }) => id)
      .join(', ');
    return invalid('plan_id', `names no plan that is known (${known}), and no phases are given`);
  }
  const artifacts = phases.flatMap((phase) => phase.artifacts ?? []);
  if (phases.length === 0 || phases.length > LIMITS.projectPhases) {
    return invalid('phases', `must be 1 to ${LIMITS.projectPhases}, as the plan has none`);
  }
  if (artifacts.length > LIMITS.projectArtifacts) {
    return invalid('phases', `must have at most ${LIMITS.projectArtifacts} artifacts`);
  }
  return phases.map((phase, index) => {
    const made = (phase.artifacts ?? []).map((one, at) => {
      const found = one.template && engine.registry.find(one.template.id, one.template.version);
      const template_hash = found?.hash ?? null;
      const bound = {
        template_id: one.template?.id ?? null,
        template_version: one.template?.version ?? null,
        template_hash,
      };
      return newArtifact(command, index + 1, at, { ...one, bound });
    });
    return newPhase(command, index + 1, phase.name, made);
  });
}

function planPhases(
  command: CreateProject,
  plan: PlanProfile,
  phases: NonNullable<PlanProfile['phases']>,
  engine: Engine,
): Phase[] {
  const versions = new Map(plan.templates?.map((one) => [one.template_id, one.template_version]));
  return phases.map(({ phaseNumber, name, artifacts = [] }) => {
    const made = artifacts.map((artifact, at) => {
      const { template_id } = artifact;
      const template_version = (template_id && versions.get(template_id)) ?? null;
      const found =
        template_id !== null && template_version !== null
          ? engine.registry.find(template_id, template_version)
          : undefined;
      const bound = { template_id, template_version, template_hash: found?.hash ?? null };
      return newArtifact(command, phaseNumber, at, { ...artifact, bound });
    });
    return newPhase(command, phaseNumber, name, made);
  });
}

type Bound = Pick<Artifact, 'template_id' | 'template_version' | 'template_hash'>;

function newArtifact(
  command: CreateProject,
  phaseNumber: number,
  index: number,
  given: { name: string; category: Category; isGateBlocking: boolean; bound: Bound },
): Artifact {
  const { name, category, isGateBlocking, bound } = given;
  return {
    id: uuidFrom('artifact', command.projectId, String(phaseNumber), String(index)),
    name,
    category,
    isGateBlocking,
    assigned_to: ownerOf(command),
    phase_id: String(phaseNumber),
    lastModified: command.now,
    ...bound,
    field_values: {},
    rationale: '',
    notes: '',
    waiver: null,
    comments: [],
  };
}

function newPhase(
  { governanceMode }: CreateProject,
  phaseNumber: number,
  name: string,
  artifacts: Artifact[],
): Phase {
  const attestation_type = ATTESTATION[governanceMode];
  return {
    id: phaseNumber,
    name,
    phase_number: phaseNumber,
    goNoGoDecision: { status: 'pending', decidedAt: null, notes: '', attestation_type },
    artifacts,
  };
}

function ownerOf({ deviceId }: CreateProject): string {
  return `owner:${deviceId}`;
}
