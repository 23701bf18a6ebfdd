import { existsSync } from 'node:fs';
import { mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { freshIds, git, startSystem, type System } from './harness.ts';
import { BAD_IDS } from './hostile.ts';
import { type OpenWorktree, openTheater, openWorktree, orderOf, pathsBelow } from './theaters.ts';
import { type Answer, callNats, type Data, err, ok, refused, sendHttp, WAYS } from './wire.ts';

let system: System;
let worktree: OpenWorktree;
let outside: string;
beforeAll(async () => {
  system = await startSystem({ roles: ['ledger', 'vault'] });
  worktree = await openWorktree(system, await openTheater(system));
  outside = path.join(system.stateDir, 'outside');
  await mkdir(outside);
  await writeFile(path.join(outside, 'victim.txt'), 'as it was\n');
});
afterAll(() => system?.[Symbol.asyncDispose]());

/** The views' files, and the locks and the ignore list that a vault keeps in a git dir. */
const OURS = /^views|\/\.git\/(ironclaw\/(locks|stage)\/|info\/exclude$)/;

const json = (value: unknown): string => JSON.stringify(value);

const BAD_BRANCHES: readonly [string, string][] = [
  '--force|-b|-|--upload-pack=touch x|..|.|a..b|../x|/a|a/|a//b|.a|a/.b|a.|a.lock|a/b.lock'.split(
    '|',
  ),
  'a b|a~1|a^|a:b|a?|a*|a[|a\\b|@|a@{1}|HEAD|a\0b|a\nb|a\u007f|a\ud800||'.split('|'),
  ['x'.repeat(300)],
]
  .flat()
  .map((branch) => [json(branch).slice(0, 40), branch]);

describe.each(WAYS)('hostile names at the vault over %s', (way) => {
  const call = (name: string, input: unknown) => system.call(way, `vault.${name}`, input);

  /** Nothing new below the state folder, in the ledger or among the branches. */
  const unchanged = async (work: () => Promise<void>): Promise<void> => {
    const state = async () => [
      await system.tail(),
      await git(worktree.repo, 'for-each-ref'),
      (await pathsBelow(system.stateDir)).filter((file) => !OURS.test(file)),
    ];
    const before = await state();
    await work();
    expect(await state()).toEqual(before);
  };
  const expectRefused = (send: () => Promise<Answer>, code?: string): Promise<void> =>
    unchanged(async () => {
      refused(await send(), code);
    });

  test('8.20 an unknown theater is 404', async () => {
    const { theater: theater_id, order: order_id } = freshIds();
    await expectRefused(
      () => call('create-worktree', { theater_id, order_id }),
      'THEATER_NOT_FOUND',
    );
  });

  test.each(BAD_IDS)('8.20 an order_id is refused: %s', async (_name, order_id) => {
    const { theater_id } = worktree;
    const order = orderOf({ ...worktree, order_id });
    await unchanged(async () => {
      refused(await call('create-worktree', { theater_id, order_id }), 'INVALID_REQUEST');
      // Half a surrogate pair cannot stand in a URL.
      if (way === 'http' && !order_id.isWellFormed()) return;
      // Over HTTP some of these make another path: then there is nothing there.
      const code = way === 'nats' ? 'INVALID_REQUEST' : undefined;
      refused(await call('prepare-worktree', { order_id, order }), code);
      refused(await call('archive-worktree', { order_id }), code);
      refused(await call('remove-worktree', { order_id }), code);
      refused(await call('worktree', { order_id }), code);
    });
  });

  test.each(BAD_IDS)('8.20 a theater_id is refused: %s', async (_name, theater_id) => {
    const { order: order_id } = freshIds();
    await unchanged(async () => {
      refused(await call('open-theater', { theater_id }), 'INVALID_REQUEST');
      refused(await call('create-worktree', { theater_id, order_id }), 'INVALID_REQUEST');
    });
  });

  test.each(BAD_BRANCHES)('8.20 a branch is refused: %s', async (_name, branch) => {
    const { theater_id } = worktree;
    const { order: order_id } = freshIds();
    const create = () => call('create-worktree', { theater_id, order_id, branch });
    await expectRefused(create, 'INVALID_REQUEST');
  });

  test.each(['main', 'order_theirs'])(
    '8.20 a branch of somebody else is refused: %s',
    async (branch) => {
      const { theater_id, repo } = worktree;
      if (branch !== 'main') await git(repo, 'branch', '--force', branch);
      const { order: order_id } = freshIds();
      const create = () => call('create-worktree', { theater_id, order_id, branch });
      await expectRefused(create, 'WORKTREE_CONFLICT');
    },
  );

  test.each([
    ['a number', 17],
    ['null', null],
    ['a list', ['a']],
    ['an object', { toString: 'a' }],
    ['true', true],
  ])('8.20 an id that is %s is refused', async (_name, id) => {
    const { theater_id, order_id } = worktree;
    for (const input of [
      { theater_id: id, order_id },
      { theater_id, order_id: id },
    ]) {
      await expectRefused(() => call('create-worktree', input), 'INVALID_REQUEST');
    }
  });

  test.each([
    ['relative', 'theaters/x/repo'],
    ['empty', ''],
    ['the root', '/'],
    ['through a parent', '/tmp/../etc/x'],
    ['NUL', '/tmp/a\0b'],
    ['a file', '/etc/passwd'],
    ['below a file', '/etc/passwd/repo'],
    ['a URL', 'https://example.test/repo.git'],
    ['where no folder can be', '/proc/x/repo'],
    ['5 000 characters', `/${'x'.repeat(5_000)}`],
    ['a number', 17],
  ])('8.20 a repo_path is refused: %s', async (_name, repo_path) => {
    const { theater: theater_id } = freshIds();
    await expectRefused(() => call('open-theater', { theater_id, repo_path }), 'INVALID_REQUEST');
  });

  test('8.20 a repository inside another, or among our own files, is refused', async () => {
    const { theater: first } = freshIds();
    const { repo_path } = ok(await call('open-theater', { theater_id: first }));
    const { theater: theater_id } = freshIds();
    const state = path.resolve(repo_path, '../../..');
    for (const place of [path.join(repo_path, 'sub'), path.join(state, 'views', 'x')]) {
      const open = () => call('open-theater', { theater_id, repo_path: place });
      await expectRefused(open, 'INVALID_REQUEST');
      expect(existsSync(place)).toBe(false);
    }
  });

  test('8.20 a folder with files that is no repository is refused and left as it is', async () => {
    const { theater: theater_id } = freshIds();
    const open = () => call('open-theater', { theater_id, repo_path: outside });
    await expectRefused(open, 'INVALID_REQUEST');
    expect(await readFile(path.join(outside, 'victim.txt'), 'utf8')).toBe('as it was\n');
  });

  test.each([
    ['a parent', '../outside/victim.txt'],
    ['absolute', '/tmp/ironclaw-victim'],
    ['the git link', '.git'],
    ['a hook', '.git/hooks/post-commit'],
    ['the git link in capitals', '.GIT/config'],
    ['a backslash', '..\\victim.txt'],
    ['NUL', 'a\0b'],
    ['nothing', ''],
    ['a dot', '.'],
  ])('8.21 a file to prepare is refused: %s', async (_name, file) => {
    const { order_id } = worktree;
    const files = [{ path: file, text: 'evil\n' }];
    await expectRefused(() =>
      call('prepare-worktree', { order_id, order: orderOf(worktree), files }),
    );
    expect(await readFile(path.join(outside, 'victim.txt'), 'utf8')).toBe('as it was\n');
  });

  test('8.21 links in a worktree are not followed when it is prepared', async () => {
    const own = await openWorktree(system, worktree);
    const { order_id, tree } = own;
    await symlink(outside, path.join(tree, 'inputs'));
    const files = [{ path: 'inputs/victim.txt', text: 'evil\n' }];
    const order = orderOf(own);
    refused(await call('prepare-worktree', { order_id, order, files }), 'TOOL_POLICY_VIOLATION');
    await rm(path.join(tree, 'task.md'), { force: true });
    await symlink(path.join(outside, 'victim.txt'), path.join(tree, 'task.md'));
    await call('prepare-worktree', { order_id, order });
    expect(await readFile(path.join(outside, 'victim.txt'), 'utf8')).toBe('as it was\n');
    await symlink(outside, path.join(tree, 'secrets'));
    const { archive_path } = ok(await call('archive-worktree', { order_id }));
    expect(existsSync(archive_path)).toBe(true);
    expect(existsSync(path.join(outside, 'victim.txt'))).toBe(true);
  });

  const prepareText = (body: string): Promise<Answer> => {
    const { order_id } = worktree;
    if (way === 'http') {
      const headers = { 'content-type': 'application/json' };
      const route = `/worktrees/${order_id}/prepare`;
      return sendHttp(system.url('vault'), 'POST', route, { body, headers });
    }
    const text = body.replace('{', `{"order_id":${json(order_id)},`);
    return callNats(system.broker.nc, 'vault.prepare-worktree', text);
  };
  const withInput = (inner: string) => (): string =>
    json({ order: orderOf(worktree) }).replace('"inputs":{', `"inputs":{${inner},`);
  const withOrder = (change: Data) => (): string => json({ order: orderOf(worktree, change) });

  test.each([
    ['__proto__', withInput('"__proto__":{"text":"x"}')],
    ['constructor', withInput('"constructor":{"prototype":1}')],
    ['33 levels', withInput(`"deep":${'['.repeat(33)}${']'.repeat(33)}`)],
    ['10 000 levels', withInput(`"deep":${'['.repeat(10_000)}${']'.repeat(10_000)}`)],
    ['an integer beyond 2^53', withInput('"big":9007199254740993')],
    ['a number beyond all', withInput('"big":1e400')],
    ['half a surrogate pair', withInput('"text2":"a\\ud800"')],
    ['no order', () => '{"x":1}'],
    ['an order that is null', () => '{"order":null}'],
    ['an order that is a list', () => '{"order":[]}'],
    ['a budget below zero', withOrder({ constraints: { budget_seconds: -1 } })],
    ['a million retries', withOrder({ constraints: { max_retries: 1e6 } })],
    ['no objective', withOrder({ objective: undefined })],
  ])('8.21 an order is refused: %s', async (_name, body) => {
    await expectRefused(() => prepareText(body()), 'INVALID_REQUEST');
  });

  test('8.20 paths that a router might fold do not reach another worktree', async () => {
    if (way === 'nats') return;
    const { order_id } = worktree;
    const send = (method: string, route: string) => sendHttp(system.url('vault'), method, route);
    for (const route of [
      '/worktrees/..',
      '/worktrees/%2e%2e',
      '/worktrees/.',
      '/worktrees/',
      '/worktrees//',
      `/worktrees/%2e%2e%2f${order_id}`,
      `/worktrees/${order_id}/../../theaters`,
      `/worktrees/${order_id}%00`,
      `/worktrees/${order_id}%0a`,
      `/worktrees/${order_id}%`,
      `/worktrees/${order_id}%ff`,
      `/worktrees/${order_id}?force=true`,
      `/worktrees/${order_id}/extra`,
    ]) {
      refused(await send('DELETE', route));
    }
    expect(existsSync(worktree.tree)).toBe(true);
  });

  test('8.20 after all that the vault works', async () => {
    const own = await openWorktree(system, worktree);
    const { order_id } = own;
    ok(await call('prepare-worktree', { order_id, order: orderOf(own) }));
    const data = ok(await call('worktree', { order_id })) as Data;
    expect(data.branch).toBe(own.branch);
    err(await call('worktree', { order_id: freshIds().order }), 'WORKTREE_NOT_FOUND', 404);
    await git(worktree.repo, 'fsck', '--strict');
  });
});
