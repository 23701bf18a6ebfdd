import { existsSync, lstatSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { accept, refuse, type Result } from '#libs/missions';
import {
  adopt,
  branchRef,
  finishPromotion,
  findRef,
  hashFiles,
  headBranch,
  type Hold,
  type IndexEntry,
  indexEntry,
  isBranchName,
  listTreeFiles,
  loadCommit,
  MAINLINE_LOCK,
  NO_STAMP,
  readIndex,
  readState,
  readText,
  storeHashed,
  withLock,
  WORKTREE_LIMITS,
  writeCommit,
  writeObject,
} from '../worktrees/internal.ts';
import { runHook } from './hooks.ts';
import { reasonOf, type Repository, type Stamp, theaterOf } from './values.ts';

export type CommitInput = Stamp & {
  repository: Repository;
  /** Short name of the branch that the commit is for; HEAD must be on it. */
  destination: string;
  /** Relative to the root; files that are gone are committed as deleted. */
  paths: readonly string[];
  message: string;
  /** False: main, master and the remote's default branch are refused. */
  allowProtected: boolean;
};

/**
 * Commits these files of the main checkout alone. What the user has staged stays staged and
 * uncommitted, other edits stay edits; repeating without a change answers the branch's commit.
 * The hooks pre-commit and commit-msg run. On a refusal branch, index and files are as before.
 * Source: reference §1.7.
 */
export async function commitFiles(input: CommitInput): Promise<Result<{ commit: string }>> {
  const { root, gitDir } = input.repository;
  const refusal = shapeFault(input);
  if (refusal) return refusal;
  try {
    return await withLock(gitDir, MAINLINE_LOCK, async (hold) => {
      await finishPromotion(hold, theaterOf(input.repository, input.destination));
      const observed = observedHead(gitDir);
      const data = { destination_ref: input.destination, observed_head: observed };
      const more = { ...data, worktree_root: root };
      const from = findRef(gitDir, branchRef(input.destination));
      if (from === undefined) return refuse('SAFE_COMMIT_DESTINATION_NOT_FOUND', more);
      if (observed !== input.destination) return refuse('SAFE_COMMIT_HEAD_MISMATCH', more);
      if (!input.allowProtected && isProtected(gitDir, input.destination)) {
        return refuse('SAFE_COMMIT_PROTECTED_BRANCH', more);
      }
      const unexpected = unmerged(gitDir);
      if (unexpected.length > 0) {
        const reason = 'a merge is not finished';
        return refuse('SAFE_COMMIT_BACKSTOP', {
          ...more,
          reason,
          requested: input.paths,
          unexpected,
        });
      }
      return commit(hold, input, from);
    });
  } catch (error) {
    return refuse('HISTORY_COMMIT_FAILED', { reason: reasonOf(error), worktree_root: root });
  }
}

function shapeFault({ repository, destination, paths }: CommitInput) {
  const data = { destination_ref: destination, worktree_root: repository.root };
  if (!existsSync(join(repository.root, '.git')) || !existsSync(repository.gitDir)) {
    return refuse('SAFE_COMMIT_NOT_A_WORKTREE', data);
  }
  if (destination.startsWith('refs/') || !isBranchName(destination)) {
    return refuse('SAFE_COMMIT_DESTINATION_REF_SHAPE', data);
  }
  if (paths.length === 0) return refuse('SAFE_COMMIT_EMPTY_CHANGESET', data);
  const bad = paths.find((path) => !isOwnPath(path));
  if (bad === undefined) return undefined;
  return refuse('SAFE_COMMIT_PATH_POLICY', { ...data, reason: bad.slice(0, 200) });
}

function isOwnPath(path: string): boolean {
  const parts = path.split('/');
  if (parts[0] === '.worktrees' || path.includes('\\') || path.includes('\0')) return false;
  return parts.every((part) => !['', '.', '..'].includes(part) && part.toLowerCase() !== '.git');
}

function observedHead(gitDir: string): string {
  return headBranch(gitDir) ?? readText(join(gitDir, 'HEAD'))?.trim() ?? '';
}

/** main, master, and what origin calls its default. */
function isProtected(gitDir: string, branch: string): boolean {
  const remote = /^ref: refs\/remotes\/origin\/(.+)$/m.exec(
    readText(join(gitDir, 'refs/remotes/origin/HEAD')) ?? '',
  )?.[1];
  return ['main', 'master', remote].includes(branch);
}

/** Paths that wait for the user to finish a merge; a commit now would take its place. */
function unmerged(gitDir: string): { path: string; status_code: string }[] {
  const { entries } = readIndex(join(gitDir, 'index'));
  const open = new Set(entries.filter(({ stage }) => stage > 0).map(({ path }) => path));
  const found = [...open].map((path) => ({ path, status_code: 'UU' }));
  if (found.length > 0 || !existsSync(join(gitDir, 'MERGE_HEAD'))) return found;
  return [{ path: 'MERGE_HEAD', status_code: 'M ' }];
}

async function commit(
  hold: Hold,
  input: CommitInput,
  from: string,
): Promise<Result<{ commit: string }>> {
  const { repository, author, timestampSec, message } = input;
  const { gitDir, root } = repository;
  const parent = await loadCommit(gitDir, from);
  const wanted = new Set(input.paths);
  const files = await listTreeFiles(gitDir, parent.tree, WORKTREE_LIMITS.files);
  // A file that gave way to a folder of wanted ones goes with them.
  const isBelow = (path: string) => input.paths.some((other) => other.startsWith(`${path}/`));
  const replaced = files.filter(({ path }) => isBelow(path)).map(({ path }) => path);
  const kept = files
    .filter(({ path }) => !wanted.has(path) && !replaced.includes(path))
    .map(({ path, mode, oid }) => indexEntry(path, mode, oid, NO_STAMP));
  const entries = stageFiles(repository, wanted);
  const missing = [...wanted].filter((path) => !entries.some((entry) => entry.path === path));
  const gone = [...missing, ...replaced];
  const staged = [...kept, ...entries];
  const tree = hashFiles(staged);
  if (tree.oid === parent.tree) return accept({ commit: from });
  await storeHashed(gitDir, tree, parent.tree);
  for (const name of ['pre-commit', 'commit-msg'] as const) {
    const text = name === 'commit-msg' ? message : undefined;
    const ran = await runHook(repository, name, staged, `${process.pid}`, text);
    const reason = `the hook ${name} failed: ${ran.output}`;
    if (!ran.ok) return refuse('HISTORY_COMMIT_FAILED', { reason, worktree_root: root });
  }
  const made = { tree: tree.oid, parents: [from], author, timestampSec, message };
  const to = writeCommit(gitDir, made);
  const theater = theaterOf(repository, input.destination);
  try {
    await adopt(hold, theater, { from, to, entries, gone }, { author, timestampSec, message });
  } catch (error) {
    if (findRef(gitDir, branchRef(input.destination)) !== to) throw error;
    const data = { reason: reasonOf(error), unrecovered_paths: [...wanted], commit_sha: to };
    return refuse('SAFE_COMMIT_RECOVERY_FAILED', { ...data, orphan_stash_ref: null });
  }
  return accept({ commit: to });
}

/** Stores the files' contents; those that are gone have no entry. */
function stageFiles({ root, gitDir }: Repository, paths: ReadonlySet<string>): IndexEntry[] {
  return [...paths].flatMap((path) => {
    for (let up = dirname(path); up !== '.'; up = dirname(up)) {
      if (lstatSync(join(root, up), { throwIfNoEntry: false })?.isSymbolicLink()) {
        throw new Error(`${path} lies behind the link ${up}`);
      }
    }
    if (!lstatSync(join(root, path), { throwIfNoEntry: false })) return [];
    const state = readState(root, path);
    if (state === undefined) throw new Error(`${path} is no file`);
    writeObject(gitDir, 'blob', state.bytes);
    return [indexEntry(path, state.mode, state.oid, state.stamp)];
  });
}
