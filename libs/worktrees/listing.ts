import { existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { orderLock, withLock } from './lock.ts';
import { orderOfName, requireId } from './names.ts';
import { adminPathOf, isInside } from './records.ts';
import { branchRef, findRef, headBranch, readText } from './refs.ts';
import type { Theater } from './theater.ts';
import { requireWorktree } from './worktree.ts';

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

function namesIn(path: string): string[] {
  return existsSync(path) ? readdirSync(path).sort() : [];
}
