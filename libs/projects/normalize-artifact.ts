import type { Comment, CommentType, Waiver } from './document.ts';
import { uuidFrom } from './ids.ts';
import type { ProjectDefaults } from './normalize.ts';
import { idText, isFilled, isIsoTime, isObject, type Json, listOf } from './text.ts';

const COMMENT_TYPES: readonly unknown[] = ['advisory', 'self-critique', 'future-review'];

type Place = { id: unknown; number: unknown };

/** Brings one artifact into canonical form; a stored status is dropped, junk is left as it is. */
export function normalizeArtifact(
  value: unknown,
  phase: Place,
  defaults: ProjectDefaults,
): unknown {
  if (value !== null && !isObject(value)) return value;
  const { status, ...artifact } = value ?? ({} as Json);
  const phase_id = isFilled(artifact.phase_id) ? artifact.phase_id.trim() : idText(phase.id);
  const assigned_to = isFilled(artifact.assigned_to) ? artifact.assigned_to : defaults.owner;
  return {
    ...artifact,
    ...(phase_id !== undefined && { phase_id }),
    ...templateOf(artifact, phase, defaults),
    field_values: valuesOf(artifact),
    rationale: artifact.rationale ?? '',
    notes: artifact.notes ?? '',
    waiver: waiverOf(artifact, status, assigned_to, defaults),
    assigned_to,
    comments: commentsOf(artifact, defaults),
  };
}

/** Own values first; what is missing comes from the template of old, if it is that very one. */
function templateOf(artifact: Json, phase: Place, defaults: ProjectDefaults): Json {
  const { template_id, template_version, template_hash } = artifact;
  const id = isFilled(template_id) ? template_id.trim() : null;
  const version = isFilled(template_version)
    ? template_version
    : (idText(template_version) ?? null);
  const hash = isFilled(template_hash) ? template_hash.trim() : null;
  const legacy = legacyOf(artifact, phase, defaults);
  const same =
    legacy !== undefined &&
    (id ?? legacy.template.template_id) === legacy.template.template_id &&
    (version ?? legacy.template.template_version) === legacy.template.template_version;
  if (!same) return { template_id: id, template_version: version, template_hash: hash };
  const { template } = legacy;
  return {
    template_id: template.template_id,
    template_version: template.template_version,
    template_hash: hash ?? legacy.hash,
  };
}

/** The template that an artifact of a document of old goes by. */
function legacyOf({ name }: Json, { number }: Place, { byName, registry }: ProjectDefaults) {
  if (!byName || typeof number !== 'number' || typeof name !== 'string') return undefined;
  return registry.findByName(number, name);
}

function valuesOf({ field_values, templateData }: Json): Json {
  if (isObject(field_values)) return field_values;
  return isObject(templateData) ? templateData : {};
}

function waiverOf(
  artifact: Json,
  status: unknown,
  assigned_to: string,
  defaults: ProjectDefaults,
): Waiver | null {
  const { waiver, rationale, lastModified } = artifact;
  if (isObject(waiver)) {
    return {
      waived: waiver.waived === true,
      rationale: typeof waiver.rationale === 'string' ? waiver.rationale : '',
      waived_at: isIsoTime(waiver.waived_at) ? waiver.waived_at : null,
      waived_by: isFilled(waiver.waived_by) ? waiver.waived_by : null,
    };
  }
  if (status !== 'not-required') return null;
  return {
    waived: true,
    rationale: typeof rationale === 'string' ? rationale : '',
    waived_at: isIsoTime(lastModified) ? lastModified : defaults.lastModified,
    waived_by: assigned_to,
  };
}

function commentsOf(artifact: Json, defaults: ProjectDefaults): unknown {
  const { comments } = artifact;
  if (comments == null) return [];
  if (!Array.isArray(comments)) return comments;
  return listOf(comments).map((comment, index) => commentOf(comment, index, artifact, defaults));
}

function commentOf(
  value: unknown,
  index: number,
  artifact: Json,
  { projectId, created, owner }: ProjectDefaults,
): Comment {
  const comment: Json = isObject(value) ? value : {};
  const content = typeof comment.content === 'string' ? comment.content : '';
  const resolved = comment.status === 'resolved';
  const type = comment.comment_type;
  return {
    id:
      idText(comment.id) ??
      uuidFrom(
        'comment',
        idText(projectId) ?? '',
        idText(artifact.id) ?? '',
        String(index),
        content,
      ),
    comment_type: COMMENT_TYPES.includes(type) ? (type as CommentType) : 'advisory',
    content,
    status: resolved ? 'resolved' : 'open',
    created_at: isIsoTime(comment.created_at) ? comment.created_at : created,
    created_by: isFilled(comment.created_by) ? comment.created_by : owner,
    resolved_at: resolved && isIsoTime(comment.resolved_at) ? comment.resolved_at : null,
    resolved_by: resolved && isFilled(comment.resolved_by) ? comment.resolved_by : null,
  };
}
