import { AppError, invalid } from '#libs/contracts';
import {
  type Author,
  type Commit,
  isAncestorSha,
  loadCommit,
  mergeBases,
  requireCommitInput,
  writeCommit,
} from './commits.ts';
import { type Hold, MAINLINE_LOCK, orderLock, withLock } from './lock.ts';
import { finishPromotion, promote } from './mainline.ts';
import { mergeTrees } from './merge.ts';
import { fileDetail, requireBranch, requireId, worktreeNotFound } from './names.ts';
import { EMPTY_TREE, findObject, writeObject } from './objects.ts';
import { branchRef, findRef, headBranch, refMoved } from './refs.ts';
import { mainlineSha, type Theater } from './theater.ts';

export type Integration = {
  /** The mainline commit that brought the branch in; the same on every repeat. */
  commitSha: string;
  /** True if the mainline held the branch already. */
  alreadyMerged: boolean;
  /** The mainline's commit before this call. */
  mainlineBefore: string;
};

export type IntegrateInput = {
  theater: Theater;
  orderId: string;
  branch: string;
  /** The branch commit that the gates looked at; default: where the branch is now. */
  expectedSha?: string;
  message: string;
  author: Author;
  timestampSec: number;
  /** Names in the root that stay on the branch, as `aar.json`, which every order writes. */
  branchOnly?: readonly string[];
};

/**
 * Merges an order's branch into the theater's `mainline`, which for work of a mission names the
 * lane's branch, always as a commit of its own with the trailers `Order:` and `Branch-Head:`; one
 * call at a time for a repository, across processes. Repeating answers the same commit. On any error
 * mainline, index and checkout are as before.
 * @throws {MERGE_CONFLICT} with `details.files`.
 * @throws {MAINLINE_DIRTY} if the user's checkout of the mainline has edits in the same files.
 * @throws {VERSION_CONFLICT} if the branch is no longer at `expectedSha`.
 * @throws {WORKTREE_NOT_FOUND} if there is no such branch; {THEATER_NOT_FOUND}; {TIMEOUT}.
 */
export async function integrate(input: IntegrateInput): Promise<Integration> {
  requireId('order_id', input.orderId);
  requireBranch('branch', input.branch);
  requireCommitInput(input.author, input.timestampSec, input.message);
  if (input.expectedSha !== undefined && !/^[0-9a-f]{40}$/.test(input.expectedSha)) {
    throw invalid('expected_sha', 'must be a git commit sha');
  }
  mainlineSha(input.theater);
  return withLock(input.theater.gitDir, MAINLINE_LOCK, (hold) => merge(hold, input));
}

async function merge(hold: Hold, input: IntegrateInput): Promise<Integration> {
  const { theater } = input;
  const { gitDir } = theater;
  await finishPromotion(hold, theater);
  const mainlineBefore = mainlineSha(theater);
  const tip = findRef(gitDir, branchRef(input.branch));
  const wanted = input.expectedSha ?? tip;
  if (wanted === undefined) throw worktreeNotFound(input.orderId, 'branch');
  // Before the branch is compared: a repeat may come after the branch moved on.
  const earlier = await findEarlier(gitDir, wanted, mainlineBefore, tip);
  if (earlier) return { commitSha: earlier, alreadyMerged: true, mainlineBefore };
  if (wanted !== tip) throw refMoved(branchRef(input.branch), tip, wanted);
  const tree = await mergeTree(input, mainlineBefore, wanted);
  const { author, timestampSec } = input;
  const message = withTrailers(input.message, input.orderId, wanted);
  const parents = [mainlineBefore, wanted];
  const commitSha = writeCommit(gitDir, { tree, parents, author, timestampSec, message });
  const log = { author, timestampSec, message };
  const move = (): Promise<void> => promote(hold, theater, mainlineBefore, commitSha, log);
  if (headBranch(gitDir) === theater.mainline) await move();
  // A lane's checkout is made under its branch's lock: either it is there, or it starts from here.
  else await withLock(gitDir, orderLock(theater.mainline), move);
  return { commitSha, alreadyMerged: false, mainlineBefore };
}

/** The mainline commit that holds `sha` already, if any: its merge, or `sha` itself. */
async function findEarlier(
  gitDir: string,
  sha: string,
  mainline: string,
  tip: string | undefined,
): Promise<string | undefined> {
  // A commit that is neither the branch's nor known must not break the walk.
  if (sha !== tip && !(await findObject(gitDir, sha))) return undefined;
  if (!(await isAncestorSha(gitDir, sha, mainline))) return undefined;
  let at: string | undefined = mainline;
  while (at !== undefined && at !== sha) {
    const { parents }: Commit = await loadCommit(gitDir, at);
    if (parents.slice(1).includes(sha)) return at;
    at = parents[0];
  }
  return sha; // it came with another branch, or is the mainline's own
}

async function mergeTree(input: IntegrateInput, ours: string, theirs: string): Promise<string> {
  const { gitDir } = input.theater;
  const bases = await mergeBases(gitDir, ours, theirs);
  const [base] = bases;
  if (base === undefined || bases.length > 1) {
    const reason = base ? 'the histories cross' : 'the histories have no common commit';
    throw conflict([], reason);
  }
  const trees = { base: '', ours: '', theirs: '' };
  for (const [side, sha] of Object.entries({ base, ours, theirs })) {
    trees[side as keyof typeof trees] = (await loadCommit(gitDir, sha)).tree;
  }
  const conflicts: string[] = [];
  const branchOnly = new Set(input.branchOnly);
  const merged = await mergeTrees({ gitDir, branchOnly, conflicts }, trees);
  if (conflicts.length > 0) throw conflict(conflicts.sort());
  if (merged === undefined) writeObject(gitDir, 'tree', new Uint8Array());
  return merged ?? EMPTY_TREE;
}

function conflict(files: string[], reason?: string): AppError {
  const { text, details } = fileDetail(files);
  const more = reason === undefined ? details : { ...details, reason };
  return new AppError('MERGE_CONFLICT', { files: reason ?? text }, { details: more });
}

function withTrailers(message: string, orderId: string, branchHead: string): string {
  const text = message.trimEnd();
  // Trailers of the caller and ours must form one block for git to read them.
  const last = text.split('\n').at(-1) ?? '';
  const gap = text.includes('\n\n') && /^[A-Za-z0-9-]+: /.test(last) ? '\n' : '\n\n';
  return `${text}${gap}Order: ${orderId}\nBranch-Head: ${branchHead}\n`;
}
