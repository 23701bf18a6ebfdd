import { execFileSync } from 'node:child_process';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { startWorkspace } from './lane.ts';
import { type Plan, planOf } from './plan.ts';
import type { Repository } from './values.ts';

export const stamp = {
  author: { name: 'Unit', email: 'unit@ironclaw.test' },
  timestampSec: 1_768_400_000,
};

/** Real git with an identity and without anybody's configuration. */
export function git(cwd: string, ...args: string[]): string {
  const env = {
    PATH: process.env['PATH'],
    HOME: '/nonexistent',
    GIT_CONFIG_GLOBAL: '/dev/null',
    GIT_CONFIG_SYSTEM: '/dev/null',
  };
  const who = ['-c', 'user.name=User', '-c', 'user.email=user@ironclaw.test'];
  return execFileSync('git', [...who, ...args], {
    cwd,
    env,
    encoding: 'utf8',
    stdio: 'pipe',
  }).trimEnd();
}

/** The commit of a branch. */
export function gitTip(root: string, branch: string): string {
  return git(root, 'rev-parse', `refs/heads/${branch}`);
}

export function put(root: string, path: string, text: string): void {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), text);
}

/** Everything of a repository that a refused call must leave as it was. */
export function snapshot({ root }: Repository): string {
  const worktrees = git(root, 'worktree', 'list');
  const refs = git(root, 'for-each-ref');
  const status = git(root, 'status', '--porcelain', '--ignored=no');
  const staged = git(root, 'ls-files', '--stage');
  return [worktrees, refs, git(root, 'symbolic-ref', 'HEAD'), status, staged].join('\n--\n');
}

/** `.lock` files, and files that were waiting to be put in place. */
export function leftovers({ gitDir }: Repository): string[] {
  const names = readdirSync(gitDir, { recursive: true, encoding: 'utf8' });
  return names.filter(
    (name) => name.endsWith('.lock') || /ironclaw\/(stage\/[^/]+\/|hook-)/.test(name),
  );
}

export function fsck({ root }: Repository): void {
  const report = git(root, 'fsck', '--full', '--strict', '--no-dangling');
  if (report !== '') throw new Error(`fsck: ${report}`);
}

export type Rig = Disposable & { repository: Repository; root: string; plan: Plan };

export const lanesText = JSON.stringify({
  lanes: [
    { lane_id: 'lane-b', wp_ids: ['WP02'], depends_on_lanes: ['lane-a'] },
    { lane_id: 'lane-a', wp_ids: ['WP01', 'WP03'], write_scope: ['src/**'] },
  ],
});

/** A repository made by real git, with a mission of two lanes. */
export function rig(slug = '064-demo'): Rig {
  const base = realpathSync(mkdtempSync(join(tmpdir(), 'ironclaw-workspaces-')));
  const root = join(base, 'project');
  mkdirSync(root);
  git(root, 'init', '-q', '-b', 'main');
  put(root, 'README.md', 'one\ntwo\nthree\n');
  put(root, `kitty-specs/${slug}/tasks/WP01.md`, '---\n---\n');
  git(root, 'add', '.');
  git(root, 'commit', '-qm', 'first');
  return {
    root,
    repository: { root, gitDir: join(root, '.git') },
    plan: planOf(slug, lanesText, []),
    [Symbol.dispose]: () => rmSync(base, { recursive: true, force: true }),
  };
}

/** Starts a work package and commits files in its workspace with real git. */
export async function work(
  { repository, plan }: { repository: Repository; plan: Plan },
  wpId: string,
  files: Record<string, string>,
): Promise<string> {
  const started = await startWorkspace({ repository, plan, wpId, targetBranch: 'main', ...stamp });
  if (!started.ok) throw new Error(started.error.message);
  const path = started.value.workspace_path;
  for (const [name, text] of Object.entries(files)) put(path, name, text);
  git(path, 'add', '.');
  git(path, 'commit', '-qm', `work of ${wpId}`);
  return path;
}

export function read(root: string, path: string): string {
  return readFileSync(join(root, path), 'utf8');
}
