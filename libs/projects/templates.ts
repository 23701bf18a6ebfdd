import { hashOf } from './canonical.ts';
import { isFilled, isObject, type Json, listOf } from './text.ts';

/** One field of a template. Types: short_text long_text selection date checklist table. */
export type TemplateField = {
  readonly fieldId: string;
  readonly label?: string;
  readonly type: string;
  readonly required?: boolean;
  readonly validation?: { readonly minLength?: number; readonly maxLength?: number };
  readonly options?: readonly string[];
  readonly items?: readonly string[];
  readonly columns?: readonly { readonly name: string; readonly type?: string }[];
};

/** One version of a template. `template_hash`, if given, must be what `templateHash` says. */
export type Template = {
  readonly template_id: string;
  readonly template_version: string;
  readonly name: string;
  readonly phase_number: number;
  readonly category?: string;
  readonly isGateBlocking?: boolean;
  readonly fields: readonly TemplateField[];
  readonly template_hash?: string;
};

/** `verified` and `unverified` (no hash stored) count as bound, `legacy` is bound by name. */
export type BindingState =
  | 'verified'
  | 'unverified'
  | 'legacy'
  | 'missing'
  | 'unresolved'
  | 'mismatch'
  | 'registry-corrupt';

export type Binding = { state: BindingState; template: Template | null };

type Registered = { template: Template; hash: string; corrupt: boolean };

/** Templates by id and version, looked up without any scan. Made once, never changed. */
export type TemplateRegistry = {
  readonly version: string;
  /** Template and its computed hash; undefined if there is none. */
  find(id: string, version: string): Registered | undefined;
  findByName(phaseNumber: number, name: string): Registered | undefined;
  list(): Template[];
};

/** Keys that may change without the template becoming another one. */
const UNHASHED = new Set(['template_hash', 'status', 'estimatedCompletionMinutes']);

/** SHA-256 of the canonical JSON of a template without its hash, status and estimate. */
export function templateHash(template: Json | Template): string {
  const hashed = Object.entries(template).filter(([key]) => !UNHASHED.has(key));
  return hashOf(Object.fromEntries(hashed));
}

/** Makes a registry; of two templates with one id and version the first counts. */
export function createTemplateRegistry(
  version: string,
  templates: readonly Template[],
): TemplateRegistry {
  const byVersion = new Map<string, Registered>();
  const byName = new Map<string, Registered>();
  for (const template of templates) {
    const hash = templateHash(template);
    const corrupt = template.template_hash !== undefined && template.template_hash !== hash;
    const entry = { template, hash, corrupt };
    const { template_id, template_version, phase_number, name } = template;
    setFirst(byVersion, keyOf(template_id, template_version), entry);
    setFirst(byName, keyOf(phase_number, name), entry);
  }
  return {
    version,
    find: (id, wanted) => byVersion.get(keyOf(id, wanted)),
    findByName: (phaseNumber, name) => byName.get(keyOf(phaseNumber, name)),
    list: () => [...byVersion.values()].map(({ template }) => template),
  };
}

export const NO_TEMPLATES: TemplateRegistry = createTemplateRegistry('0', []);

/** Which template an artifact is bound to, and whether that binding can be relied on. */
export function bindingOf(
  artifact: unknown,
  phaseNumber: unknown,
  registry: TemplateRegistry,
): Binding {
  if (!isObject(artifact)) return { state: 'missing', template: null };
  const { template_id, template_version, template_hash, name } = artifact;
  if (isFilled(template_id) && isFilled(template_version)) {
    const entry = registry.find(template_id, template_version);
    if (entry === undefined) return { state: 'unresolved', template: null };
    if (entry.corrupt) return { state: 'registry-corrupt', template: null };
    if (!isFilled(template_hash)) return { state: 'unverified', template: entry.template };
    return template_hash === entry.hash
      ? { state: 'verified', template: entry.template }
      : { state: 'mismatch', template: null };
  }
  if (typeof phaseNumber !== 'number' || typeof name !== 'string') {
    return { state: 'missing', template: null };
  }
  const entry = registry.findByName(phaseNumber, name);
  if (entry === undefined) return { state: 'missing', template: null };
  if (entry.corrupt) return { state: 'registry-corrupt', template: null };
  return { state: 'legacy', template: entry.template };
}

/** Why a value is no template, or undefined if it is one. Extra keys are kept and hashed. */
export function templateFault(value: unknown): string | undefined {
  if (!isObject(value)) return 'is not an object';
  for (const key of ['template_id', 'template_version', 'name']) {
    if (!isFilled(value[key])) return `${key} must be a non-empty string`;
  }
  if (!Array.isArray(value.fields)) return 'fields must be a list';
  const bad = listOf(value.fields).findIndex(
    (field) => !isObject(field) || !isFilled(field.fieldId) || !isFilled(field.type),
  );
  return bad < 0 ? undefined : `fields[${bad}] needs fieldId and type`;
}

function keyOf(a: string | number, b: string): string {
  return `${a}\u0000${b}`;
}

function setFirst<V>(map: Map<string, V>, key: string, value: V): void {
  if (!map.has(key)) map.set(key, value);
}
