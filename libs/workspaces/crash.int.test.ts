import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { finish, start } from './test_child.ts';
import { fsck, git, leftovers, put, read, type Rig, rig, work } from './test_kit.ts';

const childFile = join(import.meta.dirname, 'test_child.ts');

/** Runs the child until its n-th change of a file; true if it was killed there. */
async function isKilled(r: Rig, mode: string, dieAt: number): Promise<boolean> {
  const child = spawn(process.execPath, [childFile, JSON.stringify(r.repository), mode], {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { ...process.env, IRONCLAW_DIE_AT: String(dieAt) },
  });
  onTestFinished(() => void child.kill('SIGKILL')); // where the test fails before it ends
  await once(child, 'exit');
  if (child.exitCode !== 0) expect(child.signalCode).toBe('SIGKILL');
  return child.signalCode === 'SIGKILL';
}

/** One change in so many, others on every run; IRONCLAW_KILL_EVERY=1 tries them all. */
async function killAtChanges(
  every: number,
  atLeast: number,
  attempt: (dieAt: number) => Promise<boolean>,
): Promise<void> {
  const step = Number(process.env['IRONCLAW_KILL_EVERY'] ?? every);
  let dieAt = 1 + (Date.now() % step);
  while (await attempt(dieAt)) dieAt += step;
  expect(dieAt).toBeGreaterThan(atLeast);
}

function judge(r: Rig, status: string): void {
  expect(git(r.root, 'status', '--porcelain')).toBe(status);
  expect(git(r.root, 'worktree', 'prune', '--dry-run', '-v')).toBe('');
  expect(leftovers(r.repository)).toEqual([]);
  fsck(r.repository);
}

test('a start killed at any change of the files is completed by the same calls', async () => {
  await killAtChanges(17, 30, async (dieAt) => {
    using r = rig();
    put(r.root, 'staged', 'x');
    git(r.root, 'add', 'staged');
    const killed = await isKilled(r, 'start', dieAt);
    await start(r.repository);
    expect(git(r.root, 'rev-list', '--count', 'main')).toBe('2');
    expect(git(r.root, 'worktree', 'list').split('\n')).toHaveLength(3);
    for (const lane of ['lane-a', 'lane-b']) {
      const path = join(r.root, '.worktrees', `064-demo-${lane}`);
      const branch = `## kitty/mission-064-demo-${lane}`;
      expect(git(path, 'status', '--porcelain', '-b')).toBe(branch);
    }
    judge(r, 'A  staged');
    return killed;
  });
}, 240_000);

test.each(['merge', 'squash', 'rebase'] as const)(
  'D.39 a %s killed at any change of the files is completed by the same call',
  async (strategy) => {
    await killAtChanges(13, 30, async (dieAt) => {
      using r = rig();
      const { root } = r;
      await work(r, 'WP01', { 'src/a': 'a\n', 'README.md': 'new\n' });
      await work(r, 'WP02', { b: 'b\n' });
      put(root, 'staged', 'x');
      git(root, 'add', 'staged');
      const before = git(root, 'rev-parse', 'main');
      const killed = await isKilled(r, strategy, dieAt);
      const between = git(root, 'rev-parse', 'main');
      const commit = await finish(r.repository, strategy);
      expect(git(root, 'rev-parse', 'main')).toBe(commit);
      // Moved in one step or not at all; what has moved is not merged again.
      if (between !== before) expect(commit).toBe(between);
      const own = { merge: '1', squash: '1', rebase: '2' }[strategy];
      expect(git(root, 'rev-list', '--first-parent', '--count', `${before}..main`)).toBe(own);
      expect(read(root, 'README.md') + read(root, 'src/a') + read(root, 'b')).toBe('new\na\nb\n');
      expect(git(root, 'worktree', 'list').split('\n')).toHaveLength(1);
      expect(git(root, 'branch', '--list', 'kitty/*')).toBe('');
      judge(r, 'A  staged');
      return killed;
    });
  },
  240_000,
);
