import { chmodSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { commitFiles } from './commit.ts';
import { fsck, git, leftovers, put, read, rig, snapshot, stamp } from './test_kit.ts';

const WP = 'kitty-specs/064-demo/tasks/WP01.md';
const base = {
  destination: 'main',
  paths: [WP],
  message: 'History of WP01',
  allowProtected: true,
  ...stamp,
};

test('D.35 a history commit holds its files alone; staged and edited files stay so', async () => {
  using r = rig();
  const { root, repository } = r;
  put(root, 'staged', 'staged\n');
  git(root, 'add', 'staged');
  put(root, 'README.md', 'edited\n');
  put(root, WP, '---\n---\n- note "x" ü $(x) `y`\n');
  const done = await commitFiles({ ...base, repository });
  expect(done).toEqual({ ok: true, value: { commit: git(root, 'rev-parse', 'main') } });
  expect(git(root, 'show', '--name-only', '--format=%s')).toBe(`History of WP01\n\n${WP}`);
  expect(git(root, 'show', `HEAD:${WP}`)).toBe(read(root, WP).trimEnd());
  expect(git(root, 'status', '--porcelain')).toBe(' M README.md\nA  staged');
  expect(await commitFiles({ ...base, repository })).toEqual(done);
  expect(leftovers(repository)).toEqual([]);
  fsck(repository);
});

test.for(['pre-commit', 'commit-msg'])(
  'D.35 the hook %s that fails is HISTORY_COMMIT_FAILED and nothing moves',
  async (name) => {
    using r = rig();
    const { root, repository } = r;
    put(root, 'staged', 'x');
    git(root, 'add', 'staged');
    put(root, WP, 'new\n');
    const hook = join(root, '.git/hooks', name);
    put(root, `.git/hooks/${name}`, '#!/bin/sh\ngit diff --cached --name-only >&2\nexit 3\n');
    chmodSync(hook, 0o755);
    const before = snapshot(repository);
    const done = await commitFiles({ ...base, repository });
    expect(done).toMatchObject({ error: { code: 'HISTORY_COMMIT_FAILED' } });
    // The hook sees what is about to be committed, not what the user has staged.
    expect(!done.ok && done.error.message).toContain(WP);
    expect(!done.ok && done.error.message).not.toContain('staged');
    expect(snapshot(repository)).toBe(before);
    expect(leftovers(repository)).toEqual([]);
    fsck(repository);
  },
);

test('D.35 ten history commits at once all get in, one after the other', async () => {
  using r = rig();
  const { root, repository } = r;
  const all = Array.from({ length: 10 }, (_, i) => `kitty-specs/064-demo/n${i}`);
  for (const path of all) put(root, path, path);
  const done = await Promise.all(
    all.map((path) => commitFiles({ ...base, repository, paths: [path] })),
  );
  expect(done.every(({ ok }) => ok)).toBe(true);
  expect(git(root, 'rev-list', '--count', 'main')).toBe('11');
  expect(git(root, 'status', '--porcelain')).toBe('');
  fsck(repository);
});

test('D.35 every condition of a safe commit has its code, and changes nothing', async () => {
  using r = rig();
  const { root, repository } = r;
  put(root, WP, 'new\n');
  const code = async (more: Partial<Parameters<typeof commitFiles>[0]>) => {
    const before = snapshot(repository);
    const done = await commitFiles({ ...base, repository, ...more });
    expect(snapshot(repository)).toBe(before);
    return done.ok ? 'ok' : done.error.code.replace('SAFE_COMMIT_', '');
  };
  expect(await code({ allowProtected: false })).toBe('PROTECTED_BRANCH');
  expect(await code({ destination: 'refs/heads/main' })).toBe('DESTINATION_REF_SHAPE');
  expect(await code({ destination: 'nowhere' })).toBe('DESTINATION_NOT_FOUND');
  expect(await code({ paths: [] })).toBe('EMPTY_CHANGESET');
  for (const path of ['.worktrees/x/y', '../x', '/etc/passwd', '.git/config', 'a/.GIT/b']) {
    expect(await code({ paths: [path] })).toBe('PATH_POLICY');
  }
  const elsewhere = { root: join(root, 'kitty-specs'), gitDir: repository.gitDir };
  expect(await code({ repository: elsewhere })).toBe('NOT_A_WORKTREE');
  symlinkSync('/tmp', join(root, 'link'));
  expect(await code({ paths: ['link/x'] })).toBe('HISTORY_COMMIT_FAILED');
  git(root, 'branch', 'other');
  expect(await code({ destination: 'other' })).toBe('HEAD_MISMATCH');
  git(root, 'checkout', '-q', '--detach');
  const detached = await commitFiles({ ...base, repository });
  expect(detached).toMatchObject({
    error: { data: { observed_head: git(root, 'rev-parse', 'HEAD'), destination_ref: 'main' } },
  });
});

test('D.35 a merge of the user that is not finished is SAFE_COMMIT_BACKSTOP', async () => {
  using r = rig();
  const { root, repository } = r;
  git(root, 'checkout', '-qb', 'other');
  put(root, 'README.md', 'other\n');
  git(root, 'commit', '-qam', 'other');
  git(root, 'checkout', '-q', 'main');
  put(root, 'README.md', 'main\n');
  git(root, 'commit', '-qam', 'main');
  expect(() => git(root, 'merge', 'other')).toThrow('merge other');
  put(root, WP, 'new\n');
  expect(await commitFiles({ ...base, repository })).toMatchObject({
    error: {
      code: 'SAFE_COMMIT_BACKSTOP',
      data: { unexpected: [{ path: 'README.md', status_code: 'UU' }], requested: [WP] },
    },
  });
});
