import { lstatSync } from 'node:fs';
import { dirname, join, relative, sep } from 'node:path';
import { type Hold, stateDir } from './lock.ts';
import { orderOfName, outside, refused, worktreeName, worktreeNotFound } from './names.ts';
import { headBranch, readText } from './refs.ts';

/** What we remember of an order's worktree in the repository, also after the worktree is gone. */
export type OrderRecord = {
  branch: string;
  /** The mainline commit that the current attempt started from. */
  baseSha: string;
  archive?: ArchiveRecord;
};

export type ArchiveRecord = {
  archivePath: string;
  commitSha: string;
  bytes: number;
  /** SHA-256 of the archive before compression. */
  digest: string;
};

export function readRecord(gitDir: string, orderId: string): OrderRecord | undefined {
  const text = readText(recordPath(gitDir, orderId));
  return text === undefined ? undefined : (JSON.parse(text) as OrderRecord);
}

export function writeRecord(
  hold: Hold,
  gitDir: string,
  orderId: string,
  record: OrderRecord,
): void {
  hold.write(recordPath(gitDir, orderId), `${JSON.stringify(record)}\n`);
}

function recordPath(gitDir: string, orderId: string): string {
  return join(stateDir(gitDir), 'orders', `${orderId}.json`);
}

/** A linked worktree of an order, found on disk. */
export type Worktree = {
  orderId: string;
  worktreePath: string;
  /** The repository's git dir. */
  gitDir: string;
  /** The worktree's own folder in it: HEAD, index. */
  adminPath: string;
  branch: string;
};

/** The admin folder that git keeps for an order's worktree. */
export function adminPathOf(gitDir: string, orderId: string): string {
  return join(gitDir, 'worktrees', worktreeName(orderId));
}

/**
 * Finds the worktree at a path by its `.git` link, which must be answered by the repository.
 * @throws {WORKTREE_NOT_FOUND} if there is none; {PATH_OUTSIDE_THEATER} for a link that is forged.
 */
export function openWorktree(worktreePath: string, field = 'worktree_path'): Worktree {
  const name = worktreePath.slice(dirname(worktreePath).length + 1);
  const orderId = orderOfName(name);
  if (orderId === undefined) throw outside(worktreePath, field);
  const folder = lstatSync(worktreePath, { throwIfNoEntry: false });
  const link = lstatSync(join(worktreePath, '.git'), { throwIfNoEntry: false });
  if (folder?.isSymbolicLink() || link?.isSymbolicLink()) {
    throw refused(`${worktreePath} is a symlink`, field);
  }
  const text = link?.isFile() ? readText(join(worktreePath, '.git')) : undefined;
  const adminPath = /^gitdir: (.+)$/m.exec(text ?? '')?.[1];
  if (adminPath === undefined) throw worktreeNotFound(orderId, field);
  const gitDir = dirname(dirname(adminPath));
  const forged =
    adminPath !== adminPathOf(gitDir, orderId) ||
    isInside(worktreePath, adminPath) ||
    lstatSync(stateDir(gitDir), { throwIfNoEntry: false })?.isDirectory() !== true;
  if (forged) throw outside(worktreePath, field);
  if (readText(join(adminPath, 'gitdir'))?.trim() !== join(worktreePath, '.git')) {
    throw worktreeNotFound(orderId, field);
  }
  const branch = headBranch(adminPath);
  if (branch === undefined) throw worktreeNotFound(orderId, field);
  return { orderId, worktreePath, gitDir, adminPath, branch };
}

/** True if `path` is `folder` or below it; both absolute and normal. */
export function isInside(folder: string, path: string): boolean {
  const way = relative(folder, path);
  return way !== '..' && !way.startsWith(`..${sep}`);
}
