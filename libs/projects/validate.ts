import { isId, LIMITS } from '#libs/contracts';
import { diffPaths } from './diff.ts';
import { type Finding, finding, findingIn, hasErrors, type ReadMode } from './findings.ts';
import { migrateProject, type Migration } from './migrate.ts';
import type { NormalizeContext } from './normalize.ts';
import { checkPlan, type PlanRegistry } from './plans.ts';
import { firstFilled, idText, isFilled, isIsoTime, isObject, type Json, listOf } from './text.ts';
import { checkArtifacts } from './validate-artifacts.ts';

export type ValidateOptions = NormalizeContext & {
  /** Default strict. */
  mode?: ReadMode;
  /** Also refuse what normalization would change. Default: true in strict, false in lenient. */
  canonical?: boolean;
  /** Stop at the first error. Default false. */
  failFast?: boolean;
  /** Also check the rules of the project's plan. */
  plans?: PlanRegistry | undefined;
};

export type Validation = {
  /** No finding is an error. */
  ok: boolean;
  /** In the order of the document. At most FINDINGS_MAX; NOT_CANONICAL counts as one. */
  findings: Finding[];
  /** How the document was read; `ok: false` where its version cannot be. */
  migration: Migration;
};

/** Paths that a NOT_CANONICAL finding names. */
const PATHS_MAX = 50;
/** Findings that are told of one document. */
const FINDINGS_MAX = 1_000;

/**
 * Says everything that is wrong with a project of any JSON. Never throws. Lenient reading repairs
 * what normalization repairs; strict reading wants the binding fields and the canonical form.
 */
export function validateProject(input: unknown, options: ValidateOptions): Validation {
  const migration = migrateProject(input, options);
  const { mode = 'strict', failFast = false } = options;
  const findings: Finding[] = [];
  for (const found of findingsOf(input, migration, options)) {
    const told = findingIn(mode, found);
    if (told === undefined) continue;
    // A rule may judge one place milder than its code's level.
    findings.push(found.level === 'warning' ? { ...told, level: 'warning' } : told);
    if (failFast && told.level === 'error') break;
    if (findings.length >= FINDINGS_MAX) break;
  }
  return { ok: !hasErrors(findings), findings, migration };
}

function* findingsOf(
  input: unknown,
  migration: Migration,
  { mode = 'strict', canonical = mode === 'strict', plans }: ValidateOptions,
): Generator<Finding> {
  if (!migration.ok) {
    yield migration.finding;
    return;
  }
  const source = input as Json;
  const { document } = migration;
  yield* checkTop(source, document);
  const phases = document.phases;
  if (!Array.isArray(phases) || phases.length === 0) {
    yield finding('PHASES_EMPTY', '$.phases');
  } else if (phases.length > LIMITS.projectPhases) {
    const limit = LIMITS.projectPhases;
    yield finding('TOO_LARGE', '$.phases', { what: 'number of phases', limit });
  } else {
    yield* checkPhases(phases);
    yield* checkArtifacts(phases, listOf(source.phases));
    yield* checkAudit(document);
    if (plans !== undefined) yield* checkPlan(document, plans);
  }
  if (canonical) yield* checkCanonical(source, document);
}

function* checkTop(source: Json, document: Json): Generator<Finding> {
  if (!isId(document.id)) yield finding('PROJECT_ID', '$.id');
  if (!isFilled(document.name)) yield finding('PROJECT_NAME', '$.name');
  const plan: Json = isObject(source.plan) ? source.plan : {};
  if (firstFilled(plan.id, source.plan_id, source.planId) === undefined) {
    yield finding('PLAN_ID_MISSING', '$.plan.id');
  }
  for (const field of ['created', 'lastModified']) {
    if (isIsoTime(document[field])) continue;
    const wanted = 'an ISO-8601 time with milliseconds in UTC';
    yield finding('FIELD_INVALID', `$.${field}`, { field, wanted });
  }
  for (const field of ['lastSavedFrom', 'description']) {
    if (typeof document[field] === 'string') continue;
    yield finding('FIELD_INVALID', `$.${field}`, { field, wanted: 'a string' });
  }
}

function* checkPhases(phases: readonly unknown[]): Generator<Finding> {
  const ids = new Set<string>();
  const numbers = new Set<unknown>();
  for (const [index, phase] of phases.entries()) {
    const path = `$.phases[${index}]`;
    if (!isObject(phase)) {
      yield finding('PHASE_INVALID', path);
      continue;
    }
    const id = idText(phase.id);
    if (id === undefined) yield finding('PHASE_ID_MISSING', `${path}.id`);
    else if (ids.has(id)) yield finding('PHASE_ID_DUP', `${path}.id`, { id });
    else ids.add(id);
    yield* checkPhase(phase, id ?? '', path, numbers);
  }
}

function* checkPhase(
  phase: Json,
  id: string,
  path: string,
  numbers: Set<unknown>,
): Generator<Finding> {
  if (!isFilled(phase.name)) yield finding('PHASE_NAME', `${path}.name`, { id });
  const number = phase.phase_number;
  if (number == null) {
    yield finding('PHASE_NUMBER_MISSING', `${path}.phase_number`, { id });
  } else if (typeof number !== 'number' || !Number.isSafeInteger(number) || number < 1) {
    yield finding('PHASE_NUMBER_INVALID', `${path}.phase_number`, { id });
  } else if (numbers.has(number)) {
    yield finding('PHASE_NUMBER_DUP', `${path}.phase_number`, { number });
  } else {
    numbers.add(number);
  }
  const { status, decidedAt }: Json = isObject(phase.goNoGoDecision) ? phase.goNoGoDecision : {};
  const at = `${path}.goNoGoDecision`;
  if (status === 'go' || status === 'no-go') {
    if (!isIsoTime(decidedAt)) yield finding('DECIDED_AT_REQUIRED', `${at}.decidedAt`, { id });
  } else if (status !== 'pending') {
    yield finding('DECISION_STATUS', `${at}.status`, { id });
  } else if (decidedAt !== null) {
    yield finding('DECIDED_AT_FORBIDDEN', `${at}.decidedAt`, { id });
  }
}

function* checkAudit({ audit_log, phases }: Json): Generator<Finding> {
  const phaseIds = new Set<unknown>();
  const artifactIds = new Set<unknown>();
  for (const phase of listOf(phases).filter(isObject)) {
    phaseIds.add(idText(phase.id));
    for (const artifact of listOf(phase.artifacts)) {
      if (isObject(artifact)) artifactIds.add(idText(artifact.id));
    }
  }
  for (const [index, entry] of listOf(audit_log).entries()) {
    const path = `$.audit_log[${index}]`;
    if (!isObject(entry)) {
      yield finding('AUDIT_ENTRY_INVALID', path);
      continue;
    }
    const phase = idText(entry.phase_id);
    if (phase !== undefined && !phaseIds.has(phase)) {
      yield finding('AUDIT_PHASE_UNKNOWN', `${path}.phase_id`, { id: phase });
    }
    const artifact = idText(entry.artifact_id);
    if (artifact !== undefined && !artifactIds.has(artifact)) {
      yield finding('AUDIT_ARTIFACT_UNKNOWN', `${path}.artifact_id`, { id: artifact });
    }
  }
}

function* checkCanonical(source: Json, document: Json): Generator<Finding> {
  const all = diffPaths(tolerant(source), tolerant(document));
  if (all.length === 0) return;
  const found = finding('NOT_CANONICAL', all[0] ?? '$', { count: all.length });
  yield { ...found, paths: all.slice(0, PATHS_MAX), count: all.length };
}

/**
 * What may be otherwise in a canonical document: the engine that looked at it last, and the one
 * field that the schema's own minimal example leaves out.
 */
function tolerant(document: Json): Json {
  const { meta, description = '', ...rest } = document;
  if (!isObject(meta)) return { ...rest, meta, description };
  const { rule_engine_version: _engine, ...facts } = meta;
  return { ...rest, description, meta: facts };
}
