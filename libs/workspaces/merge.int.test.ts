import { chmodSync, existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { startWorkspace } from './lane.ts';
import { merge, type MergeInput, type MergeStrategy, preflight } from './merge.ts';
import {
  fsck,
  git,
  leftovers,
  put,
  read,
  type Rig,
  rig,
  snapshot,
  stamp,
  work,
} from './test_kit.ts';

function input({ repository, plan }: Rig, more: Partial<MergeInput> = {}): MergeInput {
  return { repository, plan, target: 'main', strategy: 'merge', push: false, ...stamp, ...more };
}

/** Two lanes with two commits each, and a main that moved on. */
async function ready(r: Rig): Promise<void> {
  await work(r, 'WP01', { 'src/a': 'a\n' });
  await work(r, 'WP01', { 'src/a2': 'a2\n' });
  await work(r, 'WP02', { b: 'b\n', 'README.md': 'ONE\ntwo\nthree\n' });
  put(r.root, 'README.md', 'one\ntwo\nTHREE\n');
  git(r.root, 'commit', '-qam', 'main moved on');
}

const SHAPES: Record<MergeStrategy, { merges: string; subjects: string[] }> = {
  merge: {
    merges: '1',
    subjects: ['Merge mission 064-demo into main', 'main moved on', 'first'],
  },
  squash: { merges: '0', subjects: ['Mission 064-demo', 'main moved on', 'first'] },
  rebase: {
    merges: '0',
    subjects: ['work of WP02', 'work of WP01', 'work of WP01', 'main moved on', 'first'],
  },
};

test.for(Object.keys(SHAPES) as MergeStrategy[])(
  'D.39 %s brings all files to the target, in a history of its own shape',
  async (strategy) => {
    using r = rig();
    const { root, repository } = r;
    await ready(r);
    put(root, 'staged', 'x\n');
    git(root, 'add', 'staged');
    put(root, 'kitty-specs/064-demo/tasks/WP01.md', 'edited\n');
    expect(await preflight(input(r, { strategy }))).toEqual([]);
    const done = await merge(input(r, { strategy }));
    const commit = git(root, 'rev-parse', 'main');
    expect(done).toEqual({
      ok: true,
      value: { target_branch: 'main', commit, worktree_removed: true },
    });
    const subjects = git(root, 'log', '--first-parent', '--format=%s', 'main').split('\n');
    expect(subjects).toEqual(SHAPES[strategy].subjects);
    expect(git(root, 'rev-list', '--merges', '--first-parent', '--count', 'main')).toBe(
      SHAPES[strategy].merges,
    );
    expect(read(root, 'README.md')).toBe('ONE\ntwo\nTHREE\n');
    expect(read(root, 'src/a2') + read(root, 'b')).toBe('a2\nb\n');
    expect(git(root, 'status', '--porcelain')).toBe(
      ' M kitty-specs/064-demo/tasks/WP01.md\nA  staged',
    );
    expect(git(root, 'worktree', 'list').split('\n')).toHaveLength(1);
    expect(git(root, 'branch', '--list', 'kitty/*')).toBe('');
    expect(existsSync(join(root, '.worktrees/064-demo-lane-a'))).toBe(false);
    expect(await merge(input(r, { strategy }))).toEqual(done);
    expect(git(root, 'rev-parse', 'main')).toBe(commit);
    expect(leftovers(repository)).toEqual([]);
    fsck(repository);
  },
);

test('D.39 packed refs and another checked-out branch: the target moves, the checkout does not', async () => {
  using r = rig();
  const { root, repository } = r;
  await ready(r);
  git(root, 'checkout', '-qb', 'mine');
  git(root, 'pack-refs', '--all');
  git(root, 'repack', '-adq');
  const done = await merge(input(r, { strategy: 'rebase' }));
  expect(done).toMatchObject({ ok: true, value: { worktree_removed: true } });
  expect(git(root, 'for-each-ref', '--format=%(refname:short)')).toBe('main\nmine');
  expect(existsSync(join(root, 'b'))).toBe(false);
  expect(git(root, 'status', '--porcelain', '-b')).toBe('## mine');
  fsck(repository);
});

async function refused(r: Rig, more: Partial<MergeInput> = {}): Promise<string[]> {
  const before = snapshot(r.repository);
  const done = await merge(input(r, more));
  expect(snapshot(r.repository)).toBe(before);
  expect(leftovers(r.repository)).toEqual([]);
  if (done.ok) throw new Error('was merged');
  expect(done.error.code).toBe('PREFLIGHT_FAILED');
  return done.error.data['errors'] as string[];
}

test('D.38 an unknown target, or no lane branches, is named and nothing moves', async () => {
  using r = rig();
  const lanes = [
    'lane lane-a: branch kitty/mission-064-demo-lane-a does not exist',
    'lane lane-b: branch kitty/mission-064-demo-lane-b does not exist',
  ];
  expect(await refused(r)).toEqual(lanes);
  const unknown = 'target branch nowhere does not exist';
  expect(await refused(r, { target: 'nowhere' })).toEqual([unknown, ...lanes]);
  expect(await refused(r, { target: '../x' })).toHaveLength(1);
});

test('D.39 preflight names every problem, not the first', async () => {
  using r = rig();
  const { root, repository, plan } = r;
  const started = { repository, plan, targetBranch: 'main', ...stamp };
  const b = await startWorkspace({ ...started, wpId: 'WP02' });
  if (!b.ok) throw new Error(b.error.message);
  const path = await work(r, 'WP01', { 'src/a': 'a\n', 'README.md': 'lane a\n', new: 'a\n' });
  git(b.value.workspace_path, 'rm', '-q', 'README.md');
  git(b.value.workspace_path, 'commit', '-qm', 'delete');
  put(path, 'forgotten', 'x');
  git(root, 'checkout', '-q', 'kitty/mission-064-demo');
  put(root, 'src/other', 'x');
  git(root, 'add', 'src');
  git(root, 'commit', '-qm', 'on the mission branch');
  git(root, 'checkout', '-q', 'main');
  const errors = await refused(r, { faults: ['WP03 is neither approved nor done'], push: true });
  expect(errors).toEqual([
    'WP03 is neither approved nor done',
    'lane lane-a: not committed: forgotten',
    'lane lane-a is stale: since it started, kitty/mission-064-demo changed src/other',
    'there is no remote origin to push to',
    'lane lane-b conflicts in README.md',
  ]);
});

test('D.39 a dirty checkout, a user in the middle of a merge, a target checked out elsewhere', async () => {
  using r = rig();
  const { root } = r;
  await ready(r);
  put(root, 'README.md', 'mine\n');
  put(root, 'b', 'mine too\n');
  expect(await refused(r)).toEqual(['the checkout of main has changes in README.md, b']);
  git(root, 'stash', '-qu');
  put(root, '.git/MERGE_HEAD', git(root, 'rev-parse', 'HEAD'));
  expect(await refused(r)).toHaveLength(1);
  git(root, 'merge', '--quit');
  git(root, 'checkout', '-qb', 'mine');
  git(root, 'worktree', 'add', '-q', join(root, '../other'), 'main');
  const [error] = await refused(r);
  expect(error).toContain('target branch main is checked out in');
});

test.for([
  ['merge', 'pre-merge-commit'],
  ['squash', 'pre-commit'],
] as const)('D.39 %s: the hook %s that fails leaves all as it was', async ([strategy, name]) => {
  using r = rig();
  await ready(r);
  put(r.root, `.git/hooks/${name}`, '#!/bin/sh\necho no\nexit 1\n');
  chmodSync(join(r.root, '.git/hooks', name), 0o755);
  expect(await refused(r, { strategy })).toEqual([`the hook ${name} failed: no`]);
});

test('D.39 push: the remote gets the commit, and one that refuses stops the merge', async () => {
  using r = rig();
  const { root } = r;
  await ready(r);
  const remote = join(root, '../remote.git');
  git(root, 'init', '-q', '--bare', remote);
  git(root, 'remote', 'add', 'origin', remote);
  git(root, 'push', '-q', 'origin', 'main');
  put(remote, 'hooks/update', '#!/bin/sh\nexit 1\n');
  chmodSync(join(remote, 'hooks/update'), 0o755);
  const [error] = await refused(r, { push: true });
  expect(error).toContain('the push to origin failed');
  chmodSync(join(remote, 'hooks/update'), 0o644);
  const done = await merge(input(r, { push: true }));
  expect(done).toMatchObject({ ok: true, value: { commit: git(remote, 'rev-parse', 'main') } });
  expect(git(root, 'rev-parse', 'main')).toBe(git(remote, 'rev-parse', 'main'));
});

test('D.39 two merges at once are one; work after a merge is merged by the next', async () => {
  using r = rig();
  const { root } = r;
  await ready(r);
  const [one, two] = await Promise.all([merge(input(r)), merge(input(r, { strategy: 'squash' }))]);
  expect(one?.ok).toBe(true);
  expect(two).toEqual(one);
  await work(r, 'WP01', { 'src/late': 'late\n' });
  expect(await merge(input(r))).toMatchObject({ ok: true, value: { worktree_removed: true } });
  expect(read(root, 'src/late')).toBe('late\n');
  fsck(r.repository);
});
