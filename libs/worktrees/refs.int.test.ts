import { lstatSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { commitAll, statusOf } from './commit.ts';
import { formatIndex, readIndex, stampOf } from './index_file.ts';
import { withLock } from './lock.ts';
import { findRef, moveRef } from './refs.ts';
import { author, at, git, gitAs, scratch } from './test_kit.ts';
import { createWorktree } from './worktree.ts';

test('a ref moves only from where it is expected, loose or packed', async () => {
  using s = scratch();
  const { gitDir, repoPath, headSha } = await s.theater();
  gitAs(repoPath, 'commit', '-q', '--allow-empty', '-m', 'next');
  const next = git(repoPath, 'rev-parse', 'HEAD');
  const move = (ref: string, sha: string, expected: string | undefined) =>
    withLock(gitDir, 'x', (hold) => moveRef(hold, gitDir, ref, sha, expected));
  const moved = { code: 'VERSION_CONFLICT' };
  await move('refs/heads/a', headSha, undefined);
  await expect(move('refs/heads/a', next, undefined)).rejects.toMatchObject(moved);
  git(repoPath, 'pack-refs', '--all');
  expect(findRef(gitDir, 'refs/heads/a')).toBe(headSha);
  await expect(move('refs/heads/a', next, next)).rejects.toMatchObject(moved);
  await move('refs/heads/a', next, headSha);
  expect(git(repoPath, 'rev-parse', 'a')).toBe(next);
  git(repoPath, 'update-ref', '-d', 'refs/heads/a');
  expect(findRef(gitDir, 'refs/heads/a')).toBe(undefined);
  await move('refs/heads/a/b', next, undefined);
  expect(git(repoPath, 'rev-parse', 'a/b')).toBe(next);
});

test('a file as young as the index is compared by content, whatever its stamp says', async () => {
  using s = scratch();
  const theater = await s.theater();
  const { worktreePath } = await createWorktree({ theater, orderId: 'a' });
  const file = join(worktreePath, 'x');
  const indexPath = join(theater.gitDir, 'worktrees/order_a/index');
  writeFileSync(file, 'old');
  await commitAll({ worktreePath, message: 'm', author, timestampSec: at });
  writeFileSync(file, 'new');
  // An index that remembers the new stamp with the old content.
  const stamp = stampOf(lstatSync(file, { bigint: true }));
  const entries = readIndex(indexPath).entries.map((entry) => ({ ...entry, stamp }));
  writeFileSync(indexPath, formatIndex(entries));
  utimesSync(indexPath, stamp.mtimeSec, stamp.mtimeSec);
  expect(await statusOf(worktreePath)).toEqual({ clean: false, changed: ['x'] });
  const { changed } = await commitAll({ worktreePath, message: 'm', author, timestampSec: at });
  expect(changed).toBe(true);
  expect(git(worktreePath, 'show', 'HEAD:x')).toBe('new');
});
