import type { Binding, BindingState, TemplateField } from './templates.ts';
import { isFilled, isInkAtLeast, isObject, isTrimmedAtLeast, type Json, listOf } from './text.ts';

/** Code points that are not white space in the rationale of a waiver that counts. */
export const WAIVER_CHARS_MIN = 20;
/** Code points of a rationale or notes that complete an artifact without a template. */
export const COMPLETION_CHARS_MIN = 20;

export type ArtifactStatus = 'not-started' | 'in-progress' | 'complete' | 'waived';

export type ArtifactState = {
  waived: boolean;
  complete: boolean;
  status: ArtifactStatus;
  binding: BindingState;
};

/** A registry that cannot vouch for the template: nothing that was filled in counts. */
const FAIL_CLOSED = new Set<BindingState>(['unresolved', 'mismatch', 'registry-corrupt']);

/** A waiver counts if it is set and says why in at least 20 characters, white space not counted. */
export function isWaiverValid(waiver: unknown): boolean {
  if (!isObject(waiver) || waiver.waived !== true) return false;
  return isWaiverLongEnough(waiver.rationale);
}

/** True for a rationale that is long enough for a waiver. */
export function isWaiverLongEnough(rationale: unknown): boolean {
  return isInkAtLeast(rationale, WAIVER_CHARS_MIN);
}

/** Judges one artifact from its content alone; a status that is stored in it is never looked at. */
export function artifactStateOf(artifact: unknown, binding: Binding): ArtifactState {
  const { state } = binding;
  if (!isObject(artifact)) {
    return { waived: false, complete: false, status: 'not-started', binding: state };
  }
  if (isWaiverValid(artifact.waiver)) {
    return { waived: true, complete: true, status: 'waived', binding: state };
  }
  if (isFilledIn(artifact, binding)) {
    return { waived: false, complete: true, status: 'complete', binding: state };
  }
  const status = hasContent(artifact) ? 'in-progress' : 'not-started';
  return { waived: false, complete: false, status, binding: state };
}

function isFilledIn(artifact: Json, { state, template }: Binding): boolean {
  if (FAIL_CLOSED.has(state)) return false;
  const fields = template?.fields ?? [];
  if (fields.length === 0) {
    const { rationale, notes } = artifact;
    return [rationale, notes].some((text) => isTrimmedAtLeast(text, COMPLETION_CHARS_MIN));
  }
  return missingFields(artifact, { state, template }).length === 0;
}

/** Ids of the required fields of a template that an artifact has not filled in yet. */
export function missingFields(artifact: unknown, { template }: Binding): string[] {
  const values = isObject(artifact) ? valuesOf(artifact) : {};
  const fields = template?.fields ?? [];
  return fields
    .filter((field) => !isFieldSatisfied(field, own(values, field.fieldId)))
    .map(({ fieldId }) => fieldId);
}

/** True if a value is enough for a field; a field that is not required takes anything. */
export function isFieldSatisfied(field: TemplateField | null | undefined, value: unknown): boolean {
  if (field == null || field.required !== true) return true;
  switch (field.type) {
    case 'short_text':
    case 'long_text':
      return isFilled(value) && isTrimmedAtLeast(value, field.validation?.minLength ?? 0);
    case 'selection':
    case 'date':
      return isFilled(value);
    case 'checklist':
      return Array.isArray(value) && value.length > 0;
    case 'table':
      return listOf(value).some((row) => isFullRow(field, row));
    default:
      return true;
  }
}

function isFullRow({ columns = [] }: TemplateField, row: unknown): boolean {
  if (columns.length === 0) return true;
  return isObject(row) && columns.every(({ name }) => isFilled(own(row, name)));
}

function hasContent(artifact: Json): boolean {
  if (isFilled(artifact.rationale) || isFilled(artifact.notes)) return true;
  return Object.values(valuesOf(artifact)).some(isContent) || listOf(artifact.comments).length > 0;
}

function isContent(value: unknown): boolean {
  if (typeof value === 'string') return value.trim() !== '';
  if (typeof value === 'number' || typeof value === 'boolean') return true;
  return typeof value === 'object' && value !== null && Object.keys(value).length > 0;
}

/** The values that were filled in; documents of old hold them under another key. */
function valuesOf({ field_values, templateData }: Json): Json {
  if (isObject(field_values)) return field_values;
  return isObject(templateData) ? templateData : {};
}

function own(record: Json, key: string): unknown {
  return Object.hasOwn(record, key) ? record[key] : undefined;
}
