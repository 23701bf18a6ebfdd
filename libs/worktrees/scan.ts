import { lstatSync, readFileSync, statSync, readdirSync, readlinkSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import git, { type PromiseFsClient } from 'isomorphic-git';
import { AppError } from '#libs/contracts';
import {
  type FileStamp,
  type GitIndex,
  type IndexEntry,
  isRacy,
  modeOf,
  sameStamp,
  stampOf,
} from './index_file.ts';
import { childStat, inFolder, readChild } from './inside.ts';
import { WORKTREE_LIMITS } from './limits.ts';
import { isGitName, refused } from './names.ts';
import { hashObject } from './objects.ts';
import { Mode } from './trees.ts';
import { turns } from './turns.ts';

/** What lies at a path, hashed as git would. */
export type FileState = { mode: number; oid: string; stamp: FileStamp; bytes: Buffer };

export type Scan = {
  /** Index entries whose file is as the index says, stamps brought up to date. */
  clean: IndexEntry[];
  /** True if a stamp of `clean` is newer than in the index file. */
  refreshed: boolean;
  modified: string[];
  deleted: string[];
  untracked: string[];
};

/**
 * Compares the files of a checkout with its index, as `git status` does: by stamp where that is
 * safe, by content otherwise. Ignored files are left out; with `include`, untracked files are
 * looked for only below those paths, and ignored ones count there.
 */
export async function scanCheckout(
  dir: string,
  gitDir: string,
  index: GitIndex,
  include?: readonly string[],
): Promise<Scan> {
  const scan: Scan = { clean: [], refreshed: false, modified: [], deleted: [], untracked: [] };
  const turn = turns();
  for (const entry of index.entries) {
    await turn();
    scanEntry(dir, entry, index.mtimeNs, scan);
  }
  const tracked = trackedPaths(index);
  const walk: Walk = {
    dir,
    gitDir,
    tracked,
    ignores: !include,
    rules: rememberingFs(),
    found: scan.untracked,
    turn,
  };
  for (const path of new Set(include ?? [''])) await walkFrom(walk, path);
  scan.untracked = [...new Set(scan.untracked)]; // paths of include may lie in each other
  return scan;
}

function scanEntry(dir: string, entry: IndexEntry, indexMtimeNs: bigint, scan: Scan): void {
  if (entry.skipWorktree || entry.mode === Mode.gitlink) {
    scan.clean.push(entry);
    return;
  }
  const stat = lstatSync(join(dir, entry.path), { bigint: true, throwIfNoEntry: false });
  if (!stat || modeOf(stat) === undefined) {
    scan.deleted.push(entry.path);
    return;
  }
  const unchanged = sameStamp(entry.stamp, stampOf(stat)) && !isRacy(entry.stamp, indexMtimeNs);
  if (unchanged && entry.mode === modeOf(stat) && entry.stage === 0 && !entry.intentToAdd) {
    scan.clean.push(entry);
    return;
  }
  const state = entry.stage === 0 && !entry.intentToAdd ? readState(dir, entry.path) : undefined;
  if (state?.oid === entry.oid && state.mode === entry.mode) {
    scan.refreshed ||= !sameStamp(entry.stamp, state.stamp);
    scan.clean.push({ ...entry, stamp: state.stamp });
  } else if (scan.modified.at(-1) !== entry.path) {
    scan.modified.push(entry.path);
  }
}

/** Reads and hashes the file or link at a path; undefined for nothing or anything else. */
export function readState(dir: string, path: string): FileState | undefined {
  const full = join(dir, path);
  const stat = lstatSync(full, { bigint: true, throwIfNoEntry: false });
  const mode = stat && modeOf(stat);
  if (!stat || mode === undefined) return undefined;
  const limit = WORKTREE_LIMITS.fileBytes;
  const parts = dirname(path) === '.' ? [] : dirname(path).split('/');
  const read =
    mode === Mode.symlink
      ? { bytes: readlinkSync(full, 'buffer'), stat }
      : inFolder(dir, parts, false, (folder) => readChild(folder, basename(path), limit));
  if (!read) return undefined;
  if (read.bytes.length > limit) throw tooLarge(path, limit);
  return {
    mode,
    oid: hashObject('blob', read.bytes),
    stamp: stampOf(read.stat),
    bytes: read.bytes,
  };
}

type Tracked = { files: Set<string>; folders: Set<string> };

function trackedPaths(index: GitIndex): Tracked {
  const files = new Set(index.entries.map((entry) => entry.path));
  const folders = new Set<string>();
  for (const path of files) {
    for (let up = dirname(path); up !== '.' && !folders.has(up); up = dirname(up)) folders.add(up);
  }
  return { files, folders };
}

type Walk = {
  dir: string;
  ignores: boolean;
  /** What isomorphic-git reads ignore rules through. */
  rules: PromiseFsClient;
  gitDir: string;
  tracked: Tracked;
  found: string[];
  turn: ReturnType<typeof turns>;
};

/** Walks a folder, or takes the one file at the path; links on the way are refused. */
async function walkFrom(walk: Walk, path: string): Promise<void> {
  const parts = path.split('/').filter((part) => part !== '');
  const name = parts.pop();
  if (name === undefined) return walkUntracked(walk, '', 0);
  const stat = inFolder(walk.dir, parts, false, (folder) => childStat(folder, name));
  if (stat?.isDirectory()) return walkUntracked(walk, path, parts.length + 1);
  if (stat && !walk.tracked.files.has(path)) walk.found.push(path);
}

async function walkUntracked(walk: Walk, folder: string, depth: number): Promise<void> {
  if (depth > WORKTREE_LIMITS.folderDepth) throw refused(`${folder} is too deep`);
  const entries = readdirSync(join(walk.dir, folder), { withFileTypes: true });
  if (depth > 0 && entries.some(({ name }) => isGitName(name))) {
    if (walk.tracked.files.has(folder)) return; // a submodule
    throw refused(`${folder} is a git repository inside the worktree`);
  }
  for (const entry of entries) {
    if (isGitName(entry.name)) continue;
    await walk.turn();
    const path = folder === '' ? entry.name : `${folder}/${entry.name}`;
    if (entry.isDirectory()) {
      const skip = !walk.tracked.folders.has(path) && (await isIgnored(walk, `${path}/`));
      if (!skip) await walkUntracked(walk, path, depth + 1);
    } else if (entry.isFile() || entry.isSymbolicLink()) {
      if (walk.tracked.files.has(path) || (await isIgnored(walk, path))) continue;
      walk.found.push(path);
      if (walk.found.length > WORKTREE_LIMITS.files) throw tooMany();
    }
  }
}

async function isIgnored(walk: Walk, filepath: string): Promise<boolean> {
  if (!walk.ignores) return false;
  return git.isIgnored({ fs: walk.rules, dir: walk.dir, gitdir: walk.gitDir, filepath });
}

/** Answers each file once: the ignore rules are asked for again with every path. */
function rememberingFs(): PromiseFsClient {
  const once = <T>(ask: (path: string) => T) => {
    const answers = new Map<string, T | Error>();
    return async (path: string): Promise<T> => {
      if (!answers.has(path))
        answers.set(
          path,
          attempt(() => ask(path)),
        );
      const answer = answers.get(path) as T | Error;
      if (answer instanceof Error) throw answer;
      return answer;
    };
  };
  const readFile = once((path) => readFileSync(path, 'utf8'));
  const stat = once((path) => statSync(path));
  const never = () => Promise.reject(new Error('ignore rules are only read'));
  const writes = { writeFile: never, unlink: never, mkdir: never, rmdir: never, symlink: never };
  const reads = { readFile, stat, lstat: stat, readdir: never, readlink: never };
  return { promises: { ...reads, ...writes } };
}

function attempt<T>(ask: () => T): T | Error {
  try {
    return ask();
  } catch (error) {
    if (error instanceof Error) return error;
    throw error;
  }
}

export function tooLarge(path: string, limit: number): AppError {
  const params = { what: `file ${path}`, limit };
  return new AppError('PAYLOAD_TOO_LARGE', params, { field: 'path' });
}

export function tooMany(): AppError {
  const params = { what: 'number of files in the worktree', limit: WORKTREE_LIMITS.files };
  return new AppError('PAYLOAD_TOO_LARGE', params);
}
