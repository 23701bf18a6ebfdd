import { LIMITS } from '#libs/contracts';
import { type Finding, finding } from './findings.ts';
import { idText, isFilled, isIsoTime, isObject, type Json, labelOf, listOf } from './text.ts';

const CATEGORIES: readonly unknown[] = ['core', 'conditional', 'supplemental'];

/** True for one of the three categories. */
export function isCategory(value: unknown): boolean {
  return CATEGORIES.includes(value);
}

/** Where an artifact stands. */
type Place = { path: string; phase: string };

/**
 * What is wrong with the artifacts of normalized phases. `source` are the phases as they came: some
 * rules ask what was there before it was repaired.
 */
export function* checkArtifacts(
  phases: readonly unknown[],
  source: readonly unknown[],
): Generator<Finding> {
  const ids = new Set<string>();
  let count = 0;
  for (const [index, phase] of phases.entries()) {
    if (!isObject(phase)) continue;
    const id = idText(phase.id) ?? '';
    const path = `$.phases[${index}].artifacts`;
    if (!Array.isArray(phase.artifacts)) {
      yield finding('ARTIFACTS_INVALID', path, { id });
      continue;
    }
    count += phase.artifacts.length;
    if (count > LIMITS.projectArtifacts) {
      const limit = LIMITS.projectArtifacts;
      yield finding('TOO_LARGE', path, { what: 'number of artifacts', limit });
      return;
    }
    const before = listOf(memberOf(source[index], 'artifacts'));
    for (const [at, artifact] of phase.artifacts.entries()) {
      const place = { path: `${path}[${at}]`, phase: id };
      if (!isObject(artifact)) yield finding('ARTIFACT_INVALID', place.path);
      else yield* checkArtifact(artifact, before[at], place, ids);
    }
  }
}

function* checkArtifact(
  artifact: Json,
  source: unknown,
  { path, phase }: Place,
  ids: Set<string>,
): Generator<Finding> {
  const id = artifact.id;
  if (!isFilled(id)) yield finding('ARTIFACT_ID_MISSING', `${path}.id`, { id: phase });
  else if (ids.has(id)) yield finding('ARTIFACT_ID_DUP', `${path}.id`, { id });
  else ids.add(id);
  const label = firstText(id, artifact.name);
  if (!isFilled(memberOf(source, 'phase_id'))) {
    yield finding('ARTIFACT_PHASE_ID_MISSING', `${path}.phase_id`, { id: label });
  }
  if (artifact.phase_id !== undefined && artifact.phase_id !== phase) {
    const named = labelOf(artifact.phase_id);
    yield finding('ARTIFACT_PHASE_MISMATCH', `${path}.phase_id`, { id: label, phase, named });
  }
  yield* checkBinding(artifact, label, path);
  yield* checkFields(artifact, path);
  yield* checkComments(artifact.comments, label, `${path}.comments`);
}

/** An artifact that blocks no gate may be free text; one that blocks it needs a template. */
function* checkBinding(artifact: Json, id: string, path: string): Generator<Finding> {
  if (artifact.isGateBlocking === false) return;
  const level = artifact.isGateBlocking ? 'error' : 'warning';
  if (artifact.template_id === null) {
    yield { ...finding('TEMPLATE_ID_MISSING', `${path}.template_id`, { id }), level };
  }
  if (artifact.template_version === null) {
    yield { ...finding('TEMPLATE_VERSION_MISSING', `${path}.template_version`, { id }), level };
  }
}

function* checkFields(artifact: Json, path: string): Generator<Finding> {
  const tell = (field: string, wanted: string): Finding =>
    finding('FIELD_INVALID', `${path}.${field}`, { field, wanted });
  if (!isFilled(artifact.name)) yield tell('name', 'a non-empty string');
  if (!isCategory(artifact.category)) {
    yield tell('category', 'core, conditional or supplemental');
  }
  if (typeof artifact.isGateBlocking !== 'boolean') yield tell('isGateBlocking', 'true or false');
  for (const field of ['rationale', 'notes']) {
    if (typeof artifact[field] !== 'string') yield tell(field, 'a string');
  }
  if (!isIsoTime(artifact.lastModified)) {
    yield tell('lastModified', 'an ISO-8601 time with milliseconds in UTC');
  }
}

function* checkComments(comments: unknown, id: string, path: string): Generator<Finding> {
  if (!Array.isArray(comments)) {
    yield finding('COMMENTS_INVALID', path, { id });
    return;
  }
  if (comments.length > LIMITS.artifactComments) {
    const limit = LIMITS.artifactComments;
    yield finding('TOO_LARGE', path, { what: 'number of comments', limit });
    return;
  }
  const ids = new Set<unknown>();
  for (const [index, comment] of comments.entries()) {
    const at = `${path}[${index}]`;
    if (!isObject(comment)) continue;
    if (ids.has(comment.id))
      yield finding('COMMENT_ID_DUP', `${at}.id`, { id: String(comment.id) });
    ids.add(comment.id);
    if (comment.status !== 'resolved') continue;
    if (comment.resolved_at === null)
      yield finding('COMMENT_RESOLVED_AT', `${at}.resolved_at`, { id });
    if (comment.resolved_by === null)
      yield finding('COMMENT_RESOLVED_BY', `${at}.resolved_by`, { id });
  }
}

function memberOf(value: unknown, key: string): unknown {
  return isObject(value) && Object.hasOwn(value, key) ? value[key] : undefined;
}

function firstText(...values: unknown[]): string {
  return values.find(isFilled) ?? '(unknown)';
}
