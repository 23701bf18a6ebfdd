import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { orderOfName } from './names.ts';
import { isInside } from './records.ts';
import { branchRef, findRef, headBranch, readText } from './refs.ts';
import type { Theater } from './theater.ts';

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
};

/** All worktrees of a theater that are in use, and what else lies in its worktrees folder. */
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
    infos.set(linked, info);
  }
  return [...infos.values()].sort((a, b) => (a.worktreePath < b.worktreePath ? -1 : 1));
}

function namesIn(path: string): string[] {
  return existsSync(path) ? readdirSync(path).sort() : [];
}
