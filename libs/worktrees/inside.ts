import {
  type BigIntStats,
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  mkdirSync,
  openSync,
  readSync,
  renameSync,
} from 'node:fs';
import { join } from 'node:path';
import { hasCode, refused } from './names.ts';

const FOLDER_FLAGS = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;
// O_NONBLOCK: opening a pipe must not wait for its other end.
const FILE_FLAGS = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
// Where the kernel offers it, names are looked up below an open folder, so nobody can swap a
// folder for a link between the check and the use.
const HAS_PROC_FD = process.platform === 'linux';

/** A folder below a worktree, opened part by part without following links. */
export type OpenFolder = { fd: number; path: string };

/** Runs `work` on the folder at `parts` below `root`; undefined if a part is missing. */
export function inFolder<T>(
  root: string,
  parts: readonly string[],
  create: boolean,
  work: (folder: OpenFolder) => T,
): T | undefined {
  const folder = openBelow(root, parts, create);
  if (!folder) return undefined;
  try {
    return work(folder);
  } finally {
    closeSync(folder.fd);
  }
}

/** The same for long work: the caller closes `fd`. */
export function openBelow(
  root: string,
  parts: readonly string[],
  create = false,
): OpenFolder | undefined {
  let folder: OpenFolder | undefined = openFolder(root, root);
  for (const part of parts) {
    const above: OpenFolder = folder;
    try {
      folder = enter(above, part, create);
    } finally {
      closeSync(above.fd);
    }
    if (!folder) return undefined;
  }
  return folder;
}

function enter(folder: OpenFolder, part: string, create: boolean): OpenFolder | undefined {
  const at = childPath(folder, part);
  const shown = join(folder.path, part);
  try {
    return openFolder(at, shown);
  } catch (error) {
    if (!hasCode(error, 'ENOENT')) throw error;
    if (!create) return undefined;
  }
  try {
    mkdirSync(at);
  } catch (error) {
    if (!hasCode(error, 'EEXIST')) throw error; // another made it, as a folder or not: open tells
  }
  return openFolder(at, shown);
}

function openFolder(at: string, shown: string): OpenFolder {
  try {
    return { fd: openSync(at, FOLDER_FLAGS), path: shown };
  } catch (error) {
    // O_NOFOLLOW answers ELOOP, O_DIRECTORY ENOTDIR, for a link as for a plain file.
    if (hasCode(error, 'ELOOP', 'ENOTDIR')) throw refused(`${shown} is not a folder, or a symlink`);
    throw error;
  }
}

/** The path under which a name of an open folder is reached. */
export function childPath(folder: OpenFolder, name: string): string {
  return HAS_PROC_FD ? `/proc/self/fd/${folder.fd}/${name}` : join(folder.path, name);
}

/** What lies at a name of an open folder, links not followed; undefined if nothing. */
export function childStat(folder: OpenFolder, name: string): BigIntStats | undefined {
  return lstatSync(childPath(folder, name), { bigint: true, throwIfNoEntry: false });
}

/** Moves a finished file to a name of an open folder, replacing a file or link there. */
export function placeFile(from: string, folder: OpenFolder, name: string): void {
  try {
    renameSync(from, childPath(folder, name));
  } catch (error) {
    if (!hasCode(error, 'EISDIR', 'ENOTEMPTY', 'EEXIST')) throw error;
    throw refused(`${join(folder.path, name)} is a folder`);
  }
}

export type ReadFile = { bytes: Buffer; stat: BigIntStats };

/**
 * Reads a regular file of an open folder; undefined if there is none.
 * @throws {TOOL_POLICY_VIOLATION} for a symlink or anything else that is not a regular file.
 * Answers `bytes` of at most `maxBytes + 1`, which tells the caller that there is more.
 */
export function readChild(
  folder: OpenFolder,
  name: string,
  maxBytes: number,
): ReadFile | undefined {
  const shown = join(folder.path, name);
  let fd: number;
  try {
    fd = openSync(childPath(folder, name), FILE_FLAGS);
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined;
    if (hasCode(error, 'ELOOP', 'ENXIO')) throw refused(`${shown} is a symlink or a socket`);
    throw error;
  }
  try {
    const stat = fstatSync(fd, { bigint: true });
    if (!stat.isFile()) throw refused(`${shown} is not a regular file`);
    return { bytes: readUpTo(fd, Math.min(Number(stat.size), maxBytes) + 1), stat };
  } finally {
    closeSync(fd);
  }
}

// One byte more than the size: a file that grows meanwhile shows as longer than its stat.
function readUpTo(fd: number, length: number): Buffer {
  const bytes = Buffer.allocUnsafe(length);
  let filled = 0;
  while (filled < length) {
    const read = readSync(fd, bytes, filled, length - filled, null);
    if (read === 0) break;
    filled += read;
  }
  return bytes.subarray(0, filled);
}
