import { execFileSync } from 'node:child_process';
import { appendFileSync, mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type OpenedTheater, openTheater, type Theater } from './theater.ts';

export const author = { name: 'Unit', email: 'unit@ironclaw.test' };
export const at = 1_768_400_000;

/** Real git without anybody's configuration. */
export function git(cwd: string, ...args: string[]): string {
  const env = {
    PATH: process.env['PATH'],
    HOME: '/nonexistent',
    GIT_CONFIG_GLOBAL: '/dev/null',
    GIT_CONFIG_SYSTEM: '/dev/null',
  };
  return execFileSync('git', args, { cwd, env, encoding: 'utf8', stdio: 'pipe' }).trimEnd();
}

/** As `git`, with an identity for commands that commit. */
export function gitAs(cwd: string, ...args: string[]): string {
  return git(cwd, '-c', 'user.name=User', '-c', 'user.email=user@ironclaw.test', ...args);
}

/** Throws unless git finds nothing wrong with the repository. */
export function fsck(repoPath: string): void {
  const report = git(repoPath, 'fsck', '--full', '--strict', '--no-dangling');
  if (report !== '') throw new Error(`fsck: ${report}`);
}

export type Scratch = Disposable & {
  root: string;
  theater: (id?: string) => Promise<OpenedTheater>;
};

/** A folder of its own for one test, with a way to open our kind of theater in it. */
export function scratch(): Scratch {
  const root = realpathSync(mkdtempSync(join(tmpdir(), 'ironclaw-worktrees-')));
  return {
    root,
    theater: (theaterId = 'demo') =>
      openTheater({
        theaterId,
        repoPath: join(root, 'theaters', theaterId, 'repo'),
        author,
        timestampSec: at,
      }),
    [Symbol.dispose]: () => rmSync(root, { recursive: true, force: true }),
  };
}

/** A lane of a mission in a theater, with a workspace that real git made; theater as orders see it. */
export function laneOf(theater: OpenedTheater): { lane: Theater; path: string } {
  const branch = 'kitty/mission-064-demo-lane-a';
  const path = join(theater.repoPath, '.worktrees', '064-demo-lane-a');
  appendFileSync(join(theater.gitDir, 'info', 'exclude'), '/.worktrees/\n');
  git(theater.repoPath, 'worktree', 'add', '-q', '-b', branch, path, theater.mainline);
  return { lane: { ...theater, mainline: branch }, path };
}
