import { mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { commitAll, statusOf } from './commit.ts';
import { prepareWorktree } from './files.ts';
import { type Scratch, author, at, fsck, git, gitAs, scratch } from './test_kit.ts';
import { createWorktree } from './worktree.ts';

async function worktree(s: Scratch, orderId = 'a') {
  const theater = await s.theater();
  const { worktreePath } = await createWorktree({ theater, orderId });
  const write = (path: string, text: string) => {
    mkdirSync(join(worktreePath, path, '..'), { recursive: true });
    writeFileSync(join(worktreePath, path), text);
  };
  const commit = (include?: string[]) =>
    commitAll({
      worktreePath,
      message: 'work',
      author,
      timestampSec: at,
      ...(include ? { include } : {}),
    });
  return { theater, worktreePath, write, commit };
}

describe('commitAll', () => {
  test('commits new, changed and deleted files and leaves git a clean tree', async () => {
    using s = scratch();
    const { theater, worktreePath, write, commit } = await worktree(s);
    write('a', '1');
    write('d/b', '1');
    write('d/e/c', '1');
    expect(await commit()).toMatchObject({ changed: true });
    write('a', '2');
    rmSync(join(worktreePath, 'd/e'), { recursive: true });
    rmSync(join(worktreePath, 'd/b'));
    write('d/b/now-a-folder', '');
    expect(await statusOf(worktreePath)).toEqual({
      clean: false,
      changed: ['a', 'd/b', 'd/b/now-a-folder', 'd/e/c'],
    });
    const { sha } = await commit();
    expect(git(worktreePath, 'status', '--porcelain')).toBe('');
    expect(git(worktreePath, 'ls-tree', '-r', '--name-only', sha)).toBe('a\nd/b/now-a-folder');
    expect(git(worktreePath, 'log', '-1', '--format=%an <%ae> %at %s %P')).toBe(
      `Unit <unit@ironclaw.test> ${at} work ${git(worktreePath, 'rev-parse', 'HEAD^')}`,
    );
    expect(git(theater.repoPath, 'status', '--porcelain')).toBe('');
    fsck(theater.repoPath);
  });

  test('answers the current commit if nothing changed, the same sha for the same work', async () => {
    using s = scratch();
    const one = await worktree(s, 'a');
    const two = await worktree(s, 'b');
    one.write('x', 'same');
    two.write('x', 'same');
    const { sha } = await one.commit();
    expect(await two.commit()).toEqual({ sha, changed: true });
    expect(await one.commit()).toEqual({ sha, changed: false });
    one.write('x', 'same'); // a new stamp, the same content
    expect(await one.commit()).toEqual({ sha, changed: false });
  });

  test('sees a change of the same size in the same instant', async () => {
    using s = scratch();
    const { worktreePath, write, commit } = await worktree(s);
    for (let i = 0; i < 20; i++) {
      write('x', String(i % 10));
      const { sha } = await commit();
      expect(git(worktreePath, 'show', `${sha}:x`)).toBe(String(i % 10));
    }
  });

  test('leaves ignored files out, but not below a path that is asked for', async () => {
    using s = scratch();
    const { worktreePath, write, commit } = await worktree(s);
    write('.gitignore', 'outputs/\n*.log\n!keep.log\nbuild\n');
    write('outputs/a', '');
    write('x.log', '');
    write('keep.log', '');
    write('build/deep/y', '');
    write('sub/.gitignore', 'z\n');
    write('sub/z', '');
    await commit();
    const tree = () => git(worktreePath, 'ls-tree', '-r', '--name-only', 'HEAD').split('\n');
    expect(tree()).toEqual(['.gitignore', 'keep.log', 'sub/.gitignore']);
    expect(git(worktreePath, 'status', '--porcelain')).toBe('');
    await commit(['outputs', 'outputs/a', 'absent']);
    expect(tree()).toContain('outputs/a');
    expect(git(worktreePath, 'status', '--porcelain')).toBe('');
  });

  test('with include takes only those paths and leaves the rest as it was', async () => {
    using s = scratch();
    const { worktreePath, write, commit } = await worktree(s);
    write('a', '1');
    write('b', '1');
    await commit();
    write('a', '2');
    write('b', '2');
    write('c', '');
    await commit(['a']);
    expect(git(worktreePath, 'status', '--porcelain')).toBe(' M b\n?? c');
    await expect(commit(['../x'])).rejects.toMatchObject({
      code: 'PATH_OUTSIDE_THEATER',
      field: 'include',
    });
  });

  test('refuses new links and nested repositories, and takes nothing', async () => {
    using s = scratch();
    const { worktreePath, write, commit } = await worktree(s);
    write('a', '');
    symlinkSync('/etc/passwd', join(worktreePath, 'link'));
    const refused = { code: 'TOOL_POLICY_VIOLATION' };
    await expect(commit()).rejects.toMatchObject(refused);
    rmSync(join(worktreePath, 'link'));
    symlinkSync('/etc', join(worktreePath, 'outputs'));
    await expect(commit(['outputs'])).rejects.toMatchObject(refused);
    await expect(commit(['outputs/passwd'])).rejects.toMatchObject(refused);
    rmSync(join(worktreePath, 'outputs'));
    git(worktreePath, 'init', '-q', 'nested');
    await expect(commit()).rejects.toMatchObject(refused);
    expect(git(worktreePath, 'rev-list', '--count', 'HEAD')).toBe('1');
  });

  test('refuses values that would break the commit', async () => {
    using s = scratch();
    const { worktreePath } = await worktree(s);
    const good = { worktreePath, message: 'm', author, timestampSec: at };
    const bad = [
      { author: { name: 'a\nparent x', email: '' } },
      { author: { name: ' ', email: '' } },
      { author: { name: 'a', email: '<x>' } },
      { timestampSec: 1.5 },
      { timestampSec: -1 },
      { message: ' ' },
    ];
    for (const part of bad) {
      await expect(commitAll({ ...good, ...part })).rejects.toMatchObject({
        code: 'INVALID_REQUEST',
      });
    }
    const none = commitAll({ ...good, worktreePath: join(s.root, 'order_x') });
    await expect(none).rejects.toMatchObject({ code: 'WORKTREE_NOT_FOUND' });
  });

  test('goes on from an index that real git wrote, version 4 too', async () => {
    using s = scratch();
    const { worktreePath, write, commit } = await worktree(s);
    for (let i = 0; i < 40; i++) write(`dir/file-${i}`, String(i));
    git(worktreePath, 'add', '.');
    gitAs(worktreePath, 'commit', '-qm', 'by git');
    git(worktreePath, 'update-index', '--index-version', '4');
    expect(await statusOf(worktreePath)).toEqual({ clean: true, changed: [] });
    write('dir/file-7', 'x');
    git(worktreePath, 'add', 'dir/file-7');
    git(worktreePath, 'rm', '-q', '--cached', 'dir/file-8');
    expect((await statusOf(worktreePath)).changed).toEqual(['dir/file-7', 'dir/file-8']);
    await commit();
    expect(git(worktreePath, 'status', '--porcelain')).toBe('');
    expect(git(worktreePath, 'show', '--stat', '--format=')).toContain('1 file changed');
  });
});

test('excluded state stays out of git, and the exclude rules are written once', async () => {
  using s = scratch();
  const { theater, worktreePath, commit } = await worktree(s);
  const files = [
    { path: 'state.json', text: '{}' },
    { path: 'order.json', text: '{}' },
  ];
  for (let i = 0; i < 2; i++) {
    await prepareWorktree({ worktreePath, files, exclude: ['state.json', 'odd [1]*'] });
  }
  await commit();
  expect(git(worktreePath, 'ls-files')).toBe('order.json');
  expect(git(worktreePath, 'status', '--porcelain')).toBe('');
  const rules = readFileSync(join(theater.gitDir, 'info/exclude'), 'utf8').split('\n');
  expect(rules.filter((rule) => rule === '/state.json')).toHaveLength(1);
});
