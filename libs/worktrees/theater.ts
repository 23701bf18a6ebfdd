import fs, { lstatSync, mkdirSync, readdirSync, realpathSync, statSync } from 'node:fs';
import { basename, dirname, isAbsolute, join, normalize } from 'node:path';
import git from 'isomorphic-git';
import { AppError, invalid } from '#libs/contracts';
import { type Author, loadCommit, requireCommitInput, writeCommit } from './commits.ts';
import { formatIndex } from './index_file.ts';
import { WORKTREE_LIMITS } from './limits.ts';
import { makeFolder } from './make_folder.ts';
import { type Hold, MAINLINE_LOCK, stateDir, withLock } from './lock.ts';
import { finishPromotion } from './mainline.ts';
import { hasCode, requireId } from './names.ts';
import { EMPTY_TREE, writeObject } from './objects.ts';
import { branchRef, findRef, headBranch, moveRef, readText } from './refs.ts';

/** An open theater: plain data, safe to keep, to send and to rebuild by opening again. */
export type Theater = {
  theaterId: string;
  /** Real path of the repository's checkout. */
  repoPath: string;
  /** Its git dir. */
  gitDir: string;
  /** Folder of the worktrees, one `order_<id>` each. */
  worktreesPath: string;
  /** Folder of the archives. */
  archivePath: string;
  /** The branch that integration moves: HEAD's branch when the theater was first opened. */
  mainline: string;
};

export type OpenedTheater = Theater & {
  /** The mainline's commit. */
  headSha: string;
  /** True if this call made the repository. */
  created: boolean;
};

/**
 * Opens a theater on a repository, made with one empty commit on `main` where `repoPath` is absent
 * or an empty folder; an existing one keeps its history, and its HEAD branch becomes the mainline.
 * Repeating is harmless, finishes what a crash left half done, and keeps the first mainline.
 *
 * Worktrees and archives lie beside a repository at `…/<theater_id>/repo`, and otherwise inside the
 * git dir at `ironclaw/theaters/<theater_id>/`, so a user's folders see nothing of them.
 * @throws {INVALID_REQUEST} for a path that is not absolute, `/`, a file, a non-empty folder that
 * is no repository, a bare or linked one, a detached HEAD, or a repository format we cannot read.
 */
export async function openTheater(input: {
  theaterId: string;
  repoPath: string;
  author: Author;
  timestampSec: number;
}): Promise<OpenedTheater> {
  const theaterId = requireId('theater_id', input.theaterId);
  requireCommitInput(input.author, input.timestampSec, 'first commit');
  const { path: repoPath, kind } = inspectRepoPath(input.repoPath);
  const gitDir = join(repoPath, '.git');
  if (kind === 'repository') await checkFormat(gitDir);
  else mkdirSync(stateDir(gitDir), { recursive: true });
  return withLock(gitDir, MAINLINE_LOCK, async (hold) => {
    const created = readText(join(gitDir, 'HEAD')) === undefined;
    const first = { theaterId, author: input.author, timestampSec: input.timestampSec };
    if (created) await makeRepository(hold, gitDir, first);
    const mainline = await keepMainline(hold, gitDir, first);
    const theater: Theater = {
      theaterId,
      repoPath,
      gitDir,
      ...foldersOf(theaterId, repoPath, gitDir),
      mainline,
    };
    mkdirSync(theater.worktreesPath, { recursive: true });
    mkdirSync(theater.archivePath, { recursive: true });
    await finishPromotion(hold, theater);
    return { ...theater, headSha: mainlineSha(theater), created };
  });
}

/** The mainline's commit. @throws {THEATER_NOT_FOUND} if the repository or the branch is gone. */
export function mainlineSha(theater: Theater): string {
  const sha = findRef(theater.gitDir, branchRef(theater.mainline));
  if (sha === undefined) {
    const details = { repoPath: theater.repoPath, mainline: theater.mainline };
    throw new AppError('THEATER_NOT_FOUND', { id: theater.theaterId }, { details });
  }
  return sha;
}

/** Is there such a branch in the theater's repository? */
export function hasBranch({ gitDir }: Theater, branch: string): boolean {
  return findRef(gitDir, branchRef(branch)) !== undefined;
}

function foldersOf(theaterId: string, repoPath: string, gitDir: string) {
  const parent = dirname(repoPath);
  const ours = basename(repoPath) === 'repo' && basename(parent) === theaterId;
  const base = ours ? parent : join(stateDir(gitDir), 'theaters', theaterId);
  return { worktreesPath: join(base, 'worktrees'), archivePath: join(base, 'archive') };
}

type RepoPath = { path: string; kind: 'repository' | 'new' };

function inspectRepoPath(value: string): RepoPath {
  const field = 'repo_path';
  if (typeof value !== 'string' || !isAbsolute(value) || value.includes('\0')) {
    throw invalid(field, 'must be an absolute path');
  }
  if (value.length > WORKTREE_LIMITS.pathChars) throw invalid(field, 'is too long');
  // `..` is refused rather than resolved: behind a link it would mean another folder.
  if (value.split('/').includes('..')) throw invalid(field, 'must not contain ..');
  const path = normalize(value).replace(/\/+$/, '');
  if (path === '') throw invalid(field, 'must not be the root folder');
  try {
    makeFolder(path);
    if (!statSync(path).isDirectory()) throw invalid(field, 'is not a folder');
  } catch (error) {
    if (hasCode(error, 'ENOTDIR')) throw invalid(field, 'is not a folder');
    const cannot = ['EACCES', 'ENOENT', 'EROFS', 'EPERM', 'ELOOP', 'ENAMETOOLONG'];
    if (hasCode(error, ...cannot)) throw invalid(field, 'cannot be created');
    throw error;
  }
  const real = realpathSync(path);
  return { path: real, kind: kindOfFolder(real, field) };
}

function kindOfFolder(path: string, field: string): RepoPath['kind'] {
  const names = readdirSync(path);
  const dotGit = lstatSync(join(path, '.git'), { throwIfNoEntry: false });
  if (dotGit?.isDirectory()) {
    if (readText(join(path, '.git', 'HEAD')) !== undefined) return 'repository';
    // Without HEAD it is no repository: ours half made by a call that died, or somebody's folder.
    const ours = lstatSync(stateDir(join(path, '.git')), { throwIfNoEntry: false });
    if (ours && names.length === 1) return 'new';
  } else if (dotGit) {
    throw invalid(field, 'is a linked worktree or submodule; name the main checkout');
  }
  if (names.includes('HEAD') && names.includes('objects')) throw invalid(field, 'is a bare repo');
  if (names.length > 0) throw invalid(field, 'is a folder with files that is no git repository');
  return 'new';
}

/** @throws {INVALID_REQUEST} for a format of repository that we cannot read. */
export async function checkFormat(gitDir: string): Promise<void> {
  const config = (path: string) => git.getConfig({ fs, gitdir: gitDir, path });
  const wanted: [string, (value: string) => boolean][] = [
    ['extensions.objectformat', (value) => value === 'sha1'],
    ['extensions.refstorage', (value) => value === 'files'],
    ['extensions.partialclone', () => false],
    ['core.bare', (value) => value !== 'true'],
  ];
  for (const [path, isFine] of wanted) {
    const value: unknown = await config(path);
    if (value === undefined || isFine(`${value as string | number | boolean}`)) continue;
    throw invalid('repo_path', `is a repository with ${path} = ${value as string}`);
  }
  if (readText(join(gitDir, 'objects', 'info', 'alternates'))?.trim()) {
    throw invalid('repo_path', 'is a repository that borrows objects (alternates)');
  }
}

type First = { theaterId: string; author: Author; timestampSec: number };

// HEAD comes last: without it git sees no repository, and the next call starts over.
async function makeRepository(hold: Hold, gitDir: string, first: First): Promise<void> {
  for (const folder of ['objects/info', 'objects/pack', 'refs/heads', 'refs/tags', 'info']) {
    mkdirSync(join(gitDir, folder), { recursive: true });
  }
  const symlinks = process.platform === 'win32' ? '\tsymlinks = false\n' : '';
  const fileMode = process.platform !== 'win32';
  hold.write(
    join(gitDir, 'config'),
    `[core]\n\trepositoryformatversion = 0\n\tfilemode = ${fileMode}\n\tbare = false\n` +
      `\tlogallrefupdates = true\n${symlinks}`,
  );
  hold.write(join(gitDir, 'index'), formatIndex([]));
  await firstCommit(hold, gitDir, 'main', first);
  hold.write(join(gitDir, 'HEAD'), 'ref: refs/heads/main\n');
}

async function firstCommit(hold: Hold, gitDir: string, branch: string, first: First) {
  if (findRef(gitDir, branchRef(branch)) !== undefined) return;
  writeObject(gitDir, 'tree', new Uint8Array());
  const { author, timestampSec } = first;
  const message = `Open theater ${first.theaterId}`;
  const commit = { tree: EMPTY_TREE, parents: [], author, timestampSec, message };
  await moveRef(hold, gitDir, branchRef(branch), writeCommit(gitDir, commit), undefined);
}

// The mainline is chosen once: a later checkout of another branch must not redirect integration.
async function keepMainline(hold: Hold, gitDir: string, first: First): Promise<string> {
  const path = join(stateDir(gitDir), 'theaters', first.theaterId, 'theater.json');
  const kept = readText(path);
  if (kept !== undefined) return (JSON.parse(kept) as { mainline: string }).mainline;
  const mainline = headBranch(gitDir);
  if (mainline === undefined) throw invalid('repo_path', 'has a detached HEAD; check out a branch');
  await firstCommit(hold, gitDir, mainline, first);
  const head = findRef(gitDir, branchRef(mainline)) ?? '';
  await loadCommit(gitDir, head); // fails here rather than at the first order
  hold.write(path, `${JSON.stringify({ mainline })}\n`);
  return mainline;
}
