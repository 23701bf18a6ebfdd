import { expect, test } from 'vitest';
import { merge } from './merge.ts';
import { startReview } from './review.ts';
import { fsck, git, gitTip, leftovers, rig, snapshot, stamp, work } from './test_kit.ts';

const BRANCH = 'kitty/review-064-demo-WP01';
const LANE = 'kitty/mission-064-demo-lane-a';

test('a review starts at the lane’s tip, stays while that is in it, and starts anew after', async () => {
  using r = rig();
  const { root, repository, plan } = r;
  const before = snapshot(repository);
  const early = await startReview(repository, plan, 'WP01');
  expect(early).toMatchObject({ error: { code: 'LANE_ALLOCATION_FAILED' } });
  expect(await startReview(repository, plan, 'WP99')).toMatchObject({ ok: false });
  expect(snapshot(repository)).toBe(before);
  await work(r, 'WP01', { 'src/a': 'a\n' });
  const value = { branch: BRANCH, lane_id: 'lane-a', lane_branch: LANE };
  const all = await Promise.all([1, 2, 3].map(() => startReview(repository, plan, 'WP01')));
  for (const started of all) expect(started).toEqual({ ok: true, value });
  expect(gitTip(root, BRANCH)).toBe(gitTip(root, LANE));
  const tree = git(root, 'rev-parse', `${BRANCH}^{tree}`);
  const written = git(root, 'commit-tree', '-p', BRANCH, '-m', 'VERDICT: approved', tree);
  git(root, 'update-ref', `refs/heads/${BRANCH}`, written);
  await startReview(repository, plan, 'WP01');
  expect(gitTip(root, BRANCH)).toBe(written);
  await work(r, 'WP01', { 'src/a': 'better\n' });
  await startReview(repository, plan, 'WP01');
  expect(gitTip(root, BRANCH)).toBe(gitTip(root, LANE));
  expect(leftovers(repository)).toEqual([]);
  fsck(repository);
});

test('a review that somebody has checked out is neither moved nor removed', async () => {
  using r = rig();
  const { root, repository, plan } = r;
  await work(r, 'WP01', { 'src/a': 'a\n' });
  await startReview(repository, plan, 'WP01');
  git(root, 'worktree', 'add', '-q', `${root}-review`, BRANCH);
  const tip = gitTip(root, BRANCH);
  await work(r, 'WP01', { 'src/a': 'better\n' });
  const again = await startReview(repository, plan, 'WP01');
  expect(again).toMatchObject({ error: { code: 'LANE_ALLOCATION_FAILED' } });
  await work(r, 'WP02', { b: 'b\n' });
  const input = {
    ...stamp,
    repository,
    plan,
    target: 'main',
    strategy: 'merge',
    push: false,
  } as const;
  expect(await merge(input)).toMatchObject({ ok: true });
  expect(gitTip(root, BRANCH)).toBe(tip);
  git(root, 'worktree', 'remove', `${root}-review`);
  expect(await merge(input)).toMatchObject({ ok: true });
  expect(git(root, 'for-each-ref', 'refs/heads/kitty')).toBe('');
  fsck(repository);
});
