import { type AppError, checkJson, isAppError, LIMITS } from '#libs/contracts';
import { isBundle, isForeignBundle, READER_VERSION } from './bundle.ts';
import type { Engine } from './engine.ts';
import { contextOf } from './engine.ts';
import { type Finding, type FindingCode, finding, hasErrors, type ReadMode } from './findings.ts';
import type { ProjectDocument } from './document.ts';
import { diffValues, type JsonChange } from './diff.ts';
import { type IntegrityReport, verifyIntegrity } from './integrity.ts';
import { isFilled, isIsoTime, isObject, type Json, listOf } from './text.ts';
import { isCategory } from './validate-artifacts.ts';
import { validateProject } from './validate.ts';

export type ReadOptions = {
  engine: Engine;
  now: string;
  /** Default strict. */
  mode?: ReadMode;
  /** Default: as `mode` is strict. */
  canonical?: boolean;
  failFast?: boolean;
  /** Also check the rules of the project's plan. Default false. */
  planRules?: boolean;
  /** Keys that may vouch for a project. Default: none is known. */
  isKnownKey?: (keyId: string) => boolean;
  /** Refuse what no known key has signed. Default false. */
  requireSignature?: boolean;
};

export type ReadProject = {
  ok: boolean;
  kind: 'bundle' | 'project';
  findings: Finding[];
  /** Normalized, without `integrity`; null unless `ok`. */
  project: ProjectDocument | null;
  /** Schema version it came in; null where there was none to read. */
  from: string | null;
  changes: JsonChange[];
  /** Null where nothing could be read that has an integrity. */
  integrity: IntegrityReport | null;
};

/**
 * Reads the text of a bundle or a raw project: bounds, JSON, envelope, integrity, signature, schema,
 * rules, in this order; the first four end the reading where they fail. Never throws.
 */
export function readProject(text: string, options: ReadOptions): ReadProject {
  const bytes = Buffer.byteLength(text, 'utf8');
  if (bytes > LIMITS.projectBytes) {
    return failed('TOO_LARGE', '$', { what: 'text in bytes', limit: LIMITS.projectBytes });
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return failed('BAD_JSON', '$', { reason });
  }
  return readProjectValue(value, options);
}

/** `readProject` of a value that was parsed already, as a body is. */
export function readProjectValue(value: unknown, options: ReadOptions): ReadProject {
  const refusal = boundsFinding(value);
  if (refusal !== undefined) return unread(refusal);
  if (isForeignBundle(value)) {
    return failed('BUNDLE_VERSION_UNSUPPORTED', '$.schemaVersion', {
      version: JSON.stringify(value.schemaVersion) ?? 'none',
    });
  }
  if (!isBundle(value)) return readRaw(value, 'project', options);
  const wanted = value.minReaderVersion ?? READER_VERSION;
  if (!isReadable(wanted)) {
    const version = typeof wanted === 'string' ? wanted : typeof wanted;
    return failed('READER_TOO_OLD', '$.minReaderVersion', { version, reader: READER_VERSION });
  }
  return readRaw(value.project, 'bundle', options);
}

function readRaw(value: unknown, kind: ReadProject['kind'], options: ReadOptions): ReadProject {
  const { engine, now, mode = 'strict', planRules = false } = options;
  const integrity = isObject(value)
    ? verifyIntegrity(value, options.isKnownKey ?? (() => false))
    : null;
  const told = integrity === null ? [] : [...trustFindings(integrity, options)];
  // Only of a bundle is it worth saying that nothing vouches for it.
  const trust = told.filter(({ code }) => code !== 'INTEGRITY_ABSENT' || isTold(kind, mode));
  if (hasErrors(trust) && integrity !== null) {
    return { ...unread(...trust), kind, integrity };
  }
  const { canonical = mode === 'strict', failFast = false } = options;
  const { ok, findings, migration } = validateProject(withoutIntegrity(value), {
    ...contextOf(engine, now),
    mode,
    canonical,
    failFast,
    plans: planRules ? engine.plans : undefined,
  });
  const usable = ok && migration.ok;
  const lenient = mode === 'lenient';
  const read = usable && lenient ? repaired(migration.document, now) : undefined;
  const project = usable ? ((read ?? migration.document) as ProjectDocument) : null;
  return {
    ok,
    kind,
    findings: [...trust, ...findings],
    project,
    from: migration.from,
    changes: read
      ? diffValues(withoutIntegrity(value), read)
      : migration.ok
        ? migration.changes
        : [],
    integrity,
  };
}

function isTold(kind: ReadProject['kind'], mode: ReadMode): boolean {
  return kind === 'bundle' && mode === 'strict';
}

/** What an integrity report comes to. */
export function* trustFindings(
  report: IntegrityReport,
  { requireSignature = false }: { requireSignature?: boolean },
): Generator<Finding> {
  const { hash, signature, key_id } = report;
  const at = '$.integrity';
  if (hash === 'invalid') yield finding('INTEGRITY_MISMATCH', `${at}.hash`);
  if (signature === 'invalid' || report.history?.signature === 'invalid') {
    yield finding('SIGNATURE_INVALID', `${at}.signature`);
  } else if (requireSignature && signature !== 'valid') {
    yield finding('SIGNATURE_REQUIRED', `${at}.signature`, { outcome: signature });
  } else if (signature === 'unknown-key') {
    yield finding('SIGNATURE_UNKNOWN_KEY', `${at}.signature`, { key: key_id ?? '' });
  }
  if (hash === 'absent') yield finding('INTEGRITY_ABSENT', at);
}

/** An integrity block is of the document that came, never of what becomes of it. */
export function withoutIntegrity(value: unknown): unknown {
  if (!isObject(value)) return value;
  const { integrity: _integrity, ...project } = value;
  return project;
}

/**
 * Gives a lenient document the fields without which it could not be exported again: times, the
 * device, and what an artifact is. Changes nothing in a document that has them.
 */
function repaired(document: Json, now: string): Json {
  const { created, lastModified, lastSavedFrom, description } = document;
  const since = isIsoTime(created) ? created : now;
  const saved = isIsoTime(lastModified) ? lastModified : since;
  return {
    ...document,
    created: since,
    lastModified: saved,
    lastSavedFrom: typeof lastSavedFrom === 'string' ? lastSavedFrom : 'unknown-device',
    description: typeof description === 'string' ? description : '',
    phases: listOf(document.phases).map((phase) =>
      isObject(phase)
        ? {
            ...phase,
            artifacts: listOf(phase.artifacts).map((one) => repairedArtifact(one, saved)),
          }
        : phase,
    ),
  };
}

function repairedArtifact(artifact: unknown, saved: string): unknown {
  if (!isObject(artifact)) return artifact;
  const { name, category, isGateBlocking, rationale, notes, lastModified } = artifact;
  return {
    ...artifact,
    name: isFilled(name) ? name : String(artifact.id),
    category: isCategory(category) ? category : 'supplemental',
    isGateBlocking: Boolean(isGateBlocking),
    rationale: textOf(rationale),
    notes: textOf(notes),
    lastModified: isIsoTime(lastModified) ? lastModified : saved,
  };
}

/** What is no text is kept as the JSON it is. */
function textOf(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}

function boundsFinding(value: unknown): Finding | undefined {
  try {
    checkJson(value, '$', { depth: LIMITS.jsonDepth, nodes: LIMITS.projectNodes });
    return undefined;
  } catch (error) {
    if (!isAppError(error)) throw error;
    return boundsFindingOf(error);
  }
}

function boundsFindingOf(error: AppError): Finding {
  const path = error.field ?? '$';
  if (error.code !== 'PAYLOAD_TOO_LARGE') {
    return finding('JSON_REFUSED', path, { reason: error.message });
  }
  return finding('TOO_LARGE', path, { what: 'number of JSON values', limit: LIMITS.projectNodes });
}

function isReadable(wanted: unknown): boolean {
  return (
    typeof wanted === 'string' &&
    /^\d+(\.\d+)?$/.test(wanted) &&
    Number(wanted) <= Number(READER_VERSION)
  );
}

function failed(
  code: FindingCode,
  path: string,
  params: Record<string, string | number>,
): ReadProject {
  return unread(finding(code, path, params));
}

function unread(...findings: Finding[]): ReadProject {
  const nothing = { project: null, from: null, changes: [], integrity: null };
  return { ok: false, kind: 'project', findings, ...nothing };
}

/** What becomes of an import whose id is taken. */
export type CollisionChoice = 'overwrite' | 'keep-both' | 'cancel';

/** The project under another id, beside the one that is there. */
export function asCopy(project: ProjectDocument, newId: string): ProjectDocument {
  return { ...project, id: newId, name: `${project.name} (Imported)` };
}
