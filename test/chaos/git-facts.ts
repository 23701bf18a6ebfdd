import { execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Where a theater's repository lies, as THEATER_OPENED tells. */
export type TheaterPlace = {
  theaterId: string;
  repoPath: string;
  worktreesPath: string;
  mainline: string;
};

/** A commit of the mainline's first parents. */
export type Promotion = { sha: string; orderId: string | null; parents: string[] };
export type WorktreeFact = { path: string; locked: boolean; prunable: boolean };

/** What git itself, not our code, says of a theater. */
export type TheaterFacts = TheaterPlace & {
  /** All commits that are in the mainline's history. */
  onMainline: ReadonlySet<string>;
  /** Oldest first. */
  promotions: readonly Promotion[];
  /** Linked worktrees; the repository's own checkout is left out. */
  worktrees: readonly WorktreeFact[];
  /** What lies in the worktrees folder. */
  folders: readonly string[];
  /** What `git fsck --strict` has to say. */
  fsck: readonly string[];
  /** What `git status` says of the mainline's checkout. */
  dirty: readonly string[];
  /** Locks and unfinished files in the repository. */
  leftovers: readonly string[];
};

/** Real git, without the user's configuration; answers its output. */
export async function git(cwd: string, ...args: string[]): Promise<string> {
  const { stdout } = await run('git', args, {
    cwd,
    env: gitEnv(),
    maxBuffer: 256 * 1024 * 1024,
  });
  return stdout.trimEnd();
}

function gitEnv(): Record<string, string> {
  return {
    PATH: process.env.PATH ?? '',
    GIT_CONFIG_GLOBAL: '/dev/null',
    GIT_CONFIG_SYSTEM: '/dev/null',
    // Looking must change nothing, not even the index.
    GIT_OPTIONAL_LOCKS: '0',
  };
}

export async function lookAtTheater(place: TheaterPlace): Promise<TheaterFacts> {
  const { repoPath, worktreesPath, mainline } = place;
  const ref = `refs/heads/${mainline}`;
  const format = '--format=%H %P%x00%(trailers:key=Order,valueonly,separator=%x20)';
  const [all, first, worktrees, fsck, dirty] = await Promise.all([
    git(repoPath, 'rev-list', ref),
    git(repoPath, 'log', '--first-parent', '--reverse', format, ref),
    git(repoPath, 'worktree', 'list', '--porcelain'),
    fsckOf(repoPath),
    git(repoPath, 'status', '--porcelain'),
  ]);
  return {
    ...place,
    onMainline: new Set(lines(all)),
    promotions: lines(first).map((line) => {
      const [shas = '', trailer = ''] = line.split('\0');
      const [sha = '', ...parents] = shas.trim().split(' ');
      return { sha, orderId: trailer.trim() || null, parents };
    }),
    worktrees: worktreesOf(worktrees).slice(1),
    folders: existsSync(worktreesPath) ? readdirSync(worktreesPath).sort() : [],
    fsck,
    dirty: lines(dirty),
    leftovers: leftoversIn(join(repoPath, '.git')),
  };
}

async function fsckOf(repoPath: string): Promise<string[]> {
  try {
    return lines(await git(repoPath, 'fsck', '--strict', '--no-dangling', '--no-progress'));
  } catch (error) {
    const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string };
    return ['git fsck fails', ...lines(`${stdout}\n${stderr}`)];
  }
}

/** One block for each worktree, the repository's own first. */
function worktreesOf(porcelain: string): WorktreeFact[] {
  return porcelain
    .split('\n\n')
    .filter((block) => block.trim() !== '')
    .map((block) => {
      const [first = '', ...rest] = block.trim().split('\n');
      return {
        path: first.replace(/^worktree /, ''),
        locked: rest.some((line) => /^locked\b/.test(line)),
        prunable: rest.some((line) => /^prunable\b/.test(line)),
      };
    });
}

const LEFTOVER = /\.lock$|^tmp_|\.tmp$|^MERGE_/;
/** What any git leaves of an object that it was killed at; `git gc` removes them. */
const UNFINISHED_OBJECT = /^objects\/[0-9a-f]{2}\/tmp_obj_/;

function leftoversIn(gitDir: string): string[] {
  return readdirSync(gitDir, { recursive: true, encoding: 'utf8' }).filter(
    (name) => LEFTOVER.test(basename(name)) && !UNFINISHED_OBJECT.test(name),
  );
}

/**
 * SHA-256 of files at commits, each named `<commit>:<path>`; null where the commit has none. One
 * `git cat-file` for all of them.
 */
export async function digestsAt(
  repoPath: string,
  names: readonly string[],
): Promise<Map<string, string | null>> {
  const found = new Map<string, string | null>();
  if (names.length === 0) return found;
  const child = spawn('git', ['cat-file', '--batch'], { cwd: repoPath, env: gitEnv() });
  const chunks: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
  const closed = new Promise<void>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', () => resolve());
  });
  child.stdin.end(names.map((name) => `${name}\n`).join(''));
  await closed;
  const output = Buffer.concat(chunks);
  let at = 0;
  for (const name of names) {
    const end = output.indexOf(10, at);
    const head = output.subarray(at, end).toString();
    at = end + 1;
    const size = / blob (\d+)$/.exec(head)?.[1];
    found.set(name, null);
    if (size === undefined) continue;
    const bytes = output.subarray(at, at + Number(size));
    found.set(name, createHash('sha256').update(bytes).digest('hex'));
    at += Number(size) + 1;
  }
  return found;
}

function lines(text: string): string[] {
  return text.split('\n').filter((line) => line.trim() !== '');
}
