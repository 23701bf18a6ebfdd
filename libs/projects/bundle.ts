import { canonicalJson } from './canonical.ts';
import { type HistoryHead, type Integrity, makeIntegrity, type SigningKey } from './integrity.ts';
import { isFilled, isObject, type Json } from './text.ts';

/** Version of the bundle's envelope. */
export const BUNDLE_VERSION = 1;
/** What a reader must be able to read: compared as numbers. */
export const READER_VERSION = '1';

export type Bundle = {
  schemaVersion: typeof BUNDLE_VERSION;
  minReaderVersion: string;
  createdAt: string;
  appVersion?: string;
  project: Json;
};

export type ExportOptions = {
  now: string;
  appVersion?: string | undefined;
  /** Signs the project. Default: hash only. */
  key?: SigningKey | undefined;
  /** Where the project's history stands. */
  history?: HistoryHead | undefined;
};

export type Exported = {
  bundle: Bundle;
  /** The bundle as canonical JSON: what is written to a file. */
  text: string;
  filename: string;
  /** SHA-256 of the project. */
  hash: string;
};

/** Wraps a project as it is. @throws {TypeError} it is no object */
export function wrapProject(
  project: unknown,
  { now, appVersion }: { now: string; appVersion?: string | undefined },
): Bundle {
  if (!isObject(project)) throw new TypeError('a bundle holds a project, which is an object');
  return {
    schemaVersion: BUNDLE_VERSION,
    minReaderVersion: READER_VERSION,
    createdAt: now,
    ...(appVersion !== undefined && { appVersion }),
    project,
  };
}

/** Makes a bundle of a project: hash, signature and head of the history in its integrity block. */
export function exportProject(project: Json, options: ExportOptions): Exported {
  const { integrity: _stale, ...content } = project;
  const integrity: Integrity = makeIntegrity(content, options);
  const bundle = wrapProject({ ...content, integrity }, options);
  const { hash } = integrity;
  return { bundle, text: canonicalJson(bundle), filename: bundleFilename(bundle, options), hash };
}

/** True for a value that is a bundle of a version that can be read; all else is a raw project. */
export function isBundle(value: unknown): value is Bundle & Json {
  return isObject(value) && value.schemaVersion === BUNDLE_VERSION && isObject(value.project);
}

/** True for a value of a bundle's shape whose version is not ours. */
export function isForeignBundle(value: unknown): value is Json {
  return isObject(value) && value.schemaVersion !== BUNDLE_VERSION && isLikeBundle(value);
}

function isLikeBundle(value: Json): boolean {
  return Object.hasOwn(value, 'schemaVersion') && isObject(value.project);
}

/** Longest slug in a file name. */
const SLUG_CHARS = 100;

/** `thingstead-project_{slug}_{YYYY-MM-DD}.json`, safe as a file name on any system. */
export function bundleFilename(
  { createdAt, project }: { createdAt?: unknown; project: Json },
  { now }: { now: string },
): string {
  const { name, id } = project;
  const slug = slugOf(isFilled(name) ? name : isFilled(id) ? id : '');
  const dated = typeof createdAt === 'string' && /^\d{4}-\d{2}-\d{2}/.test(createdAt);
  return `thingstead-project_${slug}_${(dated ? createdAt : now).slice(0, 10)}.json`;
}

function slugOf(name: string): string {
  const slug = name
    .trim()
    .toLowerCase()
    .replace(/\s+/g, '-')
    .replace(/[^a-z0-9_-]/g, '')
    .replace(/-+/g, '-');
  const capped = slug.replace(/^[-_]+/, '').slice(0, SLUG_CHARS);
  return capped.replace(/[-_]+$/, '') || 'project';
}
