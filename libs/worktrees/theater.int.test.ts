import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { author, at, fsck, git, gitAs, scratch } from './test_kit.ts';
import { openTheater } from './theater.ts';
import { createWorktree } from './worktree.ts';

const open = (repoPath: string, theaterId = 'demo') =>
  openTheater({ theaterId, repoPath, author, timestampSec: at });

describe('a new repository', () => {
  test('has one commit on main and is clean; opening again changes nothing', async () => {
    using s = scratch();
    const first = await s.theater();
    expect(first).toMatchObject({
      created: true,
      mainline: 'main',
      worktreesPath: join(s.root, 'theaters/demo/worktrees'),
      archivePath: join(s.root, 'theaters/demo/archive'),
    });
    expect(git(first.repoPath, 'rev-list', '--count', 'main')).toBe('1');
    expect(git(first.repoPath, 'status', '--porcelain', '--branch')).toBe('## main');
    fsck(first.repoPath);
    expect(await s.theater()).toEqual({ ...first, created: false });
  });

  test('is finished by the next call wherever the first one died', async () => {
    using s = scratch();
    const { repoPath, headSha } = await s.theater();
    rmSync(join(repoPath, '.git', 'HEAD'));
    expect(await s.theater()).toMatchObject({ created: true, headSha });
    rmSync(join(repoPath, '.git', 'HEAD'));
    rmSync(join(repoPath, '.git', 'refs'), { recursive: true });
    rmSync(join(repoPath, '.git', 'config'));
    expect(await s.theater()).toMatchObject({ created: true, headSha });
    fsck(repoPath);
  });

  test('is made once by many callers', async () => {
    using s = scratch();
    const opened = await Promise.all(Array.from({ length: 8 }, () => s.theater()));
    expect(opened.filter((theater) => theater.created)).toHaveLength(1);
    expect(new Set(opened.map((theater) => theater.headSha)).size).toBe(1);
  });
});

describe('an existing repository', () => {
  function userRepo(root: string): string {
    const path = join(root, 'project');
    mkdirSync(path);
    git(path, 'init', '-q', '-b', 'trunk');
    writeFileSync(join(path, 'README.md'), 'hello\n');
    gitAs(path, 'add', '.');
    gitAs(path, 'commit', '-qm', 'first');
    return path;
  }

  test('keeps its history; HEAD is the mainline; nothing appears beside or in it', async () => {
    using s = scratch();
    const path = userRepo(s.root);
    const head = git(path, 'rev-parse', 'HEAD');
    const theater = await open(path);
    expect(theater).toMatchObject({ created: false, mainline: 'trunk', headSha: head });
    await createWorktree({ theater, orderId: 'a' });
    expect(git(path, 'status', '--porcelain')).toBe('');
    expect(readdirSync(s.root)).toEqual(['project']);
    expect(readdirSync(path).sort()).toEqual(['.git', 'README.md']);
    expect(git(path, 'worktree', 'list')).toContain('[order_a]');
    fsck(path);
  });

  test('keeps its first mainline when the user checks out another branch', async () => {
    using s = scratch();
    const path = userRepo(s.root);
    await open(path);
    git(path, 'checkout', '-qb', 'other');
    expect(await open(path)).toMatchObject({ mainline: 'trunk' });
    expect(await open(path, 'second')).toMatchObject({ mainline: 'other' });
  });

  test('gets a first commit if it has none', async () => {
    using s = scratch();
    git(s.root, 'init', '-q', '-b', 'trunk', 'project');
    const theater = await open(join(s.root, 'project'));
    expect(theater).toMatchObject({ created: false, mainline: 'trunk' });
    expect(git(theater.repoPath, 'rev-list', '--count', 'trunk')).toBe('1');
  });

  test('is read after gc, pack-refs and with packed objects only', async () => {
    using s = scratch();
    const path = userRepo(s.root);
    git(path, 'gc', '-q', '--prune=now');
    expect(existsSync(join(path, '.git/refs/heads/trunk'))).toBe(false);
    const theater = await open(path);
    const { worktreePath } = await createWorktree({ theater, orderId: 'a' });
    expect(readFileSync(join(worktreePath, 'README.md'), 'utf8')).toBe('hello\n');
    git(path, 'gc', '-q', '--prune=now');
    await createWorktree({ theater, orderId: 'b' });
    expect(git(worktreePath, 'status', '--porcelain')).toBe('');
  });

  test('is refused with a format that we cannot read', async () => {
    using s = scratch();
    const bare = join(s.root, 'bare');
    git(s.root, 'init', '-q', '--bare', bare);
    await expect(open(bare)).rejects.toMatchObject({ code: 'INVALID_REQUEST', field: 'repo_path' });
    git(s.root, 'init', '-q', '--object-format=sha256', 'sha256');
    await expect(open(join(s.root, 'sha256'))).rejects.toThrow(/objectformat/);
    const path = userRepo(s.root);
    git(path, 'worktree', 'add', '-q', '../linked');
    await expect(open(join(s.root, 'linked'))).rejects.toThrow(/linked worktree/);
    git(path, 'checkout', '-q', '--detach');
    await expect(open(path)).rejects.toThrow(/detached/);
  });
});

describe('paths', () => {
  test('only an absolute path to an absent or empty folder or a repository will do', async () => {
    using s = scratch();
    writeFileSync(join(s.root, 'file'), '');
    mkdirSync(join(s.root, 'full'));
    writeFileSync(join(s.root, 'full', 'x'), '');
    mkdirSync(join(s.root, 'odd', '.git'), { recursive: true });
    const bad = ['repo', './repo', '/', '//', '', `${s.root}/../x`, `${s.root}/a\0`];
    const more = ['file', 'file/below', 'full', 'odd'].map((name) => join(s.root, name));
    for (const path of [...bad, ...more, 7 as unknown as string]) {
      await expect(open(path)).rejects.toMatchObject({
        code: 'INVALID_REQUEST',
        field: 'repo_path',
      });
    }
    await expect(open(join(s.root, 'x'), '../..')).rejects.toMatchObject({ field: 'theater_id' });
    expect(existsSync(join(s.root, 'x'))).toBe(false);
  });

  test('a link to a folder leads to its real path', async () => {
    using s = scratch();
    mkdirSync(join(s.root, 'real'));
    symlinkSync(join(s.root, 'real'), join(s.root, 'link'));
    const theater = await open(join(s.root, 'link'));
    expect(theater.repoPath).toBe(join(s.root, 'real'));
    expect(existsSync(join(s.root, 'real', '.git'))).toBe(true);
  });
});
