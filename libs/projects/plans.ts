import { type Finding, finding } from './findings.ts';
import type { Category } from './document.ts';
import type { Template } from './templates.ts';
import { isFilled, isObject, isPhaseNumber, labelOf, type Json, listOf } from './text.ts';

/** An artifact that a new project of the plan starts with. */
export type PlanArtifact = {
  readonly name: string;
  readonly category: Category;
  readonly isGateBlocking: boolean;
  /** Of the plan's own templates; null: free text. */
  readonly template_id: string | null;
};

export type PlanPhase = {
  readonly phaseNumber: number;
  readonly name: string;
  readonly artifacts?: readonly PlanArtifact[];
};

/** A plan as a plug-in: data, and at most one rule of its own. */
export type PlanProfile = {
  readonly id: string;
  readonly version: string;
  readonly label: string;
  readonly phaseCount: number;
  readonly phases?: readonly PlanPhase[];
  readonly templates?: readonly Template[];
  /** True: artifacts of old documents are bound to the plan's templates by phase and name. */
  readonly bindsByName?: boolean;
  /** Further rules: what is said is a warning. Must not throw on any JSON object. */
  readonly check?: (project: Json) => string[];
};

export type PlanRegistry = {
  find(id: string): PlanProfile | undefined;
  list(): PlanProfile[];
};

/**
 * Makes a registry of plans; of two with one id the first counts.
 * @throws {TypeError} a profile is none; see `planFault`
 */
export function createPlanRegistry(profiles: readonly PlanProfile[]): PlanRegistry {
  const byId = new Map<string, PlanProfile>();
  for (const profile of profiles) {
    const fault = planFault(profile);
    if (fault !== undefined) throw new TypeError(`plan profile: ${fault}`);
    if (!byId.has(profile.id)) byId.set(profile.id, profile);
  }
  return { find: (id) => byId.get(id), list: () => [...byId.values()] };
}

/** Why a value is no plan profile, or undefined if it is one. */
export function planFault(value: unknown): string | undefined {
  if (!isObject(value)) return 'is not an object';
  for (const key of ['id', 'version', 'label']) {
    if (!isFilled(value[key])) return `${key} must be a non-empty string`;
  }
  if (!isPhaseNumber(value.phaseCount)) return 'phaseCount must be an integer from 1';
  const phases = listOf(value.phases);
  const bad = phases.findIndex(
    (phase) => !isObject(phase) || !isFilled(phase.name) || !isPhaseNumber(phase.phaseNumber),
  );
  if (bad >= 0) return `phases[${bad}] needs name and phaseNumber`;
  if (phases.length > 0 && phases.length !== value.phaseCount) {
    return 'phaseCount must be the number of phases';
  }
  return undefined;
}

/** What a project lacks of its plan: number, numbering and names of phases, and the plan's own rule. */
export function* checkPlan(project: Json, plans: PlanRegistry): Generator<Finding> {
  const id = isFilled(project.plan_id) ? project.plan_id : '';
  const profile = plans.find(id);
  if (profile === undefined) {
    yield finding('PLAN_PROFILE_UNKNOWN', '$.plan.id', { plan: id });
    return;
  }
  const phases = listOf(project.phases).filter(isObject);
  const params = { plan: id, wanted: profile.phaseCount, count: phases.length };
  if (phases.length !== profile.phaseCount) {
    yield finding('PLAN_PROFILE_PHASE_COUNT', '$.phases', params);
  }
  const numbers = new Set(phases.map(({ phase_number }) => phase_number));
  const counted = Array.from({ length: profile.phaseCount }, (_, index) => index + 1);
  if (numbers.size !== profile.phaseCount || !counted.every((number) => numbers.has(number))) {
    yield finding('PLAN_PROFILE_PHASE_NUMBERS', '$.phases', params);
  }
  yield* checkNames(profile, phases);
  for (const reason of profile.check?.(project) ?? []) {
    yield finding('PLAN_PROFILE_RULE', '$', { reason });
  }
}

function* checkNames({ id: plan, phases = [] }: PlanProfile, own: Json[]): Generator<Finding> {
  if (phases.length === 0) return;
  const wanted = new Map(phases.map(({ name }) => [plainName(name), name]));
  const present = new Map(own.map(({ name }) => [plainName(name), labelOf(name)]));
  const missing = [...wanted].filter(([key]) => !present.has(key));
  const extra = [...present].filter(([key]) => !wanted.has(key));
  for (const [, name] of missing) {
    yield finding('PLAN_PROFILE_NAME_MISSING', '$.phases', { plan, name });
  }
  for (const [, name] of extra)
    yield finding('PLAN_PROFILE_NAME_EXTRA', '$.phases', { plan, name });
  if (missing.length + extra.length > 0) {
    yield finding('PLAN_PROFILE_PHASE_NAMES', '$.phases', { plan });
  }
}

/** Names are compared without case and with single spaces. */
function plainName(name: unknown): string {
  return typeof name === 'string' ? name.trim().toLowerCase().replace(/\s+/g, ' ') : '';
}
