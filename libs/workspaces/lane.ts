import {
  appendFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  realpathSync,
  rmSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { accept, refuse, type Result } from '#libs/missions';
import {
  branchRef,
  buildLinked,
  checkFormat,
  deleteRef,
  findRef,
  headBranch,
  type Hold,
  isAncestorSha,
  mergeBases,
  moveRef,
  orderLock,
  readIndex,
  readText,
  removalMark,
  scanCheckout,
  stateDir,
  withLock,
} from '../worktrees/internal.ts';
import { mergeInto } from './join.ts';
import { type Lane, laneWith, type Plan } from './plan.ts';
import { isObject, reasonOf, type Repository, type Stamp } from './values.ts';

export type Workspace = {
  /** Absolute; there only once the work was started. */
  workspace_path: string;
  lane_id: string;
  lane_branch: string;
  /** The branch that the lane starts from. */
  lane_base_ref: string;
};

/** Where the workspace of a work package is, or will be; writes nothing. */
export function locateWorkspace(
  repository: Repository,
  plan: Plan,
  wpId: string,
): Result<Workspace> {
  const lane = laneWith(plan, wpId);
  if (lane === undefined) return noLane(wpId, 'lanes.json has no lane for it');
  return accept({
    workspace_path: pathOf(repository, lane),
    lane_id: lane.id,
    lane_branch: lane.branch,
    lane_base_ref: plan.missionBranch,
  });
}

/**
 * Makes the lane's branch and worktree of a work package, or answers those that are there. The
 * mission branch is made from `targetBranch`; a lane starts from it, with the lanes it depends on
 * merged in. Repeating finishes what a crash left half made.
 * Refuses with LANE_ALLOCATION_FAILED; what lies at the path and is not ours is left alone.
 */
export async function startWorkspace(
  input: Stamp & {
    repository: Repository;
    plan: Plan;
    wpId: string;
    targetBranch: string;
  },
): Promise<Result<Workspace>> {
  const { repository, plan, wpId } = input;
  const located = locateWorkspace(repository, plan, wpId);
  const lane = laneWith(plan, wpId);
  if (!located.ok || lane === undefined) return located;
  try {
    await checkFormat(repository.gitDir);
    // The mission branch is shared by all lanes.
    await withLock(repository.gitDir, orderLock(plan.missionBranch), (hold) =>
      startMission(hold, repository, plan, input.targetBranch),
    );
    await withLock(repository.gitDir, orderLock(lane.branch), (hold) =>
      startLane(hold, input, lane),
    );
    return located;
  } catch (error) {
    return noLane(wpId, reasonOf(error));
  }
}

/** Has the lane of a work package a commit beyond where it started? Undefined: no such branch. */
export async function hasImplementationEvidence(
  { gitDir }: Repository,
  plan: Plan,
  wpId: string,
): Promise<boolean | undefined> {
  const lane = laneWith(plan, wpId);
  const tip = lane && findRef(gitDir, branchRef(lane.branch));
  if (lane === undefined || tip === undefined) return undefined;
  const base = readBase(gitDir, plan, lane) ?? findRef(gitDir, branchRef(plan.missionBranch));
  return base === undefined || !(await isAncestorSha(gitDir, tip, base));
}

/** Files of a lane's worktree that no commit has; empty where there is no worktree. */
export async function uncommitted(repository: Repository, lane: Lane): Promise<string[]> {
  const path = pathOf(repository, lane);
  const adminPath = findAdmin(repository, path);
  if (adminPath === undefined || isHalfMade(adminPath) || !existsSync(path)) return [];
  const index = readIndex(join(adminPath, 'index'));
  const scan = await scanCheckout(path, repository.gitDir, index);
  return [...scan.modified, ...scan.deleted, ...scan.untracked].sort();
}

/** Removes a lane's worktree and, if it is still at `tip`, its branch. True: a worktree was there. */
export async function removeLane(
  repository: Repository,
  plan: Plan,
  lane: Lane,
  tip: string,
): Promise<boolean> {
  const { gitDir } = repository;
  return withLock(gitDir, orderLock(lane.branch), async (hold) => {
    const ref = branchRef(lane.branch);
    const now = findRef(gitDir, ref);
    const path = pathOf(repository, lane);
    const adminPath = findAdmin(repository, path);
    // Work that came after the merge stays, and so does one that its user has locked.
    const isKept =
      (now !== undefined && now !== tip) ||
      (adminPath !== undefined && existsSync(join(adminPath, 'locked'))) ||
      (await uncommitted(repository, lane)).length > 0;
    if (isKept) return false;
    if (adminPath !== undefined) {
      hold.write(removalMark(adminPath), '');
      rmSync(path, { recursive: true, force: true });
      rmSync(adminPath, { recursive: true, force: true });
    }
    await deleteRef(hold, gitDir, ref, tip);
    rmSync(basePath(gitDir, plan, lane), { force: true });
    return adminPath !== undefined;
  });
}

/** The worktree's path that has a branch checked out, the main checkout's included. */
export function checkedOutAt({ root, gitDir }: Repository, branch: string): string | undefined {
  if (headBranch(gitDir) === branch) return root;
  for (const name of namesIn(join(gitDir, 'worktrees'))) {
    const adminPath = join(gitDir, 'worktrees', name);
    const link = readText(join(adminPath, 'gitdir'))?.trim();
    if (link !== undefined && headBranch(adminPath) === branch && existsSync(link)) {
      return dirname(link);
    }
  }
  return undefined;
}

async function startMission(
  hold: Hold,
  { gitDir }: Repository,
  { missionBranch }: Plan,
  targetBranch: string,
): Promise<void> {
  if (findRef(gitDir, branchRef(missionBranch)) !== undefined) return;
  const local = findRef(gitDir, branchRef(targetBranch));
  const target = local ?? findRef(gitDir, `refs/remotes/origin/${targetBranch}`);
  if (target === undefined) throw new Error(`there is no branch ${targetBranch} to start from`);
  await moveRef(hold, gitDir, branchRef(missionBranch), target, undefined);
}

async function startLane(
  hold: Hold,
  input: Stamp & { repository: Repository; plan: Plan },
  lane: Lane,
): Promise<void> {
  const { repository, plan } = input;
  const { gitDir, root } = repository;
  const worktreePath = pathOf(repository, lane);
  requireRealFolder(dirname(worktreePath));
  const known = findAdmin(repository, worktreePath);
  if (known !== undefined && !isHalfMade(known) && existsSync(worktreePath)) {
    const branch = headBranch(known);
    if (branch === lane.branch) return;
    throw new Error(`${worktreePath} is on ${branch ?? 'a detached HEAD'}, not ${lane.branch}`);
  }
  const adminPath = known ?? join(gitDir, 'worktrees', basename(worktreePath));
  clearRest(worktreePath, known, adminPath);
  const elsewhere = checkedOutAt(repository, lane.branch);
  if (elsewhere !== undefined && elsewhere !== worktreePath) {
    throw new Error(`${lane.branch} is checked out in ${elsewhere}`);
  }
  const tip = findRef(gitDir, branchRef(lane.branch));
  const baseSha = tip ?? (await baseOf(input, lane));
  if (tip === undefined) {
    hold.write(basePath(gitDir, plan, lane), `${JSON.stringify({ base: baseSha })}\n`);
    await moveRef(hold, gitDir, branchRef(lane.branch), baseSha, undefined);
  }
  hideWorktrees(gitDir);
  mkdirSync(join(root, '.worktrees'), { recursive: true });
  // Without an index, which comes last, a folder with this mark is ours to start over.
  hold.write(join(adminPath, BUILDING), '');
  const linked = { gitDir, worktreePath, adminPath, branch: lane.branch, baseSha };
  await buildLinked(hold, linked);
}

/** The mission branch, with the work of the lanes that this one stands on. */
async function baseOf(
  { repository, plan, author, timestampSec }: Stamp & { repository: Repository; plan: Plan },
  lane: Lane,
): Promise<string> {
  const { gitDir } = repository;
  let base = findRef(gitDir, branchRef(plan.missionBranch)) as string;
  for (const { id, branch } of plan.lanes) {
    const tip = lane.dependsOn.includes(id) ? findRef(gitDir, branchRef(branch)) : undefined;
    if (tip === undefined) continue; // merged and gone, or not started
    if ((await mergeBases(gitDir, base, tip)).includes(base)) {
      base = tip;
      continue;
    }
    const message = `Merge ${branch} into ${lane.branch}`;
    const merged = await mergeInto(gitDir, base, tip, { author, timestampSec, message });
    if (merged.conflicts.length > 0) {
      throw new Error(`${branch} conflicts with other lanes in ${merged.conflicts.join(', ')}`);
    }
    base = merged.sha;
  }
  return base;
}

const BUILDING = 'ironclaw-building';

function isHalfMade(adminPath: string): boolean {
  if (existsSync(removalMark(adminPath))) return true;
  return existsSync(join(adminPath, BUILDING)) && !existsSync(join(adminPath, 'index'));
}

/** Takes away what a call that died left; refuses what others put there. */
function clearRest(worktreePath: string, known: string | undefined, adminPath: string): void {
  const folder = lstatSync(worktreePath, { throwIfNoEntry: false });
  if (known === undefined) {
    if (existsSync(adminPath) && !isHalfMade(adminPath))
      throw new Error(`${adminPath} belongs to another worktree`);
    const isEmpty = folder?.isDirectory() && readdirSync(worktreePath).length === 0;
    if (folder && !isEmpty) throw new Error(`${worktreePath} is there and is no worktree`);
  } else if (folder && !isHalfMade(known)) {
    throw new Error(`${worktreePath} is there and is no worktree`);
  }
  rmSync(worktreePath, { recursive: true, force: true });
  rmSync(adminPath, { recursive: true, force: true });
}

/** The folder that git keeps for the worktree at a path, whatever it is named. */
function findAdmin({ gitDir }: Repository, worktreePath: string): string | undefined {
  const wanted = join(worktreePath, '.git');
  const folder = join(gitDir, 'worktrees');
  for (const name of namesIn(folder)) {
    const link = readText(join(folder, name, 'gitdir'))?.trim();
    if (link === wanted) return join(folder, name);
  }
  // One without a link is what a removal left that died.
  const own = join(folder, basename(worktreePath));
  const isRest = existsSync(own) && !existsSync(join(own, 'gitdir'));
  return isRest && !existsSync(worktreePath) ? own : undefined;
}

/** `.worktrees/` is nobody's untracked file, and no tracked file has to say so. */
function hideWorktrees(gitDir: string): void {
  const path = join(gitDir, 'info', 'exclude');
  const text = readText(path) ?? '';
  if (text.split('\n').includes('/.worktrees/')) return;
  mkdirSync(dirname(path), { recursive: true });
  appendFileSync(path, `${text === '' || text.endsWith('\n') ? '' : '\n'}/.worktrees/\n`);
}

function requireRealFolder(path: string): void {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (stat && (!stat.isDirectory() || realpathSync(path) !== path)) {
    throw new Error(`${path} is no folder of the repository`);
  }
}

function pathOf({ root }: Repository, lane: Lane): string {
  return join(root, '.worktrees', lane.folder);
}

function basePath(gitDir: string, { slug }: Plan, { id }: Lane): string {
  return join(stateDir(gitDir), 'workspaces', slug, `${id}.json`);
}

function readBase(gitDir: string, plan: Plan, lane: Lane): string | undefined {
  const text = readText(basePath(gitDir, plan, lane));
  const value: unknown = text === undefined ? undefined : JSON.parse(text);
  const base = isObject(value) ? value['base'] : undefined;
  return typeof base === 'string' ? base : undefined;
}

function namesIn(path: string): string[] {
  return existsSync(path) ? readdirSync(path).sort() : [];
}

function noLane(wpId: string, reason: string): Result<never> {
  return refuse('LANE_ALLOCATION_FAILED', { wp_id: wpId, reason });
}
