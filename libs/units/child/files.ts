import {
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  openSync,
  readdirSync,
  readSync,
  realpathSync,
  type Stats,
} from 'node:fs';
import { assertAllowed, Denied, isHidden, leadsToAllowed, partsOf, shown } from './policy.ts';

// O_NONBLOCK: opening a pipe must not wait for its other end.
const FILE_FLAGS = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

/** What a unit may look at: a worktree by its real path, and the patterns of `fs_allowlist`. */
export type Place = { root: string; allow: readonly string[] };

/** What lies at a path: its parts below the worktree, and what it is. */
export type Found = { parts: string[]; stat: Stats };

/** A file that is not there; the message is what a shell would say. */
export class Missing extends Error {}

/**
 * What lies at a path; undefined if nothing does.
 * @throws {Denied} the policy forbids it, or there is a symlink on the way
 */
export function lookAt(place: Place, path: string): Found | undefined {
  const parts = partsOf(path);
  const full = fullPath(place, parts);
  const stat = lstatSync(full, { throwIfNoEntry: false });
  if (stat?.isDirectory() !== true || !leadsToAllowed(parts, place.allow)) {
    assertAllowed(parts, place.allow);
  }
  if (stat === undefined) return undefined;
  assertReal(full, path);
  return { parts, stat };
}

/** As `lookAt`. @throws {Missing} nothing is there */
export function lookFor(place: Place, path: string): Found {
  const found = lookAt(place, path);
  if (found === undefined) throw new Missing(`${path}: no such file or folder`);
  return found;
}

/** What was read of a file, and how long all of it is. */
export type Bytes = { bytes: Buffer; size: number };

/**
 * Reads up to `maxBytes` of a regular file, from its start or up to its end.
 * @throws {Denied} · {Missing}
 */
export function readSome(
  place: Place,
  path: string,
  maxBytes: number,
  from: 'start' | 'end' = 'start',
): Bytes {
  const { parts, stat } = lookFor(place, path);
  if (stat.isDirectory()) throw new Missing(`${path}: is a folder`);
  if (!stat.isFile()) throw new Denied(`${shown(path)} is not a regular file`);
  const full = fullPath(place, parts);
  const fd = openSync(full, FILE_FLAGS);
  try {
    const opened = fstatSync(fd);
    if (!opened.isFile()) throw new Denied(`${shown(path)} is not a regular file`);
    assertSame(full, path, opened);
    const length = Math.min(opened.size, maxBytes);
    const bytes = Buffer.alloc(length);
    const position = from === 'start' ? 0 : opened.size - length;
    return {
      bytes: bytes.subarray(0, readSync(fd, bytes, 0, length, position)),
      size: opened.size,
    };
  } finally {
    closeSync(fd);
  }
}

/** One entry of a folder. */
export type Entry = { name: string; kind: 'file' | 'folder' | 'other' };

/** The entries of a folder by name, git's own files left out; links are `other`. */
export function entriesOf(place: Place, parts: readonly string[]): Entry[] {
  const full = fullPath(place, parts);
  const path = parts.join('/');
  assertReal(full, path);
  const entries = readdirSync(full, { withFileTypes: true });
  // The folder could have been swapped for a link meanwhile.
  assertReal(full, path);
  return entries
    .filter(({ name }) => !isHidden(name) && mayShow(place, [...parts, name]))
    .map((entry) => ({
      name: entry.name,
      kind: entry.isFile() ? 'file' : entry.isDirectory() ? 'folder' : 'other',
    }))
    .sort((a, b) => (a.name < b.name ? -1 : 1)) as Entry[];
}

function mayShow({ allow }: Place, parts: readonly string[]): boolean {
  return leadsToAllowed(parts, allow);
}

/** Where the parts lie. */
export function fullPath({ root }: Place, parts: readonly string[]): string {
  return [root, ...parts].join('/');
}

function assertReal(full: string, path: string): void {
  if (realpathSync.native(full) !== full) throw linked(path);
}

/** What was opened is what lies at the path, and the path has no link in it. */
function assertSame(full: string, path: string, opened: Stats): void {
  assertReal(full, path);
  const now = lstatSync(full);
  if (now.ino !== opened.ino || now.dev !== opened.dev) throw linked(path);
}

function linked(path: string): Denied {
  return new Denied(`${shown(path)} is, or goes through, a symlink`);
}
