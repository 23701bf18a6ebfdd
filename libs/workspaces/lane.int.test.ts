import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { workflowEvidenceMissing } from './evidence.ts';
import { hasImplementationEvidence, locateWorkspace, startWorkspace } from './lane.ts';
import { planOf } from './plan.ts';
import { fsck, git, leftovers, put, rig, snapshot, stamp, work } from './test_kit.ts';

const start = { targetBranch: 'main', ...stamp };

test('a lane gets the branch and the worktree of the reference, once, and git agrees', async () => {
  using r = rig();
  const { root, repository, plan } = r;
  const before = snapshot(repository);
  const located = locateWorkspace(repository, plan, 'WP01');
  expect(snapshot(repository)).toBe(before);
  const input = { repository, plan, ...start };
  const all = await Promise.all(
    ['WP01', 'WP03', 'WP01'].map((wpId) => startWorkspace({ ...input, wpId })),
  );
  const path = join(root, '.worktrees/064-demo-lane-a');
  for (const started of all) {
    expect(started).toEqual({
      ok: true,
      value: {
        workspace_path: path,
        lane_id: 'lane-a',
        lane_branch: 'kitty/mission-064-demo-lane-a',
        lane_base_ref: 'kitty/mission-064-demo',
      },
    });
  }
  expect(all[0]).toEqual(located);
  expect(git(root, 'worktree', 'list').split('\n')).toHaveLength(2);
  expect(git(path, 'status', '--porcelain', '-b')).toBe('## kitty/mission-064-demo-lane-a');
  expect(git(root, 'status', '--porcelain')).toBe('');
  expect(git(root, 'worktree', 'prune', '--dry-run', '-v')).toBe('');
  put(path, 'mine', 'not committed');
  expect((await startWorkspace({ ...input, wpId: 'WP01' })).ok).toBe(true);
  expect(git(path, 'status', '--porcelain')).toBe('?? mine');
  expect(leftovers(repository)).toEqual([]);
  fsck(repository);
});

test('a lane starts with the work of the lanes it depends on; evidence is a commit', async () => {
  using r = rig();
  const { repository, plan } = r;
  expect(await hasImplementationEvidence(repository, plan, 'WP01')).toBeUndefined();
  await startWorkspace({ repository, plan, wpId: 'WP01', ...start });
  expect(await hasImplementationEvidence(repository, plan, 'WP01')).toBe(false);
  await work(r, 'WP01', { 'src/a': 'a\n' });
  expect(await hasImplementationEvidence(repository, plan, 'WP01')).toBe(true);
  const started = await startWorkspace({ repository, plan, wpId: 'WP02', ...start });
  expect(started.ok && existsSync(join(started.value.workspace_path, 'src/a'))).toBe(true);
  expect(await hasImplementationEvidence(repository, plan, 'WP02')).toBe(false);
  const unknown = await startWorkspace({ repository, plan, wpId: 'WP99', ...start });
  expect(unknown).toMatchObject({ error: { code: 'LANE_ALLOCATION_FAILED' } });
});

test('a lane on two others starts with both merged', async () => {
  using r = rig();
  const wps = [
    { wp_id: 'WP03', dependencies: ['WP01', 'WP02'] },
    { wp_id: 'WP01', dependencies: [] },
    { wp_id: 'WP02', dependencies: [] },
  ];
  const plan = planOf('064-demo', undefined, wps);
  expect(plan.lanes.map(({ id }) => id)).toEqual(['WP01', 'WP02', 'WP03']);
  await work({ ...r, plan }, 'WP01', { a: 'a\n' });
  await work({ ...r, plan }, 'WP02', { b: 'b\n' });
  const path = await work({ ...r, plan }, 'WP03', { c: 'c\n' });
  expect(path).toBe(join(r.root, '.worktrees/064-demo-WP03'));
  expect(existsSync(join(path, 'a')) && existsSync(join(path, 'b'))).toBe(true);
  fsck(r.repository);
});

test('what others put in the way is refused and left alone', async () => {
  using r = rig();
  const { root, repository, plan } = r;
  put(root, '.worktrees/064-demo-lane-a/theirs', 'x');
  const first = await startWorkspace({ repository, plan, wpId: 'WP01', ...start });
  expect(first).toMatchObject({ error: { code: 'LANE_ALLOCATION_FAILED' } });
  expect(existsSync(join(root, '.worktrees/064-demo-lane-a/theirs'))).toBe(true);
  rmSync(join(root, '.worktrees'), { recursive: true });
  const branch = 'kitty/mission-064-demo-lane-a';
  git(root, 'worktree', 'add', '-q', '-b', branch, join(root, '../elsewhere'));
  const second = await startWorkspace({ repository, plan, wpId: 'WP01', ...start });
  expect(second).toMatchObject({ error: { message: expect.stringContaining('checked out in') } });
  const lost = await startWorkspace({
    repository,
    plan,
    wpId: 'WP02',
    ...start,
    targetBranch: 'x',
  });
  expect(lost.ok).toBe(true); // the mission branch is there by now
});

test('lanes.json that cannot be used says why', () => {
  expect(() => planOf('s', '{', [])).toThrow('not JSON');
  expect(() => planOf('s', '{"lanes":{}}', [])).toThrow('no list of lanes');
  expect(() => planOf('s', '{"lanes":[{"lane_id":"../x"}]}', [])).toThrow('usable lane_id');
  const twice = { lanes: [{ lane_id: 'a' }, { lane_id: 'a' }] };
  expect(() => planOf('s', JSON.stringify(twice), [])).toThrow('twice');
  const unknown = { lanes: [{ lane_id: 'a', depends_on_lanes: ['b'] }] };
  expect(() => planOf('s', JSON.stringify(unknown), [])).toThrow('unknown lane b');
});

test('a mission that changes workflows owes evidence until the file tells a run', async () => {
  using r = rig();
  const { root, repository, plan } = r;
  await work(r, 'WP01', { 'src/a': 'a\n' });
  expect(await workflowEvidenceMissing(repository, plan, 'main')).toBeUndefined();
  await work(r, 'WP01', { '.github/workflows/ci.yml': 'on: push\n' });
  const path = 'kitty-specs/064-demo/workflow-evidence.md';
  expect(await workflowEvidenceMissing(repository, plan, 'main')).toBe(path);
  put(root, path, 'it ran, believe me: run id 12\n');
  expect(await workflowEvidenceMissing(repository, plan, 'main')).toBe(path);
  put(root, path, 'run id 123456\n');
  expect(await workflowEvidenceMissing(repository, plan, 'main')).toBeUndefined();
  put(root, path, 'https://github.com/o/r/actions/runs/77\n');
  expect(await workflowEvidenceMissing(repository, plan, 'main')).toBeUndefined();
});
