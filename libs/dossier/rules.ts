import { ARTIFACT_BODY_BYTES } from '#libs/contracts';

/** Why a file of a mission is not uploaded. */
export type SkipReason =
  /** Not one of the places that hold artifacts. */
  | 'unsupported_surface'
  /** Not one of the endings that are text. */
  | 'unsupported_format'
  /** A symbolic link, or no regular file: never followed. */
  | 'not_a_file'
  | 'oversized'
  | 'not_utf8'
  /** The bytes are not those of the scan. */
  | 'content_hash_mismatch'
  /** It was there at the scan and is gone. */
  | 'missing';

const TOP_FILES = new Set([
  'spec.md',
  'plan.md',
  'tasks.md',
  'research.md',
  'quickstart.md',
  'data-model.md',
]);
const FOLDERS = new Set(['research', 'contracts', 'checklists']);
const FORMATS = /\.(md|json|ya?ml|csv)$/;

/**
 * Whether a file of a mission folder is an artifact, judged by its path alone.
 * @param path relative to the mission folder, with `/`
 * @returns why not, or undefined
 */
export function skipByPath(path: string): SkipReason | undefined {
  const parts = path.split('/');
  const [top = '', second = ''] = parts;
  if (parts.some((part) => part === '' || part === '.' || part === '..')) {
    return 'unsupported_surface';
  }
  if (parts.length === 1) return TOP_FILES.has(top) ? undefined : 'unsupported_surface';
  if (top === 'tasks') {
    const isPackage = parts.length === 2 && /^WP.*\.md$/.test(second);
    return isPackage ? undefined : 'unsupported_surface';
  }
  if (!FOLDERS.has(top)) return 'unsupported_surface';
  return FORMATS.test(parts.at(-1) ?? '') ? undefined : 'unsupported_format';
}

/** True for a folder in which artifacts may lie: no other is read. */
export function isArtifactFolder(path: string): boolean {
  const [top = '', ...rest] = path.split('/');
  return FOLDERS.has(top) || (top === 'tasks' && rest.length === 0);
}

/** @param bytes of the file */
export function skipBySize(bytes: number): SkipReason | undefined {
  return bytes > ARTIFACT_BODY_BYTES ? 'oversized' : undefined;
}

/** The text of UTF-8 bytes, a byte order mark kept; undefined where they are none. */
export function decodeUtf8(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (error) {
    if (error instanceof TypeError) return undefined;
    throw error;
  }
}

const BACKOFF_MS = 1_000;
const BACKOFF_MS_MAX = 300_000;
/** How long a row waits that was not sent for what it is. */
export const HELD_MS = 300_000;
/** A row that was tried more often than this is given up. */
export const RETRIES_MAX = 20;

/** How long a row waits after its try number `retryCount` (from 0) failed: 1, 2, 4 … 300 s. */
export function backoffMs(retryCount: number): number {
  return Math.min(BACKOFF_MS * 2 ** Math.max(0, retryCount), BACKOFF_MS_MAX);
}
