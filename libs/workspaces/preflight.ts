import { existsSync } from 'node:fs';
import { join, matchesGlob } from 'node:path';
import {
  branchRef,
  checkFormat,
  diffTrees,
  findRef,
  loadCommit,
  mergeBases,
  readIndex,
} from '../worktrees/internal.ts';
import { checkedOutAt, uncommitted } from './lane.ts';
import type { Lane, Plan } from './plan.ts';
import { reasonOf, type Repository } from './values.ts';

export type Tip = { lane: Lane; sha: string };

/** What a merge starts from. */
export type Ground = {
  /** The target's commit. */
  from: string;
  /** False: only origin has the target so far. */
  isLocal: boolean;
  mission: string | undefined;
  tips: readonly Tip[];
};

/**
 * Looks at everything a merge needs and names all that is wrong; writes nothing. `isMerged` knows
 * the branches that went with an earlier merge.
 */
export async function inspect(
  repository: Repository,
  plan: Plan,
  target: string,
  isMerged: (branch: string) => boolean,
): Promise<{ ground: Ground | undefined; errors: string[] }> {
  const { gitDir } = repository;
  const errors: string[] = [];
  try {
    await checkFormat(gitDir);
  } catch (error) {
    return { ground: undefined, errors: [reasonOf(error)] };
  }
  const local = findRef(gitDir, branchRef(target));
  const from = local ?? findRef(gitDir, `refs/remotes/origin/${target}`);
  if (from === undefined) errors.push(`target branch ${target} does not exist`);
  errors.push(...checkoutFaults(repository, target));
  const mission = findRef(gitDir, branchRef(plan.missionBranch));
  const tips: Tip[] = [];
  if (plan.lanes.length === 0) errors.push('the mission has no lanes');
  for (const lane of plan.lanes) {
    const sha = findRef(gitDir, branchRef(lane.branch));
    if (sha !== undefined) tips.push({ lane, sha });
    else if (!isMerged(lane.branch)) {
      errors.push(`lane ${lane.id}: branch ${lane.branch} does not exist`);
    }
    const files = await uncommitted(repository, lane);
    if (files.length > 0) errors.push(`lane ${lane.id}: not committed: ${listed(files)}`);
    if (sha === undefined || mission === undefined) continue;
    const stale = await staleFiles(gitDir, lane, sha, mission);
    if (stale.length > 0) {
      const where = `since it started, ${plan.missionBranch} changed ${listed(stale)}`;
      errors.push(`lane ${lane.id} is stale: ${where}`);
    }
  }
  const ground = from === undefined ? undefined : { from, isLocal: !!local, mission, tips };
  return { ground, errors };
}

/** A few names of a list. */
export function listed(names: readonly string[]): string {
  const more = names.length > 5 ? ` and ${names.length - 5} more` : '';
  return names.slice(0, 5).join(', ') + more;
}

function checkoutFaults(repository: Repository, target: string): string[] {
  const { gitDir, root } = repository;
  const at = checkedOutAt(repository, target);
  if (at === undefined) return [];
  if (at !== root) return [`target branch ${target} is checked out in ${at}`];
  const busy = ['MERGE_HEAD', 'CHERRY_PICK_HEAD', 'REVERT_HEAD', 'rebase-merge', 'rebase-apply'];
  const faults = busy
    .filter((name) => existsSync(join(gitDir, name)))
    .map((name) => `the checkout of ${target} is in the middle of something (${name})`);
  try {
    const { entries } = readIndex(join(gitDir, 'index'));
    const open = new Set(entries.filter(({ stage }) => stage > 0).map(({ path }) => path));
    if (open.size > 0) faults.push(`the checkout of ${target} has conflicts: ${listed([...open])}`);
  } catch (error) {
    faults.push(`the index of the checkout cannot be read: ${reasonOf(error)}`);
  }
  return faults;
}

/** Files of the lane's scope that the mission branch changed after the lane left it. */
async function staleFiles(
  gitDir: string,
  lane: Lane,
  tip: string,
  mission: string,
): Promise<string[]> {
  const [base] = await mergeBases(gitDir, tip, mission);
  if (lane.writeScope.length === 0 || base === undefined || base === mission) return [];
  const [before, after] = [await loadCommit(gitDir, base), await loadCommit(gitDir, mission)];
  const changes = await diffTrees(gitDir, before.tree, after.tree);
  const isInScope = (path: string) => lane.writeScope.some((glob) => covers(glob, path));
  return changes.map(({ path }) => path).filter(isInScope);
}

function covers(glob: string, path: string): boolean {
  const folder = glob.replace(/\/+$/, '');
  return path === folder || path.startsWith(`${folder}/`) || matchesGlob(path, glob);
}
