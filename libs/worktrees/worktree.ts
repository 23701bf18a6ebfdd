import { existsSync, lstatSync, readdirSync, realpathSync, rmSync } from 'node:fs';
import { join, normalize, resolve } from 'node:path';
import { AppError, invalid } from '#libs/contracts';
import { makeFile, writeTreeFiles } from './checkout.ts';
import { loadCommit } from './commits.ts';
import { formatIndex } from './index_file.ts';
import { WORKTREE_LIMITS } from './limits.ts';
import { type Hold, orderLock, withLock } from './lock.ts';
import {
  orderOfName,
  outside,
  requireBranch,
  requireId,
  worktreeName,
  worktreeNotFound,
} from './names.ts';
import { findObject } from './objects.ts';
import {
  adminPathOf,
  isInside,
  openWorktree,
  readRecord,
  type Worktree,
  writeRecord,
} from './records.ts';
import { branchRef, findRef, headBranch, moveRef, readText } from './refs.ts';
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
    const existing = findComplete(hold, theater, orderId, input.branch);
    if (existing) return { worktreePath, ...existing, created: false };
    clearRemains(theater, orderId);
    const baseSha = await startBranch(hold, theater, orderId, branch, input.base);
    await build(hold, theater, orderId, branch, baseSha);
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

export type WorktreeInfo = {
  /** Undefined for a stray folder whose name is not of the form `order_<id>`. */
  orderId?: string;
  worktreePath: string;
  /** True if git knows it as a linked worktree; false for a stray folder. */
  registered: boolean;
  /** False if git knows it but its folder is gone. */
  exists: boolean;
  branch?: string;
  headSha?: string;
  quarantineReason?: string;
};

/** All worktrees of a theater, and what else lies in its worktrees folder. */
export async function listWorktrees(theater: Theater): Promise<WorktreeInfo[]> {
  const infos = new Map<string, WorktreeInfo>();
  for (const name of namesIn(theater.worktreesPath)) {
    const worktreePath = join(theater.worktreesPath, name);
    const orderId = orderOfName(name);
    const known = orderId === undefined ? {} : { orderId };
    infos.set(worktreePath, { ...known, worktreePath, registered: false, exists: true });
  }
  for (const name of namesIn(join(theater.gitDir, 'worktrees'))) {
    const adminPath = join(theater.gitDir, 'worktrees', name);
    const orderId = orderOfName(name);
    const linked = readText(join(adminPath, 'gitdir'))
      ?.trim()
      .replace(/\/\.git$/, '');
    if (orderId === undefined || linked === undefined) continue;
    if (!isInside(theater.worktreesPath, linked)) continue;
    const info: WorktreeInfo = {
      orderId,
      worktreePath: linked,
      registered: true,
      exists: infos.has(linked),
    };
    const branch = headBranch(adminPath);
    const headSha = branch === undefined ? undefined : findRef(theater.gitDir, branchRef(branch));
    if (branch !== undefined) info.branch = branch;
    if (headSha !== undefined) info.headSha = headSha;
    const reason = quarantineReason(adminPath);
    if (reason !== undefined) info.quarantineReason = reason;
    infos.set(linked, info);
  }
  return [...infos.values()].sort((a, b) => (a.worktreePath < b.worktreePath ? -1 : 1));
}

const QUARANTINED = 'quarantined: ';

/**
 * Sets an order's worktree aside: it cannot be removed, nor pruned by git, until released. This is
 * git's own worktree lock, so `git worktree list` shows the reason.
 */
export async function quarantineWorktree(input: {
  theater: Theater;
  orderId: string;
  reason: string;
}): Promise<void> {
  const { adminPath } = requireWorktree(input.theater, input.orderId);
  const reason = input.reason.replace(/\s+/g, ' ').trim().slice(0, 500);
  await withLock(input.theater.gitDir, orderLock(input.orderId), async (hold) =>
    hold.write(join(adminPath, 'locked'), `${QUARANTINED}${reason}\n`),
  );
}

/** Ends a quarantine; harmless if there is none. */
export async function releaseWorktree(input: { theater: Theater; orderId: string }): Promise<void> {
  const { adminPath } = requireWorktree(input.theater, input.orderId);
  await withLock(input.theater.gitDir, orderLock(input.orderId), async () => {
    if (quarantineReason(adminPath) !== undefined) rmSync(join(adminPath, 'locked'));
  });
}

/** True if the order's worktree is set aside; false if it is not or there is none. */
export async function isQuarantined(theater: Theater, orderId: string): Promise<boolean> {
  return (
    quarantineReason(adminPathOf(theater.gitDir, requireId('order_id', orderId))) !== undefined
  );
}

function quarantineReason(adminPath: string): string | undefined {
  const text = readText(join(adminPath, 'locked'));
  return text?.startsWith(QUARANTINED) ? text.slice(QUARANTINED.length).trim() : undefined;
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
  // The index is written last: with it the files may hold work, without it they are a half-made copy.
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
  const { archive } = record ?? {};
  const kept = archive && isOurs ? { archive } : {};
  writeRecord(hold, gitDir, orderId, { branch, baseSha, ...kept });
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

async function build(
  hold: Hold,
  theater: Theater,
  orderId: string,
  branch: string,
  baseSha: string,
): Promise<void> {
  const { gitDir } = theater;
  const worktreePath = worktreePathOf(theater, orderId);
  const adminPath = adminPathOf(gitDir, orderId);
  hold.write(join(adminPath, 'gitdir'), `${join(worktreePath, '.git')}\n`);
  hold.write(join(adminPath, 'commondir'), '../..\n');
  hold.write(join(adminPath, 'HEAD'), `ref: ${branchRef(branch)}\n`);
  hold.write(join(worktreePath, '.git'), `gitdir: ${adminPath}\n`);
  const { tree } = await loadCommit(gitDir, baseSha);
  const files = await listTreeFiles(gitDir, tree, WORKTREE_LIMITS.files);
  const entries = await writeTreeFiles(gitDir, worktreePath, files, (file, full, bytes) =>
    makeFile(full, file.mode, bytes),
  );
  hold.write(join(adminPath, 'index'), formatIndex(entries));
}

function conflict(orderId: string, field: string, details: Record<string, unknown>): AppError {
  return new AppError('WORKTREE_CONFLICT', { id: orderId }, { field, details });
}

function namesIn(path: string): string[] {
  return existsSync(path) ? readdirSync(path).sort() : [];
}
