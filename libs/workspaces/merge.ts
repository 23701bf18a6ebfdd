import { join } from 'node:path';
import { accept, refuse, type Result } from '#libs/missions';
import {
  branchRef,
  deleteRef,
  dirtyFiles,
  findRef,
  finishPromotion,
  type Hold,
  indexEntry,
  isAncestorSha,
  isBranchName,
  listTreeFiles,
  loadCommit,
  MAINLINE_LOCK,
  moveRef,
  NO_STAMP,
  orderLock,
  promote,
  readText,
  requireCommitInput,
  stateDir,
  withLock,
  WORKTREE_LIMITS,
  writeCommit,
} from '../worktrees/internal.ts';
import { runGit, runHook } from './hooks.ts';
import { diffPaths, mergeInto, replay } from './join.ts';
import { checkedOutAt, removeLane } from './lane.ts';
import type { Plan } from './plan.ts';
import { removeReviews } from './review.ts';
import { type Ground, inspect, listed } from './preflight.ts';
import { reasonOf, type Repository, type Stamp, theaterOf } from './values.ts';

export type MergeStrategy = 'merge' | 'squash' | 'rebase';

export type MergeInput = Stamp & {
  repository: Repository;
  plan: Plan;
  target: string;
  strategy: MergeStrategy;
  /** Also to origin, before the local branch moves. */
  push: boolean;
  /** False: the repository's own hooks are not run, as of one whose files units have written. */
  hooks?: boolean;
  /** What the caller knows to be wrong, told with all the rest. */
  faults?: readonly string[];
};

export type Merged = {
  target_branch: string;
  /** The commit that the merge made; the same on every repeat. */
  commit: string;
  /** True if no worktree of the mission is left. */
  worktree_removed: boolean;
};

/** Written before anything moves, so that a repeat finishes the same merge. */
type MergeRecord = {
  target: string;
  strategy: MergeStrategy;
  from: string;
  to: string;
  /** Commits of the branches that were merged. */
  tips: Record<string, string>;
  mission: string | undefined;
  pushed: boolean;
};

/** Everything that stands against a merge now; empty: nothing. Moves nothing. */
export async function preflight(input: MergeInput): Promise<string[]> {
  const prepared = await prepare(input);
  return prepared.errors;
}

/**
 * Merges the lanes of a mission into the target, one merge of a repository at a time. The target's
 * checkout moves along where it is the main one; then worktrees and branches of the mission go.
 * Repeating answers the same commit, and finishes a merge whose process died.
 * Refuses with PREFLIGHT_FAILED and all reasons; target, checkout and staging are as before then.
 */
export async function merge(input: MergeInput): Promise<Result<Merged>> {
  const { repository } = input;
  const { gitDir } = repository;
  try {
    requireCommitInput(input.author, input.timestampSec, 'merge');
    if (!isBranchName(input.target)) return failed(input, ['the target is no name of a branch']);
    return await withLock(gitDir, MAINLINE_LOCK, async (hold) => {
      await finishPromotion(hold, theaterOf(repository, input.target));
      const earlier = await findEarlier(input);
      if (earlier) return await finish(hold, input, earlier);
      const prepared = await prepare(input);
      if (!prepared.ok) return failed(input, prepared.errors);
      const record = resumed(gitDir, input, prepared.record) ?? prepared.record;
      const hook = await hookFault(input, record);
      if (hook !== undefined) return failed(input, [hook]);
      writeRecord(hold, input, record);
      const push = await pushFault(input, record);
      if (push !== undefined) return failed(input, [push]);
      await move(hold, input, record, prepared.isLocal);
      return accept(await cleanUp(input, record));
    });
  } catch (error) {
    return failed(input, [reasonOf(error)]);
  }
}

/** What an earlier call may have left to do. */
async function finish(hold: Hold, input: MergeInput, record: MergeRecord): Promise<Result<Merged>> {
  if (input.push && !record.pushed) {
    const fault = await pushFault(input, record);
    if (fault !== undefined) return failed(input, [fault]);
    writeRecord(hold, input, { ...record, pushed: true });
  }
  return accept(await cleanUp(input, record));
}

type Prepared =
  | { ok: true; errors: string[]; record: MergeRecord; isLocal: boolean }
  | { ok: false; errors: string[] };

async function prepare(input: MergeInput): Promise<Prepared> {
  const { repository, plan, target, strategy } = input;
  const record = await doneRecord(input);
  const isMerged = (branch: string) => record?.tips[branch] !== undefined;
  const { ground, errors } = await inspect(repository, plan, target, isMerged);
  errors.unshift(...(input.faults ?? []));
  if (input.push && !(await runGit(repository.root, ['remote', 'get-url', 'origin'])).ok) {
    errors.push('there is no remote origin to push to');
  }
  if (ground === undefined) return { ok: false, errors };
  const made = await build(input, ground, errors);
  if (made !== undefined) {
    const theater = theaterOf(repository, target);
    const dirty = await dirtyFiles(theater, ground.from, made);
    if (dirty.length > 0) errors.push(`the checkout of ${target} has changes in ${listed(dirty)}`);
  }
  if (errors.length > 0 || made === undefined) return { ok: false, errors };
  const tips = Object.fromEntries(ground.tips.map(({ lane, sha }) => [lane.branch, sha]));
  const { from, mission, isLocal } = ground;
  // A branch that went with an earlier merge stays known as merged.
  const all = { ...record?.tips, ...tips };
  const wanted = { target, strategy, from, to: made, tips: all, mission, pushed: input.push };
  return { ok: true, errors, record: wanted, isLocal };
}

/** The commit that the target shall be at; undefined with errors added: it cannot be made. */
async function build(
  input: MergeInput,
  { from, mission, tips }: Ground,
  errors: string[],
): Promise<string | undefined> {
  const { plan, target, strategy, author, timestampSec } = input;
  const { gitDir } = input.repository;
  const stamp = { author, timestampSec };
  let line = mission ?? from;
  let hasConflict = false;
  for (const { lane, sha } of tips) {
    const message = `Merge ${lane.branch} into ${plan.missionBranch}`;
    const merged = await mergeInto(gitDir, line, sha, { ...stamp, message });
    line = merged.sha;
    if (merged.conflicts.length === 0) continue;
    hasConflict = true;
    errors.push(`lane ${lane.id} conflicts in ${listed(merged.conflicts)}`);
  }
  if (await isAncestorSha(gitDir, line, from)) return from;
  const message = `Merge mission ${plan.slug} into ${target}`;
  const whole = await mergeInto(gitDir, from, line, { ...stamp, message });
  if (whole.conflicts.length > 0) {
    hasConflict = true;
    errors.push(`the mission conflicts with ${target} in ${listed(whole.conflicts)}`);
  }
  if (hasConflict) return undefined;
  const { tree } = await loadCommit(gitDir, whole.sha);
  if (strategy === 'merge') return whole.sha;
  if (strategy === 'squash') {
    const commit = { tree, parents: [from], ...stamp, message: `Mission ${plan.slug}` };
    return writeCommit(gitDir, commit);
  }
  const all = [...(mission === undefined ? [] : [mission]), ...tips.map(({ sha }) => sha)];
  const linear = await replay(gitDir, from, all);
  const differs = await diffPaths(gitDir, linear.sha, whole.sha);
  const bad = linear.conflicts.length > 0 ? linear.conflicts : differs;
  if (bad.length === 0) return linear.sha;
  errors.push(`a rebase conflicts in ${listed(bad)}; the strategy merge does not`);
  return undefined;
}

/** A merge of this mission that the target has, with nothing new on its branches since. */
async function findEarlier(input: MergeInput): Promise<MergeRecord | undefined> {
  const record = await doneRecord(input);
  const { gitDir } = input.repository;
  const isNew = input.plan.lanes.some(({ branch }) => {
    const sha = findRef(gitDir, branchRef(branch));
    return sha === undefined ? record?.tips[branch] === undefined : sha !== record?.tips[branch];
  });
  return isNew ? undefined : record;
}

/** The record of the last merge, if the target holds what it made. */
async function doneRecord({ repository, plan, target }: MergeInput) {
  const { gitDir } = repository;
  const record = readRecord(gitDir, plan);
  const now = findRef(gitDir, branchRef(target));
  if (record?.target !== target || now === undefined) return undefined;
  return (await isAncestorSha(gitDir, record.to, now)) ? record : undefined;
}

/** The same merge begun before: its commit may be pushed already, so it must not become another. */
function resumed(
  gitDir: string,
  { plan }: MergeInput,
  wanted: MergeRecord,
): MergeRecord | undefined {
  const record = readRecord(gitDir, plan);
  if (record === undefined) return undefined;
  const key = ({ target, strategy, from, tips, mission }: MergeRecord) =>
    JSON.stringify([target, strategy, from, mission, tips]);
  if (key(record) !== key(wanted)) return undefined;
  return { ...record, pushed: record.pushed || wanted.pushed };
}

async function hookFault(
  { repository, strategy, plan, hooks }: MergeInput,
  { from, to }: MergeRecord,
): Promise<string | undefined> {
  if (hooks === false || strategy === 'rebase' || from === to) return undefined;
  const { tree } = await loadCommit(repository.gitDir, to);
  const files = await listTreeFiles(repository.gitDir, tree, WORKTREE_LIMITS.files);
  const entries = files.map(({ path, mode, oid }) => indexEntry(path, mode, oid, NO_STAMP));
  const name = strategy === 'merge' ? 'pre-merge-commit' : 'pre-commit';
  const ran = await runHook(repository, name, entries, plan.slug);
  return ran.ok ? undefined : `the hook ${name} failed: ${ran.output}`;
}

async function pushFault(
  { repository, push }: MergeInput,
  { to, target }: MergeRecord,
): Promise<string | undefined> {
  if (!push) return undefined;
  const ran = await runGit(repository.root, ['push', 'origin', `${to}:${branchRef(target)}`]);
  return ran.ok ? undefined : `the push to origin failed: ${ran.output}`;
}

async function move(
  hold: Hold,
  { repository, author, timestampSec, plan }: MergeInput,
  { target, from, to }: MergeRecord,
  isLocal: boolean,
): Promise<void> {
  const { gitDir } = repository;
  if (!isLocal) return moveRef(hold, gitDir, branchRef(target), to, undefined);
  if (from === to) return;
  const message = `merge mission ${plan.slug}`;
  const log = { author, timestampSec, message };
  await promote(hold, theaterOf(repository, target), from, to, log);
}

/** Removes what the mission needed; what cannot go (locked, new work) stays and is told. */
async function cleanUp(input: MergeInput, record: MergeRecord): Promise<Merged> {
  const { repository, plan } = input;
  const { gitDir } = repository;
  for (const lane of plan.lanes) {
    const tip = record.tips[lane.branch];
    if (tip !== undefined) await removeLane(repository, plan, lane, tip);
    await removeReviews(repository, plan, lane);
  }
  const left = plan.lanes.some(({ branch }) => findRef(gitDir, branchRef(branch)) !== undefined);
  const { mission } = record;
  const isFree = checkedOutAt(repository, plan.missionBranch) === undefined;
  if (!left && isFree && mission !== undefined) {
    await withLock(gitDir, orderLock(plan.missionBranch), async (hold) => {
      const ref = branchRef(plan.missionBranch);
      if (findRef(gitDir, ref) === mission) await deleteRef(hold, gitDir, ref, mission);
    });
  }
  return { target_branch: record.target, commit: record.to, worktree_removed: !left };
}

function recordPath(gitDir: string, { slug }: Plan): string {
  return join(stateDir(gitDir), 'workspaces', `${slug}.merge.json`);
}

function writeRecord(hold: Hold, { repository, plan }: MergeInput, record: MergeRecord): void {
  hold.write(recordPath(repository.gitDir, plan), `${JSON.stringify(record)}\n`);
}

function readRecord(gitDir: string, plan: Plan): MergeRecord | undefined {
  const text = readText(recordPath(gitDir, plan));
  return text === undefined ? undefined : (JSON.parse(text) as MergeRecord);
}

function failed({ target }: MergeInput, errors: readonly string[]): Result<never> {
  return refuse('PREFLIGHT_FAILED', { target_branch: target, errors });
}
