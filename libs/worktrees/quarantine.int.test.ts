import { existsSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { archiveWorktree } from './archive.ts';
import { commitAll, statusOf } from './commit.ts';
import { prepareWorktree, writeFiles } from './files.ts';
import { listWorktrees } from './listing.ts';
import { listQuarantined, quarantineWorktree, readQuarantined } from './quarantine.ts';
import { removeWorktree } from './remove.ts';
import { author, at, fsck, git, scratch } from './test_kit.ts';
import { createWorktree } from './worktree.ts';

const message = 'work';

test('a quarantined worktree is kept beside, as git’s locked one; a new one takes its place', async () => {
  using s = scratch();
  const theater = await s.theater();
  const { worktreePath } = await createWorktree({ theater, orderId: 'a' });
  await writeFiles(worktreePath, [{ path: 'outputs/done.md', text: 'done' }]);
  const { sha } = await commitAll({ worktreePath, author, timestampSec: at, message });
  await writeFiles(worktreePath, [{ path: 'outputs/half.md', text: 'half' }]);
  const aside = await quarantineWorktree({ theater, orderId: 'a', reason: 'unit is\nsilent' });
  expect(aside.worktreePath).toMatch(/\/quarantine\/order_a\.1$/);
  expect(existsSync(worktreePath)).toBe(false);
  expect(readFileSync(join(aside.worktreePath, 'outputs/half.md'), 'utf8')).toBe('half');
  expect(git(aside.worktreePath, 'status', '--porcelain')).toBe('?? outputs/half.md');
  expect(git(aside.worktreePath, 'rev-parse', 'HEAD')).toBe(sha);

  const next = await createWorktree({ theater, orderId: 'a' });
  expect(next).toMatchObject({ worktreePath, branch: 'order_a', created: true });
  expect(readdirSync(worktreePath)).toEqual(['.git']);
  await writeFiles(worktreePath, [{ path: 'outputs/second.md', text: 'second' }]);
  await commitAll({ worktreePath, author, timestampSec: at, message: 'again' });
  expect((await statusOf(worktreePath)).clean).toBe(true);
  expect(git(worktreePath, 'status', '--porcelain')).toBe('');

  const list = git(theater.repoPath, 'worktree', 'list', '--porcelain');
  expect(list).toContain(
    `worktree ${aside.worktreePath}\nHEAD ${sha}\ndetached\nlocked quarantined`,
  );
  expect(list).toContain(`worktree ${worktreePath}\n`);
  expect(git(aside.worktreePath, 'rev-parse', 'HEAD')).toBe(sha);
  git(theater.repoPath, 'worktree', 'prune');
  expect(git(theater.repoPath, 'worktree', 'list').split('\n')).toHaveLength(3);
  fsck(theater.repoPath);

  const second = await quarantineWorktree({ theater, orderId: 'a', reason: 'again' });
  expect(second.worktreePath).toMatch(/order_a\.2$/);
  expect(listQuarantined(theater, 'a').map(({ reason }) => reason)).toEqual([
    'unit is silent',
    'again',
  ]);
  expect(await listWorktrees(theater)).toEqual([]);
});

test('archive and removal leave what is in quarantine alone', async () => {
  using s = scratch();
  const theater = await s.theater();
  await createWorktree({ theater, orderId: 'a' });
  const { worktreePath } = await quarantineWorktree({ theater, orderId: 'a', reason: 'x' });
  await expect(archiveWorktree({ theater, orderId: 'a' })).rejects.toMatchObject({
    code: 'WORKTREE_NOT_FOUND',
  });
  expect(await removeWorktree({ theater, orderId: 'a' })).toEqual({ removed: false });
  await expect(quarantineWorktree({ theater, orderId: 'a', reason: 'x' })).rejects.toMatchObject({
    code: 'WORKTREE_NOT_FOUND',
  });
  expect(existsSync(join(worktreePath, '.git'))).toBe(true);
});

test('a throw of confirm leaves the worktree as it was', async () => {
  using s = scratch();
  const theater = await s.theater();
  const { worktreePath } = await createWorktree({ theater, orderId: 'a' });
  const confirm = () => Promise.reject(new Error('too late'));
  await expect(quarantineWorktree({ theater, orderId: 'a', reason: 'x', confirm })).rejects.toThrow(
    'too late',
  );
  expect(git(worktreePath, 'status', '--porcelain', '-b')).toBe('## order_a');
  expect(listQuarantined(theater)).toEqual([]);
});

test.each([
  ['before the move', false],
  ['after the move', true],
])('a crash %s is made up for by the next call', async (_name, moved) => {
  using s = scratch();
  const theater = await s.theater();
  const { worktreePath } = await createWorktree({ theater, orderId: 'a' });
  await writeFiles(worktreePath, [{ path: 'half.md', text: 'half' }]);
  const sha = git(worktreePath, 'rev-parse', 'HEAD');
  const mark = JSON.stringify({ name: 'order_a.1', sha, reason: 'crash' });
  writeFileSync(join(theater.gitDir, 'worktrees/order_a/ironclaw-quarantine'), mark);
  const target = join(worktreePath, '../../quarantine/order_a.1');
  if (moved) {
    await createWorktree({ theater, orderId: 'b' });
    await quarantineWorktree({ theater, orderId: 'b', reason: 'makes the folder' });
    renameSync(worktreePath, target);
  }
  expect(await createWorktree({ theater, orderId: 'a' })).toMatchObject({ created: true });
  expect(readdirSync(worktreePath)).toEqual(['.git']);
  expect(git(target, 'status', '--porcelain')).toBe('?? half.md');
  expect(listQuarantined(theater, 'a')).toMatchObject([{ reason: 'crash' }]);
  fsck(theater.repoPath);
});

test('what it was prepared with can be read for the next attempt', async () => {
  using s = scratch();
  const theater = await s.theater();
  const { worktreePath } = await createWorktree({ theater, orderId: 'a' });
  const files = [
    { path: 'inputs/deep/call.md', text: 'call' },
    { path: 'inputs/a.md', text: 'a' },
    { path: 'order.json', text: '{}' },
  ];
  await prepareWorktree({ worktreePath, files, exclude: ['inputs'] });
  await writeFiles(worktreePath, [{ path: 'outputs/x.md', text: 'x' }]);
  const aside = await quarantineWorktree({ theater, orderId: 'a', reason: 'x' });
  const read = readQuarantined(aside, ['order.json', 'inputs', 'absent']);
  expect(read.map(({ path }) => path)).toEqual([
    'order.json',
    'inputs/a.md',
    'inputs/deep/call.md',
  ]);
});
