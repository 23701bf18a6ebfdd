import { lstatSync } from 'node:fs';
import { join } from 'node:path';
import { AppError, invalid, LIMITS } from '#libs/contracts';
import { type Author, type Commit, isAncestorSha, loadCommit } from './commits.ts';
import { WORKTREE_LIMITS } from './limits.ts';
import { isBranchName, pathParts } from './names.ts';
import { findObject, readBlobBytes } from './objects.ts';
import { findRef } from './refs.ts';
import { tooLarge } from './scan.ts';
import { entryAt, listTreeFiles, Mode, type TreeFile } from './trees.ts';

export type CommitInfo = {
  sha: string;
  parents: string[];
  author: Author;
  timestampSec: number;
  message: string;
};

/** A commit by sha, branch, tag or full ref. @throws {NOT_FOUND} if there is none. */
export async function readCommit(repoPath: string, ref: string): Promise<CommitInfo> {
  return describe(await resolveCommit(repoPath, ref));
}

/** The newest commits from `ref` back along first parents, at most `depth` (1 to 1000). */
export async function logOf(repoPath: string, ref: string, depth: number): Promise<CommitInfo[]> {
  if (!Number.isInteger(depth) || depth < 1 || depth > WORKTREE_LIMITS.logCommits) {
    throw invalid('depth', `must be 1 to ${WORKTREE_LIMITS.logCommits}`);
  }
  const gitDir = gitDirOf(repoPath);
  const commits: CommitInfo[] = [];
  let next: Commit | undefined = await resolveCommit(repoPath, ref);
  while (next && commits.length < depth) {
    commits.push(describe(next));
    next = await firstParent(gitDir, next);
  }
  return commits;
}

async function firstParent(gitDir: string, { parents }: Commit): Promise<Commit | undefined> {
  const [first] = parents;
  // A shallow clone ends where its commits end.
  if (first === undefined || !(await findObject(gitDir, first))) return undefined;
  return loadCommit(gitDir, first);
}

/** True if `sha` is in the history of `ref`. @throws {NOT_FOUND} if either is not known. */
export async function isAncestor(repoPath: string, sha: string, ref: string): Promise<boolean> {
  const ancestor = await resolveCommit(repoPath, sha);
  const commit = await resolveCommit(repoPath, ref);
  return isAncestorSha(gitDirOf(repoPath), ancestor.sha, commit.sha);
}

/**
 * A file of a commit.
 * @throws {ARTIFACT_NOT_FOUND} if the commit has no regular file there.
 * @throws {PAYLOAD_TOO_LARGE} above `maxBytes` (default 8 MiB).
 * @throws {NOT_FOUND} for an unknown ref; {PATH_OUTSIDE_THEATER}.
 */
export async function readBlob(input: {
  repoPath: string;
  ref: string;
  path: string;
  maxBytes?: number;
}): Promise<Buffer> {
  const maxBytes = input.maxBytes ?? LIMITS.artifactBytes;
  const commit = await resolveCommit(input.repoPath, input.ref);
  const gitDir = gitDirOf(input.repoPath);
  const entry = await entryAt(gitDir, commit.tree, pathParts(input.path));
  if (entry?.mode !== Mode.file && entry?.mode !== Mode.executable) {
    throw new AppError('ARTIFACT_NOT_FOUND', { path: input.path }, { field: 'path' });
  }
  const bytes = await readBlobBytes(gitDir, entry.oid);
  if (bytes.length > maxBytes) throw tooLarge(input.path, maxBytes);
  return Buffer.from(bytes); // the original is shared
}

/** The files below a folder of a commit (default: all); none if it has no such folder. */
export async function listTree(input: {
  repoPath: string;
  ref: string;
  under?: string;
}): Promise<TreeFile[]> {
  const commit = await resolveCommit(input.repoPath, input.ref);
  const gitDir = gitDirOf(input.repoPath);
  const parts = pathParts(input.under ?? '.', 'under');
  const entry = await entryAt(gitDir, commit.tree, parts);
  if (entry?.mode !== Mode.tree) return [];
  const prefix = parts.map((part) => `${part}/`).join('');
  return listTreeFiles(gitDir, entry.oid, WORKTREE_LIMITS.files, prefix);
}

function describe({ sha, parents, author, timestampSec, message }: Commit): CommitInfo {
  return { sha, parents: [...parents], author: { ...author }, timestampSec, message };
}

function gitDirOf(repoPath: string): string {
  return join(repoPath, '.git');
}

async function resolveCommit(repoPath: string, ref: string): Promise<Commit> {
  const gitDir = gitDirOf(repoPath);
  if (!lstatSync(gitDir, { throwIfNoEntry: false })?.isDirectory()) {
    throw new AppError('NOT_FOUND', { path: repoPath }, { field: 'repo_path' });
  }
  let sha = /^[0-9a-f]{40}$/.test(ref) ? ref : findNamed(gitDir, ref);
  for (let depth = 0; sha !== undefined && depth < 5; depth++) {
    const object = await findObject(gitDir, sha);
    if (object?.type === 'commit') return loadCommit(gitDir, sha);
    // An annotated tag names the commit in its first line.
    const target =
      object?.type === 'tag' ? /^object ([0-9a-f]{40})$/m.exec(object.bytes.toString()) : null;
    sha = target?.[1];
  }
  throw new AppError('NOT_FOUND', { path: `${repoPath}@${ref}` }, { field: 'ref' });
}

function findNamed(gitDir: string, ref: string): string | undefined {
  if (ref === 'HEAD') return findRef(gitDir, ref);
  if (!isBranchName(ref)) throw invalid('ref', 'is not a valid ref name');
  if (ref.startsWith('refs/')) return findRef(gitDir, ref);
  return findRef(gitDir, `refs/heads/${ref}`) ?? findRef(gitDir, `refs/tags/${ref}`);
}
