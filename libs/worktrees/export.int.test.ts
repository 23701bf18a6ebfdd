import {
  lstatSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { changedFiles, exportCommit } from './export.ts';
import { git, gitAs, scratch } from './test_kit.ts';
import { createWorktree } from './worktree.ts';

function commit(dir: string, files: Record<string, string>): string {
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(join(dir, path, '..'), { recursive: true });
    writeFileSync(join(dir, path), text);
  }
  gitAs(dir, 'add', '-A');
  gitAs(dir, 'commit', '-qm', 'x');
  return git(dir, 'rev-parse', 'HEAD');
}

test('what a branch changed is told from its fork, whatever the mainline did since', async () => {
  using s = scratch();
  const theater = await s.theater();
  const { repoPath } = theater;
  commit(repoPath, { 'keep.txt': '1', 'gone.txt': '1', 'same.txt': '1' });
  const { worktreePath, branch } = await createWorktree({ theater, orderId: 'a' });
  commit(repoPath, { 'later.txt': 'of the mainline', 'keep.txt': '2' });
  git(worktreePath, 'rm', '-q', 'gone.txt');
  symlinkSync('/etc/passwd', join(worktreePath, 'link'));
  const head = commit(worktreePath, { 'outputs/a.txt': 'new' });
  const wanted = [
    { path: 'gone.txt', now: 'nothing' },
    { path: 'link', now: 'link' },
    { path: 'outputs/a.txt', now: 'file' },
  ];
  expect(await changedFiles({ repoPath, base: 'main', head })).toEqual(wanted);
  // Brought in from the mainline: it is not the branch's own.
  gitAs(worktreePath, 'merge', '-qm', 'merge', 'main');
  expect(await changedFiles({ repoPath, base: 'main', head: branch })).toEqual(wanted);
});

test('a commit is exported as it is, apart from the repository', async () => {
  using s = scratch();
  const { repoPath } = await s.theater();
  symlinkSync('run.sh', join(repoPath, 'a-link'));
  commit(repoPath, { 'run.sh': '#!/bin/sh\n', 'deep/er/x.txt': 'x' });
  git(repoPath, 'update-index', '--chmod=+x', 'run.sh');
  gitAs(repoPath, 'commit', '-qm', 'mode');
  const dir = join(s.root, 'out');
  await exportCommit({ repoPath, ref: 'main', dir });
  expect(readFileSync(join(dir, 'deep/er/x.txt'), 'utf8')).toBe('x');
  expect(readlinkSync(join(dir, 'a-link'))).toBe('run.sh');
  expect(lstatSync(join(dir, 'run.sh')).mode & 0o111).toBe(0o111);
  expect(() => lstatSync(join(dir, '.git'))).toThrow(/ENOENT/);
  await expect(exportCommit({ repoPath, ref: 'main', dir })).rejects.toMatchObject({
    code: 'INVALID_REQUEST',
  });
});

test('a tree with a link and a folder of one name writes nothing through the link', async () => {
  using s = scratch();
  const { repoPath } = await s.theater();
  const outside = join(s.root, 'outside');
  mkdirSync(outside);
  const put = (args: string[], input: string | Buffer) =>
    execFileSync('git', args, { cwd: repoPath, input, encoding: 'utf8' }).trim();
  const blob = (text: string) => put(['hash-object', '-w', '--stdin'], text);
  const entry = (mode: string, name: string, oid: string) =>
    Buffer.concat([Buffer.from(`${mode} ${name}\0`), Buffer.from(oid, 'hex')]);
  const tree = (...entries: Buffer[]) =>
    put(['hash-object', '-w', '-t', 'tree', '--literally', '--stdin'], Buffer.concat(entries));
  const inner = tree(entry('100644', 'evil', blob('x')));
  const bad = tree(entry('120000', 'a', blob(outside)), entry('40000', 'a', inner));
  const sha = gitAs(repoPath, 'commit-tree', '-m', 'bad', bad);
  await expect(exportCommit({ repoPath, ref: sha, dir: join(s.root, 'out') })).rejects.toThrow(
    /EEXIST/,
  );
  expect(() => lstatSync(join(outside, 'evil'))).toThrow(/ENOENT/);
});
