import { invalid, LIMITS } from '#libs/contracts';
import { canonicalJson } from './canonical.ts';
import {
  type Author,
  type DecisionWarning,
  draftOn,
  noPart,
  nothing,
  type ProjectDecision,
  refuse,
  refused,
} from './decision.ts';
import type { Artifact, CommentType, Phase } from './document.ts';
import type { Engine } from './engine.ts';
import { enforcePolicy, type GovernancePolicy } from './policy.ts';
import { findArtifact, type ProjectState } from './state.ts';
import { idText, isFilled, isHostileKey, pointLength } from './text.ts';

/** Fields of a project that may be changed after creation. */
export type UpdateProject = Author & {
  name?: string | undefined;
  description?: string | undefined;
};

/** Fields that no command changes. */
const IMMUTABLE = ['id', 'created', 'governance_mode', 'plan', 'plan_id', 'schema_version'];

/** The first field of a change that may not be changed after creation. */
export function immutableField(change: object): string | undefined {
  return IMMUTABLE.find((field) => Object.hasOwn(change, field));
}

/** Renames or describes a project. */
export function updateProject(state: ProjectState, command: UpdateProject): ProjectDecision {
  const { document } = state;
  const field = immutableField(command);
  if (field !== undefined) return refuse('PROJECT_IMMUTABLE', { field, id: document.id });
  const { name, description } = command;
  if (name !== undefined && !isFilled(name)) return refused(invalid('name', 'must not be blank'));
  const fault = textFault({ name, description });
  if (fault !== undefined) return fault;
  const same = (name ?? document.name) === document.name;
  if (same && (description ?? document.description) === document.description) return nothing(state);
  const payload = {
    ...(name !== undefined && { name }),
    ...(description !== undefined && { description }),
  };
  return draftOn(state, command).link('PROJECT_UPDATED', payload).done();
}

export type ArtifactChange = {
  name?: string | undefined;
  rationale?: string | undefined;
  notes?: string | undefined;
  assignedTo?: string | undefined;
  /** Values to set, by field id; null takes a value away. */
  fieldValues?: Record<string, unknown> | undefined;
  /** Binds to another version of a template, which the registry must hold. */
  template?: { id: string; version: string } | undefined;
};

export type UpdateArtifact = Author & { artifactId: string } & ArtifactChange;

/** Changes what an artifact holds; what it is (category, phase, blocking) the plan has fixed. */
export function updateArtifact(
  state: ProjectState,
  command: UpdateArtifact,
  engine: Engine,
): ProjectDecision {
  const found = findArtifact(state.document, command.artifactId);
  if (found === undefined) return noArtifact(state, command.artifactId);
  const { name, rationale, notes, assignedTo } = command;
  const fault = textFault({ name, rationale, notes, assigned_to: assignedTo });
  if (fault !== undefined) return fault;
  if (name !== undefined && !isFilled(name)) return refused(invalid('name', 'must not be blank'));
  if (assignedTo !== undefined && state.document.governance_mode === 'solo') {
    if (assignedTo !== state.document.project_owner) {
      return refused(invalid('assigned_to', 'is the owner in solo mode'));
    }
  }
  const values = valuesChange(found.artifact, command.fieldValues ?? {});
  if (!('set' in values)) return values;
  const template = templateChange(command.template, engine);
  if (template === null) return refused(invalid('template', 'is not in the registry'));
  const payload = {
    ...placeOf(found),
    ...differing(found.artifact, { name, rationale, notes, assigned_to: assignedTo }),
    ...(Object.keys(values.set).length > 0 && { field_values: values.set }),
    ...(values.cleared.length > 0 && { cleared: values.cleared }),
    ...(template !== undefined && differs(found.artifact, template) && { template }),
  };
  if (Object.keys(payload).length === Object.keys(placeOf(found)).length) return nothing(state);
  const warnings = unknownFields(found.artifact, template, Object.keys(values.set), engine);
  return draftOn(state, command)
    .link('ARTIFACT_UPDATED', payload)
    .done(...warnings);
}

/** Values are kept under any name; one that the template does not have is perhaps misspelt. */
function unknownFields(
  artifact: Artifact,
  change: { template_id: string; template_version: string } | undefined,
  names: readonly string[],
  { registry }: Engine,
): DecisionWarning[] {
  const { template_id: id, template_version: version } = change ?? artifact;
  const found = id === null || version === null ? undefined : registry.find(id, version);
  if (found === undefined || found.corrupt) return [];
  const known = found.template.fields.map(({ fieldId }) => fieldId);
  const unknown = names.filter((name) => !known.includes(name));
  return unknown.map((name) => ({
    code: 'FIELD_UNKNOWN',
    message: `the template has no field ${name}; it has ${known.join(', ')}`,
  }));
}

/** Only what is not so already. */
function differing<T extends object>(artifact: Artifact, change: T): Partial<T> {
  const entries = Object.entries(change).filter(
    ([key, value]) => value !== undefined && artifact[key] !== value,
  );
  return Object.fromEntries(entries) as Partial<T>;
}

function differs(artifact: Artifact, change: object): boolean {
  return Object.keys(differing(artifact, change)).length > 0;
}

function templateChange(template: UpdateArtifact['template'], { registry }: Engine) {
  if (template === undefined) return undefined;
  const found = registry.find(template.id, template.version);
  if (found === undefined || found.corrupt) return null;
  const { id: template_id, version: template_version } = template;
  return { template_id, template_version, template_hash: found.hash };
}

function valuesChange(
  artifact: Artifact,
  values: Record<string, unknown>,
): ProjectDecision | { set: Record<string, unknown>; cleared: string[] } {
  const hostile = Object.keys(values).find(isHostileKey);
  if (hostile !== undefined) {
    return refused(invalid(`field_values.${hostile}`, 'is not an allowed key'));
  }
  if (Buffer.byteLength(canonicalJson(values)) > LIMITS.projectValueBytes) {
    const limit = LIMITS.projectValueBytes;
    return refuse('PAYLOAD_TOO_LARGE', { what: 'field_values', limit }, { field: 'field_values' });
  }
  const own = artifact.field_values;
  const present = Object.keys(values).filter((key) => Object.hasOwn(own, key));
  const cleared = present.filter((key) => values[key] === null);
  const set = Object.entries(values).filter(([key, value]) => {
    if (value === null || value === undefined) return false;
    return !Object.hasOwn(own, key) || canonicalJson(own[key]) !== canonicalJson(value);
  });
  return { set: Object.fromEntries(set), cleared };
}

export type WaiverCommand = Author & { artifactId: string; rationale: string };

/** Waives an artifact; the same waiver again is done already, another rationale is a new entry. */
export function applyWaiver(
  state: ProjectState,
  command: WaiverCommand,
  policy: GovernancePolicy = {},
): ProjectDecision {
  const { artifactId, rationale } = command;
  const found = findArtifact(state.document, artifactId);
  if (found === undefined) return noArtifact(state, artifactId);
  const { artifact, phase } = found;
  if (artifact.waiver?.waived === true && artifact.waiver.rationale === rationale)
    return nothing(state);
  const others = phase.artifacts.filter(({ id, waiver }) => id !== artifactId && waiver?.waived);
  const verdict = enforcePolicy(
    { type: 'APPLY_WAIVER', rationale, phaseWaiverCount: others.length },
    policy,
  );
  if (!verdict.allowed) return policyRefusal(verdict);
  const fault = textFault({ rationale });
  if (fault !== undefined) return fault;
  return draftOn(state, command)
    .link('WAIVER_APPLIED', { ...placeOf(found), rationale })
    .done();
}

/** Takes a waiver away; of an artifact without one it is done already. */
export function removeWaiver(
  state: ProjectState,
  command: Author & { artifactId: string },
): ProjectDecision {
  const found = findArtifact(state.document, command.artifactId);
  if (found === undefined) return noArtifact(state, command.artifactId);
  if (found.artifact.waiver?.waived !== true) return nothing(state);
  return draftOn(state, command)
    .link('WAIVER_REMOVED', { ...placeOf(found), rationale: '' })
    .done();
}

export type AddComment = Author & {
  artifactId: string;
  /** Given by who comments: the same again is done already. */
  commentId: string;
  commentType: CommentType;
  content: string;
};

export function addComment(state: ProjectState, command: AddComment): ProjectDecision {
  const { artifactId, commentId: comment_id, commentType: comment_type, content } = command;
  const found = findArtifact(state.document, artifactId);
  if (found === undefined) return noArtifact(state, artifactId);
  if (!isFilled(content)) return refused(invalid('content', 'must not be blank'));
  const fault = textFault({ content });
  if (fault !== undefined) return fault;
  const known = found.artifact.comments.find(({ id }) => id === comment_id);
  if (known?.content === content && known.comment_type === comment_type) return nothing(state);
  if (known !== undefined) return refused(invalid('comment_id', 'names another comment already'));
  if (found.artifact.comments.length >= LIMITS.artifactComments) {
    const limit = LIMITS.artifactComments;
    return refuse('PAYLOAD_TOO_LARGE', { what: 'number of comments', limit });
  }
  return draftOn(state, command)
    .link('COMMENT_ADDED', { ...placeOf(found), comment_id, comment_type, content })
    .done();
}

export type CommentCommand = Author & { artifactId: string; commentId: string };

export function resolveComment(state: ProjectState, command: CommentCommand): ProjectDecision {
  return setComment(state, command, 'COMMENT_RESOLVED');
}

/** Opens a resolved comment again; who had resolved it is in the history. */
export function reopenComment(state: ProjectState, command: CommentCommand): ProjectDecision {
  return setComment(state, command, 'COMMENT_REOPENED');
}

function setComment(
  state: ProjectState,
  command: CommentCommand,
  type: 'COMMENT_RESOLVED' | 'COMMENT_REOPENED',
): ProjectDecision {
  const { artifactId, commentId: comment_id } = command;
  const found = findArtifact(state.document, artifactId);
  if (found === undefined) return noArtifact(state, artifactId);
  const comment = found.artifact.comments.find(({ id }) => id === comment_id);
  if (comment === undefined) return noPart(state.document.id, 'comment', comment_id);
  const wanted = type === 'COMMENT_RESOLVED' ? 'resolved' : 'open';
  if (comment.status === wanted) return nothing(state);
  return draftOn(state, command)
    .link(type, { ...placeOf(found), comment_id })
    .done();
}

/** Ids of an artifact and its phase, as events name them. */
export function placeOf({ phase, artifact }: { phase: Phase; artifact: Artifact }) {
  return { phase_id: idText(phase.id) ?? '', artifact_id: artifact.id };
}

export function noArtifact({ document }: ProjectState, id: string): ProjectDecision {
  return noPart(document.id, 'artifact', id);
}

/** A policy's refusal: of a field where it names one. */
export function policyRefusal({
  field,
  reason,
}: {
  field?: string;
  reason: string;
}): ProjectDecision {
  return field === undefined
    ? refuse('POLICY_REFUSED', { reason })
    : refused(invalid(field, reason));
}

/** Refuses the first text that is too long; lengths are of code points. */
export function textFault(texts: Record<string, string | undefined>): ProjectDecision | undefined {
  const limit = LIMITS.projectTextChars;
  for (const [field, text] of Object.entries(texts)) {
    if (text === undefined) continue;
    if (!text.isWellFormed()) return refused(invalid(field, 'holds half of a surrogate pair'));
    if (pointLength(text) > limit)
      return refuse('PAYLOAD_TOO_LARGE', { what: field, limit }, { field });
  }
  return undefined;
}
