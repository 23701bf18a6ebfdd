import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { commitAll } from './commit.ts';
import { writeFiles } from './files.ts';
import { type Integration, integrate } from './integrate.ts';
import { at, author, fsck, git, gitAs, laneOf, scratch } from './test_kit.ts';
import type { Theater } from './theater.ts';
import { createWorktree } from './worktree.ts';

/** An order's whole way onto the theater's branch, with one file. */
async function promoted(theater: Theater, orderId: string, path: string): Promise<Integration> {
  const { worktreePath, branch } = await createWorktree({ theater, orderId });
  await writeFiles(worktreePath, [{ path, text: `${orderId}\n` }]);
  await commitAll({ worktreePath, message: 'm', author, timestampSec: at });
  return integrate({ theater, orderId, branch, message: 'm', author, timestampSec: at });
}

test('orders of a lane start from its tip and move it with its workspace; main stays', async () => {
  using s = scratch();
  const theater = await s.theater();
  const { lane, path } = laneOf(theater);
  writeFileSync(join(theater.repoPath, 'mine'), 'of the user, in the main checkout');
  writeFileSync(join(path, 'mine'), 'of the user, in the workspace');
  const first = await promoted(lane, 'o1', 'src/a');
  const second = await createWorktree({ theater: lane, orderId: 'o2' });
  expect(second.baseSha).toBe(first.commitSha);
  expect(readFileSync(join(second.worktreePath, 'src/a'), 'utf8')).toBe('o1\n');
  const next = await promoted(lane, 'o3', 'src/a');
  expect(next.mainlineBefore).toBe(first.commitSha);
  expect(git(path, 'rev-parse', 'HEAD')).toBe(next.commitSha);
  expect(git(path, 'log', '-1', '--format=%s', '-g')).toBe('m');
  expect(readFileSync(join(path, 'src/a'), 'utf8')).toBe('o3\n');
  expect(git(path, 'status', '--porcelain', '-b')).toBe(`## ${lane.mainline}\n?? mine`);
  expect(git(theater.repoPath, 'rev-parse', 'main')).toBe(theater.headSha);
  expect(git(theater.repoPath, 'status', '--porcelain', '-b')).toBe('## main\n?? mine');
  expect(existsSync(join(theater.repoPath, 'src'))).toBe(false);
  fsck(theater.repoPath);
});

test('an edit in the workspace stops a promotion of that file before anything moves', async () => {
  using s = scratch();
  const theater = await s.theater();
  const { lane, path } = laneOf(theater);
  const { commitSha } = await promoted(lane, 'o1', 'a');
  writeFileSync(join(path, 'a'), 'edited\n');
  const late = promoted(lane, 'o2', 'a');
  await expect(late).rejects.toMatchObject({ code: 'MAINLINE_DIRTY', details: { files: ['a'] } });
  expect(git(path, 'rev-parse', 'HEAD')).toBe(commitSha);
  expect(git(path, 'status', '--porcelain')).toBe(' M a');
  gitAs(path, 'checkout', '--', 'a');
  const done = await promoted(lane, 'o3', 'b');
  expect(git(path, 'rev-parse', 'HEAD')).toBe(done.commitSha);
  expect(git(path, 'status', '--porcelain')).toBe('');
});

test('a lane without a workspace moves all the same, and one in the main checkout moves that', async () => {
  using s = scratch();
  const theater = await s.theater();
  const { lane, path } = laneOf(theater);
  git(theater.repoPath, 'worktree', 'remove', path);
  const { commitSha } = await promoted(lane, 'o1', 'a');
  expect(git(theater.repoPath, 'rev-parse', lane.mainline)).toBe(commitSha);
  expect(git(theater.repoPath, 'status', '--porcelain', '-b')).toBe('## main');
  git(theater.repoPath, 'checkout', '-q', lane.mainline);
  await promoted(lane, 'o2', 'b');
  expect(git(theater.repoPath, 'status', '--porcelain', '-b')).toBe(`## ${lane.mainline}`);
  expect(readFileSync(join(theater.repoPath, 'b'), 'utf8')).toBe('o2\n');
  fsck(theater.repoPath);
});
