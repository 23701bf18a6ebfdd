import {
  type Commit,
  diffTrees,
  EMPTY_TREE,
  isAncestorSha,
  loadCommit,
  mergeBases,
  mergeTrees,
  writeCommit,
  writeObject,
} from '../worktrees/internal.ts';
import type { Stamp } from './values.ts';

const BASES_MAX = 16;
const PICKS_MAX = 10_000;

export type Joined = { tree: string; conflicts: string[] };

/** Merges three trees; objects are all that is written. */
export async function joinTrees(
  gitDir: string,
  base: string | undefined,
  ours: string,
  theirs: string,
): Promise<Joined> {
  const conflicts: string[] = [];
  const merge = { gitDir, branchOnly: new Set<string>(), conflicts };
  const tree = await mergeTrees(merge, { base, ours, theirs });
  if (tree === undefined) writeObject(gitDir, 'tree', new Uint8Array());
  return { tree: tree ?? EMPTY_TREE, conflicts: conflicts.sort() };
}

/** The tree of two commits merged; several common ancestors are merged first, as git does. */
export async function joinCommits(gitDir: string, ours: string, theirs: string): Promise<Joined> {
  const base = await baseTree(gitDir, await mergeBases(gitDir, ours, theirs));
  const [a, b] = [await loadCommit(gitDir, ours), await loadCommit(gitDir, theirs)];
  return joinTrees(gitDir, base, a.tree, b.tree);
}

async function baseTree(gitDir: string, bases: readonly string[]): Promise<string | undefined> {
  const [first, ...others] = bases.slice(0, BASES_MAX);
  if (first === undefined) return undefined;
  let { tree } = await loadCommit(gitDir, first);
  for (const other of others) {
    const below = await baseTree(gitDir, await mergeBases(gitDir, first, other));
    // What conflicts among the ancestors stays as in the first: it then conflicts above, or is equal.
    tree = (await joinTrees(gitDir, below, tree, (await loadCommit(gitDir, other)).tree)).tree;
  }
  return tree;
}

/** A merge commit of `theirs` into `ours`; `ours` itself where that has it already. */
export async function mergeInto(
  gitDir: string,
  ours: string,
  theirs: string,
  { author, timestampSec, message }: Stamp & { message: string },
): Promise<{ sha: string; conflicts: string[] }> {
  if (await isAncestorSha(gitDir, theirs, ours)) return { sha: ours, conflicts: [] };
  const { tree, conflicts } = await joinCommits(gitDir, ours, theirs);
  if (conflicts.length > 0) return { sha: ours, conflicts };
  const commit = { tree, parents: [ours, theirs], author, timestampSec, message };
  return { sha: writeCommit(gitDir, commit), conflicts };
}

/**
 * Replays the commits of `tips` that `onto` lacks, oldest first, one after the other; merge commits
 * and those that change nothing are left out. The merge that promoted an order is one commit: what is
 * on the order's own branch besides (its control files) is not of the lane. Authors, times and
 * messages stay.
 */
export async function replay(
  gitDir: string,
  onto: string,
  tips: readonly string[],
): Promise<{ sha: string; conflicts: string[] }> {
  let sha = onto;
  const done = new Set<string>();
  for (const tip of tips) {
    for (const commit of await missing(gitDir, tip, onto, done)) {
      const [parent] = commit.parents;
      if (commit.parents.length > 1 && !isPromotion(commit)) continue;
      const base = parent === undefined ? undefined : (await loadCommit(gitDir, parent)).tree;
      const here = await loadCommit(gitDir, sha);
      const { tree, conflicts } = await joinTrees(gitDir, base, here.tree, commit.tree);
      if (conflicts.length > 0) return { sha: onto, conflicts };
      if (tree === here.tree) continue;
      const { author, timestampSec, message } = commit;
      sha = writeCommit(gitDir, { tree, parents: [sha], author, timestampSec, message });
    }
  }
  return { sha, conflicts: [] };
}

/** A merge of an order's branch, as libs/worktrees makes it with its trailers. */
function isPromotion({ parents, message }: Commit): boolean {
  const [, head] = parents;
  return parents.length === 2 && message.includes(`\nBranch-Head: ${head}\n`);
}

/** Commits of `tip` that neither `onto` nor `done` has, parents first; added to `done`. */
async function missing(
  gitDir: string,
  tip: string,
  onto: string,
  done: Set<string>,
): Promise<Commit[]> {
  const found: Commit[] = [];
  const stack: { sha: string; commit?: Commit }[] = [{ sha: tip }];
  for (let at = stack.pop(); at !== undefined; at = stack.pop()) {
    if (at.commit) {
      found.push(at.commit);
      continue;
    }
    if (done.has(at.sha) || (await isAncestorSha(gitDir, at.sha, onto))) continue;
    done.add(at.sha);
    if (done.size > PICKS_MAX) throw new Error(`more than ${PICKS_MAX} commits to replay`);
    const commit = await loadCommit(gitDir, at.sha);
    const parents = isPromotion(commit) ? commit.parents.slice(0, 1) : commit.parents;
    stack.push({ sha: at.sha, commit }, ...parents.toReversed().map((sha) => ({ sha })));
  }
  return found;
}

/** The files in which two commits differ. */
export async function diffPaths(gitDir: string, a: string, b: string): Promise<string[]> {
  const [before, after] = [await loadCommit(gitDir, a), await loadCommit(gitDir, b)];
  return (await diffTrees(gitDir, before.tree, after.tree)).map(({ path }) => path);
}
