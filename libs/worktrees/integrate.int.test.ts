import { mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { commitAll } from './commit.ts';
import { integrate } from './integrate.ts';
import { author, at, fsck, git, gitAs, scratch } from './test_kit.ts';
import { openTheater, type Theater } from './theater.ts';
import { createWorktree } from './worktree.ts';

type Files = Record<string, string | Buffer | null>;

function write(dir: string, files: Files): void {
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(dir, path)), { recursive: true });
    if (content === null) rmSync(join(dir, path), { recursive: true });
    else writeFileSync(join(dir, path), content);
  }
}

/** An order's worktree with one commit of these files, not yet integrated. */
async function order(theater: Theater, orderId: string, files: Files) {
  const { worktreePath, branch } = await createWorktree({ theater, orderId });
  write(worktreePath, files);
  const commit = { worktreePath, message: `work of ${orderId}`, author, timestampSec: at };
  const { sha } = await commitAll(commit);
  return { orderId, branch, sha, worktreePath };
}

type Ordered = Awaited<ReturnType<typeof order>>;

const into = (theater: Theater, { orderId, branch, sha }: Ordered, branchOnly?: string[]) =>
  integrate({
    theater,
    orderId,
    branch,
    expectedSha: sha,
    message: `Integrate ${orderId}`,
    author,
    timestampSec: at,
    ...(branchOnly ? { branchOnly } : {}),
  });

/** A commit of the user on the mainline. */
function userCommit(theater: Theater, files: Files): void {
  write(theater.repoPath, files);
  gitAs(theater.repoPath, 'add', '-A');
  gitAs(theater.repoPath, 'commit', '-qm', 'user');
}

const status = (theater: Theater) => git(theater.repoPath, 'status', '--porcelain');
const mainline = (theater: Theater) => git(theater.repoPath, 'rev-parse', 'main');

describe('integrate', () => {
  test('makes a merge commit with trailers even where fast-forward would do', async () => {
    using s = scratch();
    const theater = await s.theater();
    const work = await order(theater, 'a', { 'outputs/x.md': 'x', 'aar.json': '{}' });
    const done = await into(theater, work);
    expect(done).toMatchObject({ alreadyMerged: false, mainlineBefore: theater.headSha });
    const format =
      '%H %P|%s|%(trailers:key=Order,valueonly,separator=)|' +
      '%(trailers:key=Branch-Head,valueonly,separator=)';
    expect(git(theater.repoPath, 'log', '-1', `--format=${format}`, 'main')).toBe(
      `${done.commitSha} ${theater.headSha} ${work.sha}|Integrate a|a|${work.sha}`,
    );
    expect(readFileSync(join(theater.repoPath, 'outputs/x.md'), 'utf8')).toBe('x');
    expect(status(theater)).toBe('');
    fsck(theater.repoPath);
  });

  test('answers the same commit for ever after', async () => {
    using s = scratch();
    const theater = await s.theater();
    const a = await order(theater, 'a', { a: '1' });
    const b = await order(theater, 'b', { b: '1' });
    const { commitSha } = await into(theater, a);
    await into(theater, b);
    userCommit(theater, { c: '1' });
    const again = { commitSha, alreadyMerged: true, mainlineBefore: mainline(theater) };
    expect(await into(theater, a)).toEqual(again);
    // also after the branch has moved on, or is gone
    write(a.worktreePath, { a: '2' });
    const more = { worktreePath: a.worktreePath, message: 'more', author, timestampSec: at };
    await commitAll(more);
    expect(await into(theater, a)).toEqual(again);
    git(theater.repoPath, 'update-ref', '-d', 'refs/heads/order_a');
    expect(await into(theater, a)).toEqual(again);
    const empty = await createWorktree({ theater, orderId: 'empty' });
    expect(await into(theater, { orderId: 'empty', ...empty, sha: empty.baseSha })).toMatchObject({
      commitSha: mainline(theater),
      alreadyMerged: true,
    });
  });

  test('joins changes of different files, folders, modes and lines', async () => {
    using s = scratch();
    const theater = await s.theater();
    const lines = Array.from({ length: 20 }, (_, i) => `line ${i}\n`);
    userCommit(theater, {
      text: lines.join(''),
      'gone/x': '1',
      'keep/y': '1',
      swap: '1',
      'fold/z': '1',
    });
    const a = await order(theater, 'a', {
      text: lines.with(2, 'A\n').join(''),
      'new/a/b': '1',
      'gone/x': null,
      swap: null,
      'swap/inner': '1',
      fold: null,
    });
    write(a.worktreePath, { fold: 'now a file' });
    const { sha } = await commitAll({ ...a, message: 'more', author, timestampSec: at });
    const b = await order(theater, 'b', { text: lines.with(17, 'B\n').join(''), 'new/b': '1' });
    await into(theater, { ...a, sha });
    await into(theater, b);
    const expected = git(theater.repoPath, 'merge-tree', '--write-tree', 'main^1', 'main^2');
    expect(git(theater.repoPath, 'rev-parse', 'main^{tree}')).toBe(expected);
    expect(git(theater.repoPath, 'ls-files')).toBe(
      'fold\nkeep/y\nnew/a/b\nnew/b\nswap/inner\ntext',
    );
    expect(status(theater)).toBe('');
    fsck(theater.repoPath);
  });

  const conflicts: [string, Files, Files, Files, string[]][] = [
    ['the same line', { x: 'base\n' }, { x: 'a\n' }, { x: 'b\n' }, ['x']],
    ['both add', {}, { 'd/x': 'a' }, { 'd/x': 'b' }, ['d/x']],
    ['modify and delete', { x: '1' }, { x: '2' }, { x: null }, ['x']],
    [
      'delete a folder and modify in it',
      { 'd/x': '1', 'd/y': '1' },
      { d: null },
      { 'd/x': '2' },
      ['d/x'],
    ],
    ['file and folder', {}, { x: '1' }, { 'x/y': '1' }, ['x']],
    [
      'binary',
      { x: Buffer.from('a\0b\n1\n2\n3\n4\n') },
      { x: Buffer.from('X\0b\n1\n2\n3\n4\n') },
      { x: Buffer.from('a\0b\n1\n2\n3\nY\n') },
      ['x'],
    ],
  ];
  test.each(conflicts)(
    'a conflict (%s) leaves everything as it was',
    async (_, base, a, b, files) => {
      using s = scratch();
      const theater = await s.theater();
      userCommit(theater, { other: '1', ...base });
      const first = await order(theater, 'a', a);
      const second = await order(theater, 'b', b);
      await into(theater, first);
      const before = [mainline(theater), git(theater.repoPath, 'ls-files', '--stage')];
      await expect(into(theater, second)).rejects.toMatchObject({
        code: 'MERGE_CONFLICT',
        details: { files },
      });
      expect([mainline(theater), git(theater.repoPath, 'ls-files', '--stage')]).toEqual(before);
      expect(status(theater)).toBe('');
      fsck(theater.repoPath);
      // the same order again, from the current mainline, gets in
      await expect(into(theater, first)).resolves.toMatchObject({ alreadyMerged: true });
    },
  );

  test('branchOnly leaves the files that each order writes on the branches', async () => {
    using s = scratch();
    const theater = await s.theater();
    const a = await order(theater, 'a', { 'aar.json': 'a', 'outputs/a': '1' });
    const b = await order(theater, 'b', { 'aar.json': 'b', 'outputs/b': '1', 'sub/aar.json': 'b' });
    const first = await into(theater, a, ['aar.json']);
    const { commitSha } = await into(theater, b, ['aar.json']);
    // Only names in the root are meant; the branch's own commit keeps what the order wrote.
    expect(git(theater.repoPath, 'ls-files')).toBe('outputs/a\noutputs/b\nsub/aar.json');
    expect(git(theater.repoPath, 'show', `${first.commitSha}^2:aar.json`)).toBe('a');
    expect(git(theater.repoPath, 'show', `${commitSha}^2:aar.json`)).toBe('b');
    expect(status(theater)).toBe('');
  });

  test('branchOnly keeps the file of that name that the mainline has of its own', async () => {
    using s = scratch();
    const theater = await s.theater();
    userCommit(theater, { 'aar.json': 'the user’s' });
    const a = await order(theater, 'a', { 'aar.json': 'a', 'outputs/a': '1' });
    const { commitSha } = await into(theater, a, ['aar.json']);
    expect(git(theater.repoPath, 'show', `${commitSha}:aar.json`)).toBe('the user’s');
    expect(status(theater)).toBe('');
  });

  test('refuses a branch that moved since the gates looked, or that is not there', async () => {
    using s = scratch();
    const theater = await s.theater();
    const a = await order(theater, 'a', { a: '1' });
    write(a.worktreePath, { a: '2' });
    await commitAll({ ...a, message: 'more', author, timestampSec: at });
    await expect(into(theater, a)).rejects.toMatchObject({ code: 'VERSION_CONFLICT' });
    const { sha: _, ...none } = a;
    const input = { theater, ...none, message: 'm', author, timestampSec: at };
    const missing = integrate({ ...input, branch: 'nobody' });
    await expect(missing).rejects.toMatchObject({ code: 'WORKTREE_NOT_FOUND', field: 'branch' });
    const unknown = integrate({ ...input, expectedSha: 'f'.repeat(40) });
    await expect(unknown).rejects.toMatchObject({ code: 'VERSION_CONFLICT' });
    const gone = integrate({ ...input, theater: { ...theater, gitDir: '/nonexistent' } });
    await expect(gone).rejects.toMatchObject({ code: 'THEATER_NOT_FOUND' });
    expect(mainline(theater)).toBe(theater.headSha);
  });
});

describe('the user’s checkout of the mainline', () => {
  test('edits in files that the branch brings stop it, named, before anything moves', async () => {
    using s = scratch();
    const theater = await s.theater();
    userCommit(theater, { edited: '1', staged: '1', deleted: '1', linked: '1' });
    const files = { edited: '2', staged: '2', deleted: '2', linked: '2', 'un/tracked': '2' };
    const a = await order(theater, 'a', files);
    write(theater.repoPath, {
      edited: 'mine',
      staged: 'mine',
      deleted: null,
      un: 'mine',
      linked: null,
    });
    git(theater.repoPath, 'add', 'staged');
    symlinkSync('/etc/hostname', join(theater.repoPath, 'linked'));
    const before = [mainline(theater), status(theater)];
    await expect(into(theater, a)).rejects.toMatchObject({
      code: 'MAINLINE_DIRTY',
      details: {
        files: expect.arrayContaining(['deleted', 'edited', 'linked', 'staged', 'un/tracked']),
      },
    });
    expect([mainline(theater), status(theater)]).toEqual(before);
    expect(readFileSync(join(theater.repoPath, 'edited'), 'utf8')).toBe('mine');
  });

  test('other edits, staged or not, stay as they are', async () => {
    using s = scratch();
    const theater = await s.theater();
    userCommit(theater, { edited: '1', staged: '1' });
    const a = await order(theater, 'a', { new: '1', same: 'same' });
    write(theater.repoPath, { edited: 'mine', staged: 'mine', untracked: '', same: 'same' });
    git(theater.repoPath, 'add', 'staged');
    await into(theater, a);
    expect(status(theater)).toBe(' M edited\nM  staged\n?? untracked');
    fsck(theater.repoPath);
  });

  test('is left alone when it is on another branch', async () => {
    using s = scratch();
    const theater = await s.theater();
    git(theater.repoPath, 'checkout', '-qb', 'users');
    const a = await order(theater, 'a', { x: '1' });
    const { commitSha } = await into(theater, a);
    expect(mainline(theater)).toBe(commitSha);
    expect(git(theater.repoPath, 'status', '--porcelain', '--branch')).toBe('## users');
    git(theater.repoPath, 'checkout', '-q', 'main');
    expect(readFileSync(join(theater.repoPath, 'x'), 'utf8')).toBe('1');
  });

  test('a running git of the user is waited for, not broken', async () => {
    using s = scratch();
    const theater = await s.theater();
    const a = await order(theater, 'a', { x: '1' });
    const lock = join(theater.gitDir, 'index.lock');
    writeFileSync(lock, '');
    const done = into(theater, a);
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(mainline(theater)).toBe(theater.headSha);
    rmSync(lock);
    await expect(done).resolves.toMatchObject({ alreadyMerged: false });
    expect(status(theater)).toBe('');
  });

  test('is brought along by the next call if the process died after the move', async () => {
    using s = scratch();
    const theater = await s.theater();
    userCommit(theater, { changed: '1', edited: '1', gone: '1' });
    const from = mainline(theater);
    const a = await order(theater, 'a', { changed: '2', edited: '2', gone: null, 'd/new': '2' });
    const { commitSha } = await into(theater, a);
    // as it was between the move of the ref and the first file
    git(theater.repoPath, 'reset', '-q', '--hard', from);
    git(theater.repoPath, 'update-ref', 'refs/heads/main', commitSha);
    write(theater.repoPath, { changed: '2', edited: 'mine' });
    const journal = JSON.stringify({ mainline: 'main', from, to: commitSha });
    writeFileSync(join(theater.gitDir, 'ironclaw/promotion.json'), journal);
    const { repoPath, theaterId } = theater;
    await openTheater({ theaterId, repoPath, author, timestampSec: at });
    expect(status(theater)).toBe(' M edited');
    expect(readFileSync(join(theater.repoPath, 'edited'), 'utf8')).toBe('mine');
    expect(git(theater.repoPath, 'ls-files')).toBe('changed\nd/new\nedited');
    expect(await into(theater, a)).toMatchObject({ commitSha, alreadyMerged: true });
  });

  test('where git keeps reflogs the promotion is in them', async () => {
    using s = scratch();
    const path = join(s.root, 'project');
    git(s.root, 'init', '-q', '-b', 'main', path);
    gitAs(path, 'commit', '-q', '--allow-empty', '-m', 'first');
    const theater = await openTheater({ theaterId: 'd', repoPath: path, author, timestampSec: at });
    await into(theater, await order(theater, 'a', { x: '1' }));
    for (const ref of ['main', 'HEAD']) {
      expect(git(path, 'reflog', '-1', '--format=%gs', ref)).toBe('ironclaw: Integrate a');
    }
  });
});
