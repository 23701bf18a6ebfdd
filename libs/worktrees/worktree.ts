import { existsSync, lstatSync, readdirSync, realpathSync, rmSync } from 'node:fs';
import { join, normalize, resolve } from 'node:path';
import { AppError, invalid } from '#libs/contracts';
import { finishQuarantine } from './aside.ts';
import { makeFile, writeTreeFiles } from './checkout.ts';
import { loadCommit } from './commits.ts';
import { formatIndex } from './index_file.ts';
import { WORKTREE_LIMITS } from './limits.ts';
import { type Hold, orderLock, withLock } from './lock.ts';
import { outside, requireBranch, requireId, worktreeName, worktreeNotFound } from './names.ts';
import { findObject } from './objects.ts';
import { adminPathOf, openWorktree, readRecord, type Worktree, writeRecord } from './records.ts';
import { branchRef, findRef, moveRef, readText } from './refs.ts';
import { mainlineSha, type Theater } from './theater.ts';
import { listTreeFiles } from './trees.ts';

export type CreatedWorktree = {
  worktreePath: string;
  branch: string;
  /** The mainline commit that the worktree started from. */
  baseSha: string;
  /** False if it was there already. */
  created: boolean;
};

/**
 * Makes the linked worktree of an order on its own branch (default `order_<id>`), starting from
 * the mainline's tip or from `base`. Repeating answers the same worktree, and finishes one that a
 * crash left half made. After a removal the branch starts from the mainline again; what it held
 * stays reachable as `refs/ironclaw/archive/<order>/<sha>`.
 * @throws {WORKTREE_CONFLICT} if the order has a worktree on another branch, the branch belongs to
 * somebody else, or something else lies at the path.
 * @throws {THEATER_NOT_FOUND} if the repository is gone; {INVALID_REQUEST} for bad names.
 */
export async function createWorktree(input: {
  theater: Theater;
  orderId: string;
  branch?: string;
  /** A commit sha to start from in place of the mainline's tip. */
  base?: string;
}): Promise<CreatedWorktree> {
  const { theater } = input;
  const orderId = requireId('order_id', input.orderId);
  const branch = requireBranch('branch', input.branch ?? worktreeName(orderId));
  const worktreePath = worktreePathOf(theater, orderId);
  mainlineSha(theater);
  return withLock(theater.gitDir, orderLock(orderId), async (hold) => {
    finishQuarantine(hold, theater, orderId);
    const existing = findComplete(hold, theater, orderId, input.branch);
    if (existing) return { worktreePath, ...existing, created: false };
    clearRemains(theater, orderId);
    const baseSha = await startBranch(hold, theater, orderId, branch, input.base);
    const adminPath = adminPathOf(theater.gitDir, orderId);
    await buildLinked(hold, { gitDir: theater.gitDir, worktreePath, adminPath, branch, baseSha });
    return { worktreePath, branch, baseSha, created: true };
  });
}

/** Where the worktree of an order lies. */
export function worktreePathOf(theater: Theater, orderId: string): string {
  return join(theater.worktreesPath, worktreeName(orderId));
}

/**
 * Checks that a path is the worktree of this order in this theater, by real paths and git links.
 * @throws {PATH_OUTSIDE_THEATER} if it is another path; {WORKTREE_NOT_FOUND} if nothing is there.
 */
export async function assertWorktree(
  theater: Theater,
  worktreePath: string,
  orderId: string,
): Promise<Worktree> {
  const field = 'worktree_path';
  const wanted = worktreePathOf(theater, requireId('order_id', orderId));
  const given = typeof worktreePath === 'string' ? worktreePath : '';
  if (given.includes('\0') || resolve(given) !== normalize(given).replace(/\/+$/, '')) {
    throw outside(given, field);
  }
  const exists = existsSync(resolve(given));
  if ((exists ? realpathSync(given) : resolve(given)) !== wanted) throw outside(given, field);
  if (!exists) throw worktreeNotFound(orderId, field);
  const worktree = openWorktree(wanted, field);
  if (worktree.gitDir !== theater.gitDir) throw outside(given, field);
  return worktree;
}

/** The worktree of an order by theater and id. @throws {WORKTREE_NOT_FOUND} if there is none. */
export function requireWorktree(theater: Theater, orderId: string): Worktree {
  const worktree = openWorktree(
    worktreePathOf(theater, requireId('order_id', orderId)),
    'order_id',
  );
  if (worktree.gitDir !== theater.gitDir) throw outside(worktree.worktreePath, 'order_id');
  return worktree;
}

/** Written before a removal starts: what lies there afterwards is rest, not work. */
export function removalMark(adminPath: string): string {
  return join(adminPath, 'ironclaw-removing');
}

function findComplete(
  hold: Hold,
  theater: Theater,
  orderId: string,
  wantedBranch: string | undefined,
): { branch: string; baseSha: string } | undefined {
  const adminPath = adminPathOf(theater.gitDir, orderId);
  const record = readRecord(theater.gitDir, orderId);
  const worktreePath = worktreePathOf(theater, orderId);
  // The index is written last: without it the files are a half-made copy, with it they are work.
  const complete =
    record !== undefined &&
    existsSync(join(adminPath, 'index')) &&
    existsSync(worktreePath) &&
    !existsSync(removalMark(adminPath));
  if (!complete) return undefined;
  const link = join(worktreePath, '.git');
  if (!existsSync(link)) hold.write(link, `gitdir: ${adminPath}\n`);
  const { branch } = requireWorktree(theater, orderId);
  if (wantedBranch !== undefined && wantedBranch !== branch) {
    throw conflict(orderId, 'branch', { branch, wantedBranch });
  }
  return { branch, baseSha: record.baseSha };
}

/** Takes away what a dead create or remove left; refuses what is not ours. */
function clearRemains(theater: Theater, orderId: string): void {
  const worktreePath = worktreePathOf(theater, orderId);
  const adminPath = adminPathOf(theater.gitDir, orderId);
  const linked = readText(join(adminPath, 'gitdir'))?.trim();
  if (linked !== undefined && linked !== join(worktreePath, '.git')) {
    throw conflict(orderId, 'theater', { worktreePath: linked });
  }
  const folder = lstatSync(worktreePath, { throwIfNoEntry: false });
  const empty = folder?.isDirectory() && readdirSync(worktreePath).length === 0;
  // Our admin folder is made first and removed last: a folder without one is somebody else's.
  if (folder && !empty && linked === undefined) {
    throw conflict(orderId, 'order_id', {
      worktreePath,
      reason: 'a folder that git does not know',
    });
  }
  rmSync(worktreePath, { recursive: true, force: true });
  rmSync(adminPath, { recursive: true, force: true });
}

async function startBranch(
  hold: Hold,
  theater: Theater,
  orderId: string,
  branch: string,
  base: string | undefined,
): Promise<string> {
  const { gitDir } = theater;
  const record = readRecord(gitDir, orderId);
  const tip = findRef(gitDir, branchRef(branch));
  const isOurs = record?.branch === branch;
  if (branch === theater.mainline || (tip !== undefined && !isOurs)) {
    throw conflict(orderId, 'branch', { branch, reason: 'the branch belongs to somebody else' });
  }
  const baseSha = base ?? mainlineSha(theater);
  const isCommit = /^[0-9a-f]{40}$/.test(baseSha) && (await findObject(gitDir, baseSha));
  if (!isCommit || isCommit.type !== 'commit') throw invalid('base', 'is not a commit here');
  if (record && tip !== undefined && tip !== record.baseSha) {
    await keepReachable(hold, gitDir, orderId, tip);
  }
  // The record comes first: a branch without one would count as somebody else's.
  writeRecord(hold, gitDir, orderId, { branch, baseSha });
  if (tip !== baseSha) await moveRef(hold, gitDir, branchRef(branch), baseSha, tip);
  return baseSha;
}

/** Keeps a commit reachable for good, whatever becomes of its branch. */
export async function keepReachable(
  hold: Hold,
  gitDir: string,
  orderId: string,
  sha: string,
): Promise<void> {
  const ref = `refs/ironclaw/archive/${orderId}/${sha}`;
  if (findRef(gitDir, ref) === undefined) await moveRef(hold, gitDir, ref, sha, undefined);
}

/** Makes the files of a linked worktree where nothing lies yet; its index is written last. */
export async function buildLinked(
  hold: Hold,
  linked: {
    gitDir: string;
    worktreePath: string;
    adminPath: string;
    branch: string;
    baseSha: string;
  },
): Promise<void> {
  const { gitDir, worktreePath, adminPath } = linked;
  hold.write(join(adminPath, 'gitdir'), `${join(worktreePath, '.git')}\n`);
  hold.write(join(adminPath, 'commondir'), '../..\n');
  hold.write(join(adminPath, 'HEAD'), `ref: ${branchRef(linked.branch)}\n`);
  hold.write(join(worktreePath, '.git'), `gitdir: ${adminPath}\n`);
  const { tree } = await loadCommit(gitDir, linked.baseSha);
  const files = await listTreeFiles(gitDir, tree, WORKTREE_LIMITS.files);
  const entries = await writeTreeFiles(gitDir, worktreePath, files, (file, full, bytes) =>
    makeFile(full, file.mode, bytes),
  );
  hold.write(join(adminPath, 'index'), formatIndex(entries));
}

function conflict(orderId: string, field: string, details: Record<string, unknown>): AppError {
  return new AppError('WORKTREE_CONFLICT', { id: orderId }, { field, details });
}
