import { createHash } from 'node:crypto';
import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { AppError } from '#libs/contracts';
import {
  bindingIn,
  type StoredBinding,
  type Tokens,
  type TokenStore,
  withBinding,
} from '#libs/tracker';

const EDITS_MAX = 5;

/** Where a checkout keeps what it is bound to. */
export function projectFile(root: string): string {
  return join(root, '.kittify', 'config.yaml');
}

/** @throws {INVALID_REQUEST} the file is there and cannot be used */
export function readBinding(root: string): StoredBinding | undefined {
  return bindingIn(read(projectFile(root)) ?? '');
}

/**
 * Keeps the binding in the project's file, or takes it out; all else in the file stays.
 * @returns what was there before
 * @throws {INVALID_REQUEST} the file cannot be edited
 */
export function storeBinding(
  root: string,
  binding: StoredBinding | undefined,
): StoredBinding | undefined {
  const file = followed(projectFile(root));
  for (let edit = 1; ; edit += 1) {
    const before = read(file);
    const after = withBinding(before ?? '', binding);
    const known = bindingIn(before ?? '');
    if (after === (before ?? '')) return known;
    // Somebody else's edit of the same moment is not to be lost.
    const isOurs = (): boolean => read(file) === before;
    if (after === '' ? remove(file, isOurs) : replace(file, after, 0o644, isOurs)) return known;
    if (edit === EDITS_MAX) {
      const reason = 'others keep writing it';
      throw new AppError('DEPENDENCY_UNAVAILABLE', { dependency: file, reason });
    }
  }
}

/**
 * Renewed tokens in a file that its owner alone can read. Those of another server, or of tokens
 * that the user has replaced since, do not count.
 * @param given what the user gave, of which the kept ones were bought
 */
export function tokenFile(file: string, server: string, given: readonly unknown[]): TokenStore {
  const of = createHash('sha256')
    .update(JSON.stringify([server, ...given]))
    .digest('hex');
  return {
    read() {
      const kept = parse(read(file) ?? '{}');
      const { access, refresh } = kept;
      const isWhole = typeof access === 'string' && typeof refresh === 'string';
      return kept.of === of && isWhole ? { access, refresh } : undefined;
    },
    write({ access, refresh }: Tokens) {
      replace(file, `${JSON.stringify({ of, access, refresh })}\n`, 0o600, () => true);
    },
  };
}

/** What is no JSON object is as good as nothing: tokens are bought anew. */
function parse(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    const isObject = typeof value === 'object' && value !== null;
    return isObject ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

function read(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** The file behind a link, which is to stay a link. */
function followed(file: string): string {
  return read(file) === undefined ? file : realpathSync(file);
}

function remove(file: string, isOurs: () => boolean): boolean {
  if (!isOurs()) return false;
  rmSync(file, { force: true });
  return true;
}

/** Beside it, then in its place: a crash leaves the old one or the new one. */
function replace(file: string, text: string, mode: number, isOurs: () => boolean): boolean {
  const folderMode = mode === 0o600 ? { mode: 0o700 } : {};
  mkdirSync(dirname(file), { recursive: true, ...folderMode });
  const temporary = `${file}.${process.pid}.tmp`;
  try {
    const handle = openSync(temporary, 'w', read(file) === undefined ? mode : statSync(file).mode);
    try {
      writeSync(handle, text);
      fsyncSync(handle);
    } finally {
      closeSync(handle);
    }
    if (!isOurs()) return false;
    renameSync(temporary, file);
    return true;
  } finally {
    rmSync(temporary, { force: true });
  }
}
