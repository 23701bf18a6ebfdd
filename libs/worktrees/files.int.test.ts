import { execFileSync } from 'node:child_process';
import { linkSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { archiveWorktree } from './archive.ts';
import { commitAll } from './commit.ts';
import { listFiles, readFileInside, writeFiles } from './files.ts';
import { isAncestor, listTree, logOf, readBlob, readCommit } from './read.ts';
import { removeWorktree } from './remove.ts';
import { type Scratch, author, at, git, gitAs, scratch } from './test_kit.ts';
import { createWorktree } from './worktree.ts';

async function worktree(s: Scratch) {
  const theater = await s.theater();
  const { worktreePath } = await createWorktree({ theater, orderId: 'a' });
  writeFileSync(join(s.root, 'secret'), 'secret');
  return { theater, worktreePath };
}

describe('files of a worktree', () => {
  test('are written and read below it, folders made as needed, repeats harmless', async () => {
    using s = scratch();
    const { worktreePath } = await worktree(s);
    const files = [
      { path: 'order.json', text: '{"ä":1}' },
      { path: './outputs//deep/x.bin', bytes: new Uint8Array([0, 255]) },
    ];
    await writeFiles(worktreePath, files);
    await writeFiles(worktreePath, files);
    expect((await readFileInside(worktreePath, 'order.json')).toString()).toBe('{"ä":1}');
    expect(await readFileInside(worktreePath, 'outputs/deep/x.bin')).toEqual(Buffer.from([0, 255]));
    expect(await listFiles(worktreePath)).toEqual([
      { path: 'order.json', bytes: 8 },
      { path: 'outputs/deep/x.bin', bytes: 2 },
    ]);
    expect(await listFiles(worktreePath, { under: 'outputs/deep' })).toHaveLength(1);
    expect(await listFiles(worktreePath, { under: 'none' })).toEqual([]);
    const few = listFiles(worktreePath, { maxFiles: 1 });
    await expect(few).rejects.toMatchObject({ code: 'PAYLOAD_TOO_LARGE' });
  });

  test('limits hold at and above the limit', async () => {
    using s = scratch();
    const { worktreePath } = await worktree(s);
    await writeFiles(worktreePath, [{ path: 'x', text: '12345' }]);
    expect(await readFileInside(worktreePath, 'x', { maxBytes: 5 })).toHaveLength(5);
    const tooMuch = { code: 'PAYLOAD_TOO_LARGE', field: 'path' };
    await expect(readFileInside(worktreePath, 'x', { maxBytes: 4 })).rejects.toMatchObject(tooMuch);
    const huge = { path: 'y', bytes: new Uint8Array(8 * 1024 * 1024 + 1) };
    await expect(writeFiles(worktreePath, [huge])).rejects.toMatchObject(tooMuch);
    const none = readFileInside(worktreePath, 'none');
    await expect(none).rejects.toMatchObject({ code: 'ARTIFACT_NOT_FOUND' });
    const folder = readFileInside(worktreePath, '.');
    await expect(folder).rejects.toMatchObject({ code: 'INVALID_REQUEST' });
  });

  test('no path leads out, by text or by link, and nothing outside is written', async () => {
    using s = scratch();
    const { theater, worktreePath } = await worktree(s);
    symlinkSync('../../../../secret', join(worktreePath, 'link'));
    symlinkSync(s.root, join(worktreePath, 'outputs'));
    execFileSync('mkfifo', [join(worktreePath, 'pipe')]);
    mkdirSync(join(worktreePath, 'folder'));
    linkSync(join(s.root, 'secret'), join(worktreePath, 'hard'));
    const outside = ['../secret', '/etc/passwd', 'a/../../x', `${worktreePath}/order.json`];
    for (const path of outside) {
      const code = { code: 'PATH_OUTSIDE_THEATER', field: 'path' };
      await expect(readFileInside(worktreePath, path)).rejects.toMatchObject(code);
      await expect(writeFiles(worktreePath, [{ path, text: 'x' }])).rejects.toMatchObject(code);
    }
    const refused = { code: 'TOOL_POLICY_VIOLATION' };
    for (const path of [
      'link',
      'link/x',
      'outputs/secret',
      'pipe',
      'folder',
      '.git',
      '.git/HEAD',
    ]) {
      await expect(readFileInside(worktreePath, path)).rejects.toMatchObject(refused);
    }
    for (const path of [
      'outputs/secret',
      'outputs/new/x',
      'link/x',
      'folder',
      '.git/hooks/x',
      '.GIT',
    ]) {
      const done = writeFiles(worktreePath, [{ path, text: 'x' }]);
      await expect(done).rejects.toMatchObject(refused);
    }
    // a name that is a link is replaced, not followed
    const files = ['link', 'hard', 'pipe'].map((path) => ({ path, text: 'mine' }));
    await writeFiles(worktreePath, files);
    expect(readFileSync(join(s.root, 'secret'), 'utf8')).toBe('secret');
    expect(readFileSync(join(worktreePath, 'link'), 'utf8')).toBe('mine');
    await expect(listFiles(worktreePath, { under: 'outputs' })).rejects.toMatchObject(refused);
    expect((await listFiles(worktreePath)).map((file) => file.path)).toEqual([
      'hard',
      'link',
      'pipe',
    ]);
    const other = writeFiles(theater.repoPath, [{ path: 'x', text: '' }]);
    await expect(other).rejects.toMatchObject({ code: 'PATH_OUTSIDE_THEATER' });
  });
});

describe('archiveWorktree', () => {
  test('holds every file, is read by tar, and is the same for the same files', async () => {
    using s = scratch();
    const { theater, worktreePath } = await worktree(s);
    const long = `outputs/${'d'.repeat(60)}/${'ü'.repeat(60)}`;
    await writeFiles(worktreePath, [
      { path: 'aar.json', text: '{}' },
      { path: '.gitignore', text: 'ignored' },
      { path: 'ignored', text: 'x' },
    ]);
    const { sha } = await commitAll({ worktreePath, message: 'm', author, timestampSec: at });
    const big = Buffer.alloc(700_000, 'ab');
    await writeFiles(worktreePath, [
      { path: long, text: 'long' },
      { path: 'big', bytes: big },
    ]);
    symlinkSync('aar.json', join(worktreePath, 'link'));
    const first = await archiveWorktree({ theater, orderId: 'a' });
    expect(first).toMatchObject({ commitSha: sha });
    expect(await archiveWorktree({ theater, orderId: 'a' })).toEqual(first);
    mkdirSync(join(s.root, 'out'));
    execFileSync('tar', ['xzf', first.archivePath, '-C', join(s.root, 'out')]);
    const diff = ['-r', '--no-dereference', '--exclude=.git', worktreePath, join(s.root, 'out')];
    expect(execFileSync('diff', diff, { encoding: 'utf8' })).toBe('');
    expect(readFileSync(join(s.root, 'out', long), 'utf8')).toBe('long');
    expect(git(theater.repoPath, 'for-each-ref', 'refs/ironclaw')).toContain(`archive/a/${sha}`);

    // what the archive has may be removed; what came later may not
    await writeFiles(worktreePath, [{ path: 'later', text: '' }]);
    const dirty = { code: 'WORKTREE_DIRTY' };
    await expect(removeWorktree({ theater, orderId: 'a' })).rejects.toMatchObject(dirty);
    const second = await archiveWorktree({ theater, orderId: 'a' });
    expect(second.archivePath).not.toBe(first.archivePath);
    expect(await removeWorktree({ theater, orderId: 'a' })).toEqual({ removed: true });
    expect(await archiveWorktree({ theater, orderId: 'a' })).toEqual(second);
    const none = archiveWorktree({ theater, orderId: 'none' });
    await expect(none).rejects.toMatchObject({ code: 'WORKTREE_NOT_FOUND' });
  });
});

describe('reading commits', () => {
  test('finds commits, files and history by sha, branch, tag and HEAD', async () => {
    using s = scratch();
    const { theater, worktreePath } = await worktree(s);
    const { repoPath } = theater;
    await writeFiles(worktreePath, [
      { path: 'outputs/x', text: 'x' },
      { path: 'y', text: 'y' },
    ]);
    const commit = { worktreePath, message: 'subject\n\nbody', author, timestampSec: at + 1 };
    const { sha } = await commitAll(commit);
    gitAs(repoPath, 'tag', '-a', 'v1', '-m', 'tag', sha);
    git(repoPath, 'gc', '-q');
    const info = {
      sha,
      parents: [theater.headSha],
      author,
      timestampSec: at + 1,
      message: 'subject\n\nbody\n',
    };
    for (const ref of [sha, 'order_a', 'refs/heads/order_a', 'v1']) {
      expect(await readCommit(repoPath, ref)).toEqual(info);
    }
    expect((await logOf(repoPath, 'order_a', 5)).map((c) => c.sha)).toEqual([sha, theater.headSha]);
    expect(await logOf(repoPath, 'order_a', 1)).toHaveLength(1);
    expect(await isAncestor(repoPath, theater.headSha, 'order_a')).toBe(true);
    expect(await isAncestor(repoPath, sha, 'HEAD')).toBe(false);
    const blob = { repoPath, ref: sha, path: 'outputs/x' };
    expect((await readBlob(blob)).toString()).toBe('x');
    const large = readBlob({ ...blob, maxBytes: 0 });
    await expect(large).rejects.toMatchObject({ code: 'PAYLOAD_TOO_LARGE' });
    for (const path of ['outputs', 'none', 'y/z']) {
      const none = readBlob({ ...blob, path });
      await expect(none).rejects.toMatchObject({ code: 'ARTIFACT_NOT_FOUND', field: 'path' });
    }
    expect((await listTree({ repoPath, ref: sha })).map((f) => f.path)).toEqual(['outputs/x', 'y']);
    const below = await listTree({ repoPath, ref: sha, under: 'outputs' });
    expect(below.map((f) => f.path)).toEqual(['outputs/x']);
    for (const ref of [
      'nobody',
      'f'.repeat(40),
      sha.replace(/.$/, (c) => (c === '0' ? '1' : '0')),
    ]) {
      const none = readCommit(repoPath, ref);
      await expect(none).rejects.toMatchObject({ code: 'NOT_FOUND', field: 'ref' });
    }
    await expect(readCommit(repoPath, '../../x')).rejects.toMatchObject({ field: 'ref' });
    await expect(readCommit(s.root, 'HEAD')).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });
});
