import {
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { archiveWorktree } from './archive.ts';
import { commitAll, statusOf } from './commit.ts';
import { removeWorktree } from './remove.ts';
import { author, at, fsck, git, gitAs, scratch } from './test_kit.ts';
import { listWorktrees } from './listing.ts';
import { assertWorktree, createWorktree } from './worktree.ts';

const commit = (worktreePath: string) =>
  commitAll({ worktreePath, message: 'work', author, timestampSec: at });

describe('createWorktree', () => {
  test('makes a linked worktree that git agrees with, once', async () => {
    using s = scratch();
    const theater = await s.theater();
    writeFileSync(join(theater.repoPath, 'run.sh'), '#!/bin/sh\n', { mode: 0o755 });
    mkdirSync(join(theater.repoPath, 'a/b'), { recursive: true });
    writeFileSync(join(theater.repoPath, 'a/b/ä.txt'), 'x');
    symlinkSync('a/b', join(theater.repoPath, 'link'));
    gitAs(theater.repoPath, 'add', '.');
    gitAs(theater.repoPath, 'commit', '-qm', 'files');
    const tip = git(theater.repoPath, 'rev-parse', 'main');

    const made = await createWorktree({ theater, orderId: 'o1' });
    expect(made).toEqual({
      worktreePath: join(theater.worktreesPath, 'order_o1'),
      branch: 'order_o1',
      baseSha: tip,
      created: true,
    });
    expect(git(theater.repoPath, 'worktree', 'list', '--porcelain')).toContain(
      `worktree ${made.worktreePath}\nHEAD ${tip}\nbranch refs/heads/order_o1`,
    );
    expect(git(made.worktreePath, 'status', '--porcelain', '--branch')).toBe('## order_o1');
    expect(statSync(join(made.worktreePath, 'run.sh')).mode & 0o111).toBe(0o111);
    expect(readFileSync(join(made.worktreePath, 'link/ä.txt'), 'utf8')).toBe('x');
    expect(await statusOf(made.worktreePath)).toEqual({ clean: true, changed: [] });
    expect(await createWorktree({ theater, orderId: 'o1' })).toEqual({ ...made, created: false });
    // git itself can go on from here
    writeFileSync(join(made.worktreePath, 'new'), '');
    gitAs(made.worktreePath, 'add', 'new');
    gitAs(made.worktreePath, 'commit', '-qm', 'by git');
    expect(await statusOf(made.worktreePath)).toEqual({ clean: true, changed: [] });
    fsck(theater.repoPath);
  });

  test('starts from a given commit', async () => {
    using s = scratch();
    const theater = await s.theater();
    gitAs(theater.repoPath, 'commit', '-q', '--allow-empty', '-m', 'later');
    const made = await createWorktree({ theater, orderId: 'a', base: theater.headSha });
    expect(git(made.worktreePath, 'rev-parse', 'HEAD')).toBe(theater.headSha);
    const wrong = createWorktree({ theater, orderId: 'b', base: 'f'.repeat(40) });
    await expect(wrong).rejects.toMatchObject({ code: 'INVALID_REQUEST', field: 'base' });
  });

  test('after a removal starts over from the mainline and keeps the old commits', async () => {
    using s = scratch();
    const theater = await s.theater();
    const first = await createWorktree({ theater, orderId: 'a', branch: 'work/a' });
    writeFileSync(join(first.worktreePath, 'x'), '1');
    const { sha } = await commit(first.worktreePath);
    await removeWorktree({ theater, orderId: 'a' });
    gitAs(theater.repoPath, 'commit', '-q', '--allow-empty', '-m', 'later');
    const second = await createWorktree({ theater, orderId: 'a', branch: 'work/a' });
    expect(second).toMatchObject({
      created: true,
      baseSha: git(theater.repoPath, 'rev-parse', 'main'),
    });
    expect(existsSync(join(second.worktreePath, 'x'))).toBe(false);
    expect(git(theater.repoPath, 'for-each-ref', '--contains', sha)).toContain(
      `refs/ironclaw/archive/a/${sha}`,
    );
  });

  test('repairs what a dead create left, and never touches finished work', async () => {
    using s = scratch();
    const theater = await s.theater();
    const made = await createWorktree({ theater, orderId: 'a' });
    const admin = join(theater.gitDir, 'worktrees', 'order_a');
    rmSync(join(admin, 'index'));
    writeFileSync(join(made.worktreePath, 'half'), '');
    expect(await createWorktree({ theater, orderId: 'a' })).toMatchObject({ created: true });
    expect(git(made.worktreePath, 'status', '--porcelain')).toBe('');
    writeFileSync(join(made.worktreePath, 'work'), '');
    rmSync(join(made.worktreePath, '.git'));
    expect(await createWorktree({ theater, orderId: 'a' })).toMatchObject({ created: false });
    expect(git(made.worktreePath, 'status', '--porcelain')).toBe('?? work');
    rmSync(made.worktreePath, { recursive: true });
    expect(await createWorktree({ theater, orderId: 'a' })).toMatchObject({ created: true });
    expect(git(made.worktreePath, 'status', '--porcelain')).toBe('');
  });

  test('refuses bad names before anything is made', async () => {
    using s = scratch();
    const theater = await s.theater();
    for (const orderId of ['../x', '..', '.', '', 'a/b', '-x', 'x..y', 'a\0', 'x'.repeat(300)]) {
      const made = createWorktree({ theater, orderId });
      await expect(made).rejects.toMatchObject({ code: 'INVALID_REQUEST', field: 'order_id' });
    }
    const bad = createWorktree({ theater, orderId: 'a', branch: '--force' });
    await expect(bad).rejects.toMatchObject({ code: 'INVALID_REQUEST', field: 'branch' });
    expect(await listWorktrees(theater)).toEqual([]);
    const gone = { ...theater, gitDir: join(s.root, 'gone', '.git') };
    const none = createWorktree({ theater: gone, orderId: 'a' });
    await expect(none).rejects.toMatchObject({ code: 'THEATER_NOT_FOUND' });
  });

  test('refuses a branch or folder that is somebody else’s', async () => {
    using s = scratch();
    const theater = await s.theater();
    git(theater.repoPath, 'branch', 'users');
    git(theater.repoPath, 'branch', 'deep/users');
    git(theater.repoPath, 'pack-refs', '--all');
    const conflict = { code: 'WORKTREE_CONFLICT' };
    for (const branch of ['users', 'main']) {
      await expect(createWorktree({ theater, orderId: 'a', branch })).rejects.toMatchObject(
        conflict,
      );
    }
    for (const branch of ['users/x', 'deep']) {
      await expect(createWorktree({ theater, orderId: 'a', branch })).rejects.toMatchObject({
        code: 'VERSION_CONFLICT',
      });
    }
    await createWorktree({ theater, orderId: 'b' });
    const other = createWorktree({ theater, orderId: 'b', branch: 'order_c' });
    await expect(other).rejects.toMatchObject(conflict);
    mkdirSync(join(theater.worktreesPath, 'order_d'));
    writeFileSync(join(theater.worktreesPath, 'order_d', 'precious'), '');
    await expect(createWorktree({ theater, orderId: 'd' })).rejects.toMatchObject(conflict);
    await expect(removeWorktree({ theater, orderId: 'd' })).rejects.toMatchObject(conflict);
    expect(existsSync(join(theater.worktreesPath, 'order_d', 'precious'))).toBe(true);
  });
});

describe('assertWorktree', () => {
  test('tells the worktree of the order from every other path', async () => {
    using s = scratch();
    const theater = await s.theater();
    const { worktreePath } = await createWorktree({ theater, orderId: 'a' });
    await createWorktree({ theater, orderId: 'b' });
    expect(await assertWorktree(theater, worktreePath, 'a')).toMatchObject({ branch: 'order_a' });
    expect(await assertWorktree(theater, `${worktreePath}/`, 'a')).toMatchObject({ worktreePath });
    symlinkSync(worktreePath, join(theater.worktreesPath, 'order_l'));
    const outside = ['/', '/etc', '', 'order_a', theater.repoPath, theater.worktreesPath];
    const more = [
      `${worktreePath}/..`,
      `${worktreePath}/x`,
      join(theater.worktreesPath, 'order_b'),
    ];
    for (const path of [...outside, ...more]) {
      await expect(assertWorktree(theater, path, 'a')).rejects.toMatchObject({
        code: 'PATH_OUTSIDE_THEATER',
        field: 'worktree_path',
      });
    }
    const link = assertWorktree(theater, join(theater.worktreesPath, 'order_l'), 'l');
    await expect(link).rejects.toMatchObject({ code: 'PATH_OUTSIDE_THEATER' });
    await removeWorktree({ theater, orderId: 'a' });
    const gone = assertWorktree(theater, worktreePath, 'a');
    await expect(gone).rejects.toMatchObject({
      code: 'WORKTREE_NOT_FOUND',
      field: 'worktree_path',
    });
  });

  test('a forged link file does not lead into another repository', async () => {
    using s = scratch();
    const theater = await s.theater();
    const { worktreePath } = await createWorktree({ theater, orderId: 'a' });
    const forged = join(worktreePath, 'outputs', '.git', 'worktrees', 'order_a');
    mkdirSync(join(worktreePath, 'outputs/.git/ironclaw'), { recursive: true });
    mkdirSync(forged, { recursive: true });
    writeFileSync(join(forged, 'gitdir'), `${worktreePath}/.git\n`);
    writeFileSync(join(forged, 'HEAD'), 'ref: refs/heads/x\n');
    writeFileSync(join(worktreePath, '.git'), `gitdir: ${forged}\n`);
    const outside = { code: 'PATH_OUTSIDE_THEATER' };
    await expect(assertWorktree(theater, worktreePath, 'a')).rejects.toMatchObject(outside);
    await expect(commit(worktreePath)).rejects.toMatchObject(outside);
  });
});

describe('removeWorktree', () => {
  test('leaves nothing that git knows of but the branch; repeats are harmless', async () => {
    using s = scratch();
    const theater = await s.theater();
    const { worktreePath } = await createWorktree({ theater, orderId: 'a' });
    expect(await removeWorktree({ theater, orderId: 'a' })).toEqual({ removed: true });
    expect(existsSync(worktreePath)).toBe(false);
    expect(git(theater.repoPath, 'worktree', 'list').split('\n')).toHaveLength(1);
    expect(git(theater.repoPath, 'worktree', 'prune', '--dry-run', '-v')).toBe('');
    expect(git(theater.repoPath, 'rev-parse', 'order_a')).toBe(theater.headSha);
    expect(await removeWorktree({ theater, orderId: 'a' })).toEqual({ removed: false });
    expect(await removeWorktree({ theater, orderId: 'never' })).toEqual({ removed: false });
  });

  test('refuses uncommitted work and names it, unless forced', async () => {
    using s = scratch();
    const theater = await s.theater();
    const { worktreePath } = await createWorktree({ theater, orderId: 'a' });
    writeFileSync(join(worktreePath, 'x'), '');
    await expect(removeWorktree({ theater, orderId: 'a' })).rejects.toMatchObject({
      code: 'WORKTREE_DIRTY',
      details: { files: ['x'] },
    });
    expect(await removeWorktree({ theater, orderId: 'a', force: true })).toEqual({ removed: true });
  });

  test('removes what a dead create left half-made: nobody has worked in it', async () => {
    using s = scratch();
    const theater = await s.theater();
    const { worktreePath } = await createWorktree({ theater, orderId: 'a' });
    rmSync(join(theater.gitDir, 'worktrees', 'order_a', 'index'));
    rmSync(join(worktreePath, '.git'));
    writeFileSync(join(worktreePath, 'half'), '');
    expect(await removeWorktree({ theater, orderId: 'a' })).toEqual({ removed: true });
    expect(git(theater.repoPath, 'worktree', 'list').split('\n')).toHaveLength(1);
  });

  test('finishes a removal that died half way', async () => {
    using s = scratch();
    const theater = await s.theater();
    const { worktreePath } = await createWorktree({ theater, orderId: 'a' });
    writeFileSync(join(worktreePath, 'x'), '');
    await commit(worktreePath);
    writeFileSync(join(theater.gitDir, 'worktrees/order_a/ironclaw-removing'), '');
    rmSync(join(worktreePath, 'x'));
    rmSync(join(worktreePath, '.git'));
    expect(await removeWorktree({ theater, orderId: 'a' })).toEqual({ removed: true });
    await createWorktree({ theater, orderId: 'a' });
    writeFileSync(join(theater.gitDir, 'worktrees/order_a/ironclaw-removing'), '');
    expect(await createWorktree({ theater, orderId: 'a' })).toMatchObject({ created: true });
  });

  test('what a dead removal left is rest: archiving answers what was packed before it', async () => {
    using s = scratch();
    const theater = await s.theater();
    const { worktreePath } = await createWorktree({ theater, orderId: 'a' });
    writeFileSync(join(worktreePath, 'x'), 'work');
    const archived = await archiveWorktree({ theater, orderId: 'a' });
    writeFileSync(join(theater.gitDir, 'worktrees/order_a/ironclaw-removing'), '');
    rmSync(join(worktreePath, '.git'));
    expect(await archiveWorktree({ theater, orderId: 'a' })).toEqual(archived);
    expect(await removeWorktree({ theater, orderId: 'a' })).toEqual({ removed: true });
  });
});

test('listWorktrees tells ours, strays and those whose folder is gone', async () => {
  using s = scratch();
  const theater = await s.theater();
  await createWorktree({ theater, orderId: 'a' });
  const b = await createWorktree({ theater, orderId: 'b' });
  rmSync(b.worktreePath, { recursive: true });
  mkdirSync(join(theater.worktreesPath, 'stray'));
  git(theater.repoPath, 'worktree', 'add', '-q', join(s.root, 'users'));
  const at = (name: string) => join(theater.worktreesPath, name);
  const known = { registered: true, headSha: theater.headSha };
  expect(await listWorktrees(theater)).toEqual([
    {
      ...known,
      orderId: 'a',
      worktreePath: at('order_a'),
      exists: true,
      branch: 'order_a',
    },
    { ...known, orderId: 'b', worktreePath: at('order_b'), exists: false, branch: 'order_b' },
    { worktreePath: at('stray'), registered: false, exists: true },
  ]);
});
