import { join } from 'node:path';
import { type Author, loadCommit, requireCommitInput, writeCommit } from './commits.ts';
import {
  formatIndex,
  type GitIndex,
  type IndexEntry,
  indexEntry,
  readIndex,
} from './index_file.ts';
import { WORKTREE_LIMITS } from './limits.ts';
import { orderLock, withLock } from './lock.ts';
import { pathParts, refused, worktreeNotFound } from './names.ts';
import { writeObject } from './objects.ts';
import { openWorktree, type Worktree } from './records.ts';
import { branchRef, findRef, moveRef } from './refs.ts';
import { readState, type Scan, scanCheckout } from './scan.ts';
import { hashFiles, listTreeFiles, Mode, storeHashed } from './trees.ts';
import { turns } from './turns.ts';

/** What differs from the last commit; `changed` in path order. */
export type WorktreeStatus = { clean: boolean; changed: string[] };

/** What `git status` would list: changed, deleted, staged and untracked files, not ignored ones. */
export async function statusOf(worktreePath: string): Promise<WorktreeStatus> {
  const worktree = openWorktree(worktreePath);
  const index = readIndex(join(worktree.adminPath, 'index'));
  const scan = await scanCheckout(worktree.worktreePath, worktree.gitDir, index);
  const staged = await stagedPaths(worktree, index);
  const changed = new Set([...scan.modified, ...scan.deleted, ...scan.untracked, ...staged]);
  return { clean: changed.size === 0, changed: [...changed].sort() };
}

async function stagedPaths(worktree: Worktree, index: GitIndex): Promise<string[]> {
  const { tree } = await loadCommit(worktree.gitDir, headOf(worktree));
  if (hashFiles(index.entries).oid === tree) return [];
  const files = await listTreeFiles(worktree.gitDir, tree, WORKTREE_LIMITS.files);
  const committed = new Map(files.map((file) => [file.path, `${file.mode} ${file.oid}`]));
  const paths: string[] = [];
  for (const entry of index.entries) {
    if (committed.get(entry.path) !== `${entry.mode} ${entry.oid}`) paths.push(entry.path);
    committed.delete(entry.path);
  }
  return [...paths, ...committed.keys()];
}

/** The commit that a worktree's branch is at. */
export function headOf(worktree: Worktree): string {
  const sha = findRef(worktree.gitDir, branchRef(worktree.branch));
  if (sha === undefined) throw worktreeNotFound(worktree.orderId, 'worktree_path');
  return sha;
}

/**
 * Commits everything that is not ignored, or only the files and folders of `include` (those also
 * where an ignore rule matches), on the worktree's branch. If nothing changed it answers the
 * current commit. The same content, parent, author, time and message make the same sha.
 * @throws {TOOL_POLICY_VIOLATION} for new symlinks, special files or nested repositories.
 * @throws {WORKTREE_NOT_FOUND} if there is no worktree at the path.
 */
export async function commitAll(input: {
  worktreePath: string;
  message: string;
  author: Author;
  timestampSec: number;
  include?: readonly string[];
}): Promise<{ sha: string; changed: boolean }> {
  requireCommitInput(input.author, input.timestampSec, input.message);
  const include = input.include?.map((path) => pathParts(path, 'include').join('/'));
  const worktree = openWorktree(input.worktreePath);
  const { gitDir, worktreePath } = worktree;
  return withLock(gitDir, orderLock(worktree.orderId), async (hold) => {
    const indexPath = join(worktree.adminPath, 'index');
    const index = readIndex(indexPath);
    const scan = await scanCheckout(worktreePath, gitDir, index, include);
    const entries = await stage(worktree, index, scan, include);
    const head = headOf(worktree);
    const parent = await loadCommit(gitDir, head);
    const tree = hashFiles(entries);
    if (tree.oid !== parent.tree) await storeHashed(gitDir, tree, parent.tree);
    if (isStaged(scan) || scan.refreshed) {
      const claim = await hold.claim(indexPath);
      claim.commit(formatIndex(entries));
    }
    if (tree.oid === parent.tree) return { sha: head, changed: false };
    const { author, timestampSec, message } = input;
    const commit = { tree: tree.oid, parents: [head], author, timestampSec, message };
    const sha = writeCommit(gitDir, commit);
    await moveRef(hold, gitDir, branchRef(worktree.branch), sha, head);
    return { sha, changed: true };
  });
}

function isStaged(scan: Scan): boolean {
  return scan.modified.length + scan.deleted.length + scan.untracked.length > 0;
}

/** The index entries after staging; file contents are stored as blobs. */
async function stage(
  worktree: Worktree,
  index: GitIndex,
  scan: Scan,
  include: readonly string[] | undefined,
): Promise<IndexEntry[]> {
  const isWanted = (path: string) => include === undefined || covers(include, path);
  const entries = [...scan.clean];
  const left = new Set([...scan.modified, ...scan.deleted].filter((path) => !isWanted(path)));
  entries.push(...index.entries.filter((entry) => left.has(entry.path)));
  const turn = turns();
  for (const path of [...scan.modified, ...scan.untracked].filter(isWanted)) {
    await turn();
    const state = readState(worktree.worktreePath, path);
    if (state === undefined || state.mode === Mode.symlink) {
      throw refused(`${path} is a symlink or not a regular file`);
    }
    writeObject(worktree.gitDir, 'blob', state.bytes);
    entries.push(indexEntry(path, state.mode, state.oid, state.stamp));
  }
  return entries;
}

function covers(include: readonly string[], path: string): boolean {
  return include.some((start) => start === '' || path === start || path.startsWith(`${start}/`));
}
