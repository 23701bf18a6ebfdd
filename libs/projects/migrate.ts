import { type Finding, finding } from './findings.ts';
import { diffValues, type JsonChange } from './diff.ts';
import { SCHEMA_VERSION } from './document.ts';
import { type NormalizeContext, normalizeProject } from './normalize.ts';
import { isObject, type Json } from './text.ts';
import { detectVersion } from './version.ts';

export type Migration =
  | {
      ok: true;
      /** In the form of SCHEMA_VERSION; valid only if `validateProject` says so. */
      document: Json;
      from: string;
      to: typeof SCHEMA_VERSION;
      /** Everything that is different now, by path. */
      changes: JsonChange[];
    }
  /** The document is as it was; nothing was relabelled. */
  | { ok: false; from: string | null; finding: Finding };

type Step = { to: string; apply: (document: Json, context: NormalizeContext) => Json };

/** How a document gets from one schema version to the next. A new version adds one entry. */
const STEPS: Readonly<Record<string, Step>> = {
  '0': {
    to: '1',
    apply: (document, context) => {
      const migrated = normalizeProject(document, context) as Json;
      return { ...migrated, meta: { ...(migrated.meta as Json), migrated_from: '0' } };
    },
  },
};

/** True for a version that can be read: the current one and all that lead to it. */
export function isReadableVersion(version: string): boolean {
  return version === SCHEMA_VERSION || Object.hasOwn(STEPS, version);
}

/**
 * Brings a document to the current schema, step by step, and normalizes it. Deterministic: clock and
 * registry are given. An unknown or newer version is refused and the document left as it is.
 */
export function migrateProject(input: unknown, context: NormalizeContext): Migration {
  if (!isObject(input)) return { ok: false, from: null, finding: finding('NOT_OBJECT', '$') };
  const from = detectVersion(input);
  if (!isReadableVersion(from)) {
    const code = from.trim() === '' ? 'SCHEMA_VERSION_MISSING' : 'SCHEMA_VERSION_UNSUPPORTED';
    return { ok: false, from, finding: finding(code, versionPath(input), { version: from }) };
  }
  let document = input;
  for (let at = from; at !== SCHEMA_VERSION; ) {
    const step = STEPS[at];
    if (step === undefined) throw new Error(`no step leads on from schema version ${at}`);
    document = step.apply(document, context);
    at = step.to;
  }
  document = normalizeProject(document, context) as Json;
  const changes = diffValues(input, document);
  return { ok: true, document, from, to: SCHEMA_VERSION, changes };
}

function versionPath({ meta, schema_version }: Json): string {
  if (isObject(meta) && Boolean(meta.schema_version)) return '$.meta.schema_version';
  return typeof schema_version === 'string' ? '$.schema_version' : '$.schemaVersion';
}
