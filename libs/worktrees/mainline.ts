import { appendFileSync, lstatSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join, relative } from 'node:path';
import { AppError } from '#libs/contracts';
import { findCheckout } from './branch_checkout.ts';
import { makeFile, removeFile, writeTreeFiles } from './checkout.ts';
import { type Author, loadCommit } from './commits.ts';
import {
  carryOver,
  formatIndex,
  type GitIndex,
  type IndexEntry,
  indexEntry,
  isRacy,
  NO_STAMP,
  readIndex,
  sameStamp,
  stampOf,
} from './index_file.ts';
import { type Claim, type Hold, stateDir } from './lock.ts';
import { fileDetail } from './names.ts';
import { branchRef, findRef, moveRef, readText } from './refs.ts';
import { readState } from './scan.ts';
import type { Theater } from './theater.ts';
import { type Change, diffTrees, Mode, type TreeFile } from './trees.ts';

/** A move of the mainline: what is written down before the ref moves, until the files follow. */
type Journal = { mainline: string; from: string; to: string };

/**
 * Moves the mainline from one commit to another and its checkout along, if it has one: the main
 * one, or a linked worktree as of a mission's lane. Only the files that differ are looked at and
 * written; other edits of the user stay as they are.
 * @throws {MAINLINE_DIRTY} before anything moves, if one of those files has changes of its own.
 * @throws {VERSION_CONFLICT} if the mainline is no longer at `from`.
 */
export async function promote(
  hold: Hold,
  theater: Theater,
  from: string,
  to: string,
  log: { author: Author; timestampSec: number; message: string },
): Promise<void> {
  const { gitDir, mainline } = theater;
  const ref = branchRef(mainline);
  const checkout = findCheckout(theater, mainline);
  if (checkout === undefined) {
    await moveRef(hold, gitDir, ref, to, from);
    return;
  }
  const indexPath = join(checkout.adminPath, 'index');
  // From here to the end a git command of the user waits for us, or we for it.
  const indexClaim = await hold.claim(indexPath);
  let done = false;
  try {
    const index = readIndex(indexPath);
    const changes = await changesBetween(gitDir, from, to);
    const dirty = findDirty(checkout.path, index, changes);
    if (dirty.length > 0) throw mainlineDirty(dirty);
    const journal: Journal = { mainline, from, to };
    hold.write(journalPath(gitDir), JSON.stringify(journal));
    await moveRef(hold, gitDir, ref, to, from);
    appendReflog([join(gitDir, 'logs', ref), headLog(checkout.adminPath)], from, to, log);
    await updateCheckout(hold, gitDir, checkout.path, index, changes, indexClaim);
    done = true;
    rmSync(journalPath(gitDir));
  } finally {
    if (!done) indexClaim.abort();
  }
}

/**
 * Moves the branch of the checkout to a commit whose changed files lie in the checkout already, as
 * `entries` say; what else is staged stays staged. A process that dies in it is finished by
 * `finishPromotion`.
 * @throws {VERSION_CONFLICT} if the branch is no longer at `from`.
 */
export async function adopt(
  hold: Hold,
  theater: Pick<Theater, 'gitDir' | 'mainline'>,
  move: { from: string; to: string; entries: readonly IndexEntry[]; gone: readonly string[] },
  log: { author: Author; timestampSec: number; message: string },
): Promise<void> {
  const { gitDir, mainline } = theater;
  const { from, to, entries } = move;
  const indexClaim = await hold.claim(join(gitDir, 'index'));
  let done = false;
  try {
    const index = readIndex(join(gitDir, 'index'));
    const touched = new Set([...entries.map(({ path }) => path), ...move.gone]);
    const kept = index.entries.filter(({ path }) => !touched.has(path));
    const bytes = formatIndex([...carryOver(kept, index.mtimeNs), ...entries]);
    hold.write(journalPath(gitDir), JSON.stringify({ mainline, from, to } satisfies Journal));
    await moveRef(hold, gitDir, branchRef(mainline), to, from);
    const logs = [join(gitDir, 'logs', branchRef(mainline)), headLog(gitDir)];
    appendReflog(logs, from, to, log);
    indexClaim.commit(bytes);
    done = true;
    rmSync(journalPath(gitDir));
  } finally {
    if (!done) indexClaim.abort();
  }
}

/** Files that stop a move of the mainline, because the checkout has changes of its own in them. */
export async function dirtyFiles(theater: Theater, from: string, to: string): Promise<string[]> {
  const checkout = findCheckout(theater, theater.mainline);
  if (checkout === undefined) return [];
  const index = readIndex(join(checkout.adminPath, 'index'));
  return findDirty(checkout.path, index, await changesBetween(theater.gitDir, from, to));
}

/**
 * Brings the checkout to where its branch is, if the process that moved that died before it: a
 * theater's mainline or a lane of a mission, whichever it was.
 */
export async function finishPromotion(hold: Hold, theater: Theater): Promise<void> {
  const { gitDir } = theater;
  const text = readText(journalPath(gitDir));
  if (text === undefined) return;
  const journal = JSON.parse(text) as Journal;
  const moved = findRef(gitDir, branchRef(journal.mainline)) === journal.to;
  const checkout = findCheckout(theater, journal.mainline);
  // Not moved: it died before the ref. Moved on, or HEAD elsewhere: the user has taken over.
  if (moved && checkout !== undefined) {
    const { path, adminPath } = checkout;
    const indexClaim = await hold.claim(join(adminPath, 'index'));
    let done = false;
    try {
      const index = readIndex(join(adminPath, 'index'));
      const changes = await changesBetween(gitDir, journal.from, journal.to);
      const untouched = changes.filter((change) => isEither(path, change));
      const edited = changes.filter((change) => !untouched.includes(change));
      const unedited = withoutFiles(index, edited);
      await updateCheckout(hold, gitDir, path, unedited, untouched, indexClaim);
      done = true;
    } finally {
      if (!done) indexClaim.abort();
    }
  }
  rmSync(journalPath(gitDir));
}

function journalPath(gitDir: string): string {
  return join(stateDir(gitDir), 'promotion.json');
}

async function changesBetween(gitDir: string, from: string, to: string): Promise<Change[]> {
  const [before, after] = [await loadCommit(gitDir, from), await loadCommit(gitDir, to)];
  return diffTrees(gitDir, before.tree, after.tree);
}

/** The paths where index or file are not as in the commit before: replacing them loses work. */
function findDirty(dir: string, index: GitIndex, changes: readonly Change[]): string[] {
  const entries = Map.groupBy(index.entries, (entry) => entry.path);
  const leaving = new Set(changes.flatMap(({ before }) => (before ? [before.path] : [])));
  const dirty = changes.filter(({ path, before, after }) => {
    const here = entries.get(path) ?? [];
    if (!before) return here.length > 0 || !isFree(dir, path, after, leaving);
    const [entry] = here;
    if (here.length !== 1 || entry?.stage !== 0) return true;
    if (entry.oid !== before.oid || entry.mode !== before.mode) return true;
    return !isUnedited(dir, entry, index.mtimeNs);
  });
  return dirty.map(({ path }) => path);
}

function isUnedited(dir: string, entry: IndexEntry, indexMtimeNs: bigint): boolean {
  if (entry.skipWorktree || entry.mode === Mode.gitlink) return true;
  if (blockedAt(dir, entry.path) !== undefined) return false;
  const stat = lstatSync(join(dir, entry.path), { bigint: true, throwIfNoEntry: false });
  if (!stat) return false;
  if (sameStamp(entry.stamp, stampOf(stat)) && !isRacy(entry.stamp, indexMtimeNs)) return true;
  const state = readState(dir, entry.path);
  return state?.oid === entry.oid && state.mode === entry.mode;
}

/** True if nothing of the user lies where a new file goes, or the very same file does. */
function isFree(dir: string, path: string, after: TreeFile | undefined, leaving: Set<string>) {
  const blocked = blockedAt(dir, path);
  if (blocked !== undefined) return leaving.has(blocked);
  const stat = lstatSync(join(dir, path), { throwIfNoEntry: false });
  if (!stat) return true;
  if (stat.isDirectory()) return filesBelow(dir, path).every((file) => leaving.has(file));
  const state = readState(dir, path);
  return state !== undefined && state.oid === after?.oid && state.mode === after.mode;
}

function filesBelow(dir: string, path: string): string[] {
  return readdirSync(join(dir, path), { withFileTypes: true, recursive: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => relative(dir, join(entry.parentPath, entry.name)));
}

/** The part of a path above its last that exists and is no folder (a file or a link), if any. */
function blockedAt(dir: string, path: string): string | undefined {
  const parts = path.split('/').slice(0, -1);
  for (let i = 1; i <= parts.length; i++) {
    const up = parts.slice(0, i).join('/');
    const stat = lstatSync(join(dir, up), { throwIfNoEntry: false });
    if (!stat) return undefined;
    if (!stat.isDirectory()) return up;
  }
  return undefined;
}

/** True if a file is as before or as after the move, or missing: nothing of the user is in it. */
function isEither(dir: string, change: Change): boolean {
  if (blockedAt(dir, change.path) !== undefined) return false;
  const stat = lstatSync(join(dir, change.path), { throwIfNoEntry: false });
  if (!stat) return true;
  if (stat.isDirectory()) return change.after?.mode === Mode.gitlink;
  const state = readState(dir, change.path);
  return [change.before, change.after].some(
    (side) => side !== undefined && state?.oid === side.oid && state.mode === side.mode,
  );
}

/** In the index only, edited files become what the new commit says; the user's edits then show. */
function withoutFiles(index: GitIndex, edited: readonly Change[]): GitIndex {
  const paths = new Set(edited.map((change) => change.path));
  const kept = index.entries.filter((entry) => !paths.has(entry.path));
  const now = edited.flatMap(({ after }) =>
    after ? [indexEntry(after.path, after.mode, after.oid, NO_STAMP)] : [],
  );
  return { ...index, entries: [...kept, ...now] };
}

async function updateCheckout(
  hold: Hold,
  gitDir: string,
  dir: string,
  index: GitIndex,
  changes: readonly Change[],
  indexClaim: Claim,
): Promise<void> {
  const skipped = new Set(
    index.entries.filter((entry) => entry.skipWorktree).map((entry) => entry.path),
  );
  const wanted = changes.filter((change) => !skipped.has(change.path));
  for (const { path, before, after } of wanted) {
    if (before && !after && before.mode !== Mode.gitlink) removeFile(dir, path);
  }
  const files = wanted.flatMap(({ after }) => (after ? [after] : []));
  const written = await writeTreeFiles(gitDir, dir, files, (file, full, bytes) => {
    const from = hold.temp();
    makeFile(from, file.mode, bytes);
    renameSync(from, full);
  });
  const touched = new Set(changes.map((change) => change.path));
  const kept = index.entries.filter((entry) => !touched.has(entry.path));
  const entries = [...carryOver(kept, index.mtimeNs), ...written];
  for (const { path, after } of changes) {
    if (!after || !skipped.has(path)) continue;
    entries.push({ ...indexEntry(path, after.mode, after.oid, NO_STAMP), skipWorktree: true });
  }
  indexClaim.commit(formatIndex(entries));
}

function mainlineDirty(files: string[]): AppError {
  const { text, details } = fileDetail(files);
  return new AppError('MAINLINE_DIRTY', { files: text }, { details });
}

function headLog(adminPath: string): string {
  return join(adminPath, 'logs', 'HEAD');
}

// Where the user's git keeps reflogs, the promotion is found there as well.
function appendReflog(
  paths: readonly string[],
  from: string,
  to: string,
  log: { author: Author; timestampSec: number; message: string },
): void {
  const who = `${log.author.name} <${log.author.email}> ${log.timestampSec} +0000`;
  const subject = log.message.split('\n', 1)[0];
  for (const path of paths) {
    if (!lstatSync(path, { throwIfNoEntry: false })) continue;
    appendFileSync(path, `${from} ${to} ${who}\tironclaw: ${subject}\n`);
  }
}
