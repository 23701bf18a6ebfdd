import { existsSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { headBranch, readText } from './refs.ts';

/** A folder that has a branch checked out. */
export type BranchCheckout = {
  path: string;
  /** Its own folder of git: HEAD and index; the git dir itself for the main checkout. */
  adminPath: string;
};

/**
 * Where a branch is checked out: in the main checkout, else in a linked worktree whose files are all
 * there (its index is written last). Undefined: nowhere.
 */
export function findCheckout(
  { repoPath, gitDir }: { repoPath: string; gitDir: string },
  branch: string,
): BranchCheckout | undefined {
  if (headBranch(gitDir) === branch) return { path: repoPath, adminPath: gitDir };
  const folder = join(gitDir, 'worktrees');
  for (const name of existsSync(folder) ? readdirSync(folder).sort() : []) {
    const adminPath = join(folder, name);
    if (headBranch(adminPath) !== branch || !existsSync(join(adminPath, 'index'))) continue;
    const link = readText(join(adminPath, 'gitdir'))?.trim();
    if (link !== undefined && existsSync(link)) return { path: dirname(link), adminPath };
  }
  return undefined;
}
