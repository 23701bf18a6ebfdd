import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { freshIds, git, startSystem, type System } from './harness.ts';
import * as theaters from './theaters.ts';
import { type Data, err, ok, refused, WAYS } from './wire.ts';

let system: System;
beforeAll(async () => {
  system = await startSystem({ roles: ['ledger', 'vault'] });
});
afterAll(() => system?.[Symbol.asyncDispose]());

const run = promisify(execFile);
const tar = async (...args: string[]): Promise<string> => (await run('tar', args)).stdout;

describe.each(WAYS)('vault over %s', (way) => {
  const call = (name: string, input: unknown) => system.call(way, `vault.${name}`, input);
  const openTheater = () => theaters.openTheater(system);
  const openWorktree = async () => theaters.openWorktree(system, await openTheater());
  const types = (order_id: string) => theaters.typesOf(system, order_id);

  test('8.18 a new theater is a repository with one commit; opening again changes nothing', async () => {
    const { theater: theater_id } = freshIds();
    const repo_path = path.join(system.stateDir, 'theaters', theater_id, 'repo');
    const first = ok(await call('open-theater', { theater_id, repo_path }));
    expect(first).toMatchObject({ theater_id, created: true });
    const repo = first.repo_path;
    expect(await git(repo, 'rev-list', '--count', 'HEAD')).toBe('1');
    expect(await git(repo, 'rev-parse', 'HEAD')).toBe(first.head_sha);
    expect(await git(repo, 'status', '--porcelain')).toBe('');
    await git(repo, 'fsck', '--strict');
    const again = ok(await call('open-theater', { theater_id, repo_path }));
    expect(again).toEqual({ ...first, created: false });
    const events = await system.eventsOf({ theater_id });
    expect(events.map(({ type }) => type)).toEqual(['THEATER_OPENED']);
    const elsewhere = path.join(system.stateDir, 'elsewhere', theater_id);
    err(await call('open-theater', { theater_id, repo_path: elsewhere }), 'THEATER_CONFLICT', 409);
    expect(existsSync(elsewhere)).toBe(false);
  });

  test('8.18 an existing repository is opened without rewriting its history', async () => {
    const { theater: theater_id } = freshIds();
    const repo_path = path.join(system.stateDir, 'existing', theater_id);
    await mkdir(repo_path, { recursive: true });
    await git(repo_path, 'init', '--quiet', '--initial-branch=trunk');
    await theaters.commit(repo_path, { 'README.md': '# theirs\n' });
    await theaters.commit(repo_path, { 'src/a.txt': 'a\n' });
    await git(repo_path, 'branch', 'side');
    await git(repo_path, 'gc', '--quiet');
    await theaters.write(repo_path, { 'README.md': '# edited, not committed\n' });
    const refs = await git(repo_path, 'for-each-ref');
    const status = await git(repo_path, 'status', '--porcelain=v2', '--branch');
    const head = await git(repo_path, 'rev-parse', 'HEAD');
    const opened = ok(await call('open-theater', { theater_id, repo_path }));
    expect(opened).toMatchObject({ created: false, head_sha: head, mainline: 'trunk' });
    expect(await git(repo_path, 'for-each-ref')).toBe(refs);
    expect(await git(repo_path, 'status', '--porcelain=v2', '--branch')).toBe(status);
  });

  test('8.19 a worktree is one that git knows, told by two events, once', async () => {
    const { theater_id, repo } = await openTheater();
    const { order: order_id } = freshIds();
    const branch = `order_${order_id}`;
    const input = { theater_id, order_id, branch };
    const made = ok(await call('create-worktree', input));
    expect(made).toMatchObject({ branch, created: true });
    const list = await git(repo, 'worktree', 'list', '--porcelain');
    expect(list).toContain(`worktree ${made.worktree_path}\n`);
    expect(list).toContain(`branch refs/heads/${branch}`);
    expect(await git(made.worktree_path, 'status', '--porcelain')).toBe('');
    expect(await types(order_id)).toEqual(['WORKTREE_CREATED', 'WORKTREE_READY']);
    const again = ok(await call('create-worktree', input));
    expect(again).toEqual({ ...made, created: false });
    expect(await types(order_id)).toEqual(['WORKTREE_CREATED', 'WORKTREE_READY']);
    err(await call('create-worktree', { ...input, branch: 'other' }), 'WORKTREE_CONFLICT', 409);
    const order = ok(
      await system.call(way, 'ledger.order', { order_id, at_least: await system.tail() }),
    );
    expect(order.worktree).toMatchObject({ path: made.worktree_path, branch, state: 'READY' });
  });

  test('8.19 20 callers at once make one worktree, told once', async () => {
    const { theater_id, repo } = await openTheater();
    const { order: order_id } = freshIds();
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => call('create-worktree', { theater_id, order_id })),
    );
    const made = answers.map((answer) => ok(answer));
    expect(new Set(made.map(({ worktree_path }) => worktree_path)).size).toBe(1);
    expect(made.filter(({ created }) => created)).toHaveLength(1);
    expect(await types(order_id)).toEqual(['WORKTREE_CREATED', 'WORKTREE_READY']);
    expect((await git(repo, 'worktree', 'list')).split('\n')).toHaveLength(2);
  });

  test('8.19 an attempt gets one fresh worktree, whoever asks, and none once it is queued', async () => {
    const { theater_id } = await openTheater();
    const { order: order_id } = freshIds();
    const tell = async (type: string, payload: Data = {}) =>
      ok(await system.call('http', 'ledger.append', { theater_id, order_id, type, payload }));
    const ask = (attempt: number) =>
      Promise.all(
        Array.from({ length: 10 }, () =>
          call('create-worktree', { theater_id, order_id, attempt }),
        ),
      );
    const oneMade = async (attempt: number): Promise<string> => {
      const made = (await ask(attempt)).map((answer) => ok(answer));
      expect(made.filter(({ created }) => created)).toHaveLength(1);
      return made[0]?.worktree_path;
    };
    const firstMade = await oneMade(1);
    await tell('ORDER_ENQUEUED', { attempt: 1 });
    await tell('ORDER_STARTED', { attempt: 1 });
    await theaters.write(firstMade, { 'half-done.txt': 'of the first attempt\n' });
    for (const answer of await ask(1)) err(answer, 'ILLEGAL_TRANSITION', 409);
    await tell('ORDER_REISSUED', { attempt: 2, reason: 'lease_expired' });
    expect(await oneMade(2)).toBe(firstMade);
    expect(existsSync(path.join(firstMade, 'half-done.txt'))).toBe(false);
    await tell('ORDER_ENQUEUED', { attempt: 2 });
    await theaters.write(firstMade, { 'at-work.txt': 'of the second attempt\n' });
    // Those who are late, with the attempt or with an old one, take nothing from the unit.
    for (const attempt of [1, 2]) {
      for (const answer of await ask(attempt)) err(answer, 'ILLEGAL_TRANSITION', 409);
    }
    expect(existsSync(path.join(firstMade, 'at-work.txt'))).toBe(true);
    const told = (await types(order_id)).filter((type) => type.startsWith('WORKTREE'));
    const [made, packed] = [
      ['WORKTREE_CREATED', 'WORKTREE_READY'],
      ['WORKTREE_ARCHIVED', 'WORKTREE_REMOVED'],
    ] as const;
    expect(told).toEqual([...made, ...packed, ...made]);
  });

  test('8.21 prepare writes the order to the letter and a task that states the objective', async () => {
    const worktree = await openWorktree();
    const { order_id, tree } = worktree;
    const order = theaters.orderOf(worktree, { extra: { kept: ['as', 'is', 1.5, null] } });
    const data = ok(await call('prepare-worktree', { order_id, order }));
    expect(data.worktree_path).toBe(tree);
    expect(JSON.parse(await readFile(path.join(tree, 'order.json'), 'utf8'))).toEqual(order);
    expect(await readFile(path.join(tree, 'task.md'), 'utf8')).toContain(order.objective);
    expect(JSON.parse(await readFile(path.join(tree, 'state.json'), 'utf8'))).toMatchObject({
      order_id,
    });
    ok(await call('prepare-worktree', { order_id, order }));
    expect(JSON.parse(await readFile(path.join(tree, 'order.json'), 'utf8'))).toEqual(order);
  });

  test('8.21 prepare for an unknown order is 404', async () => {
    const { order: order_id, theater: theater_id } = freshIds();
    const order = theaters.orderOf({ order_id, theater_id } as theaters.OpenWorktree);
    err(await call('prepare-worktree', { order_id, order }), 'WORKTREE_NOT_FOUND', 404);
  });

  test('8.21 prepare with the order of another path is refused and writes nothing', async () => {
    const worktree = await openWorktree();
    const other = theaters.orderOf({ ...worktree, order_id: freshIds().order });
    const { order_id, tree } = worktree;
    refused(await call('prepare-worktree', { order_id, order: other }), 'INVALID_REQUEST');
    expect(existsSync(path.join(tree, 'order.json'))).toBe(false);
  });

  test('8.22 archive, remove, remove again, make anew', async () => {
    const { order_id, tree, branch, repo, theater_id } = await openWorktree();
    const sha = await theaters.commit(tree, {
      'aar.json': theaters.aarOf(order_id, ['outputs/a.txt']),
      'outputs/a.txt': 'made\n',
    });
    const archived = ok(await call('archive-worktree', { order_id }));
    const listed = (await tar('-tzf', archived.archive_path)).split('\n');
    expect(listed).toEqual(expect.arrayContaining(['aar.json', 'outputs/a.txt']));
    const text = await tar('-xzOf', archived.archive_path, 'aar.json');
    expect(JSON.parse(text)).toMatchObject({ order_id });
    expect((await types(order_id)).at(-1)).toBe('WORKTREE_ARCHIVED');

    expect(ok(await call('remove-worktree', { order_id }))).toMatchObject({ removed: true });
    expect(existsSync(tree)).toBe(false);
    expect(await git(repo, 'worktree', 'list', '--porcelain')).not.toContain(order_id);
    expect(await git(repo, 'rev-parse', branch)).toBe(sha);
    expect((await types(order_id)).at(-1)).toBe('WORKTREE_REMOVED');
    const told = await types(order_id);

    expect(ok(await call('remove-worktree', { order_id }))).toMatchObject({ removed: false });
    expect(await types(order_id)).toEqual(told);

    const made = ok(await call('create-worktree', { theater_id, order_id }));
    expect(made).toMatchObject({ worktree_path: tree, created: true });
    expect(existsSync(path.join(tree, 'outputs/a.txt'))).toBe(false);
    expect(await git(repo, 'branch', '--all', '--contains', sha)).toBeDefined();
    expect(await git(repo, 'for-each-ref', '--contains', sha)).toContain(sha);
    expect((await types(order_id)).slice(-2)).toEqual(['WORKTREE_CREATED', 'WORKTREE_READY']);
  });

  test('8.22 archive and remove of an order that nobody knows are 404', async () => {
    const { order: order_id } = freshIds();
    err(await call('archive-worktree', { order_id }), 'WORKTREE_NOT_FOUND', 404);
    err(await call('remove-worktree', { order_id }), 'WORKTREE_NOT_FOUND', 404);
    err(await call('worktree', { order_id }), 'WORKTREE_NOT_FOUND', 404);
  });

  test('8.23 uncommitted work is refused, and goes only once it is in the archive', async () => {
    const { order_id, tree, repo } = await openWorktree();
    await theaters.commit(tree, { 'kept.txt': 'committed\n' });
    await theaters.write(tree, { 'new.txt': 'new\n', 'kept.txt': 'changed\n' });
    const error = err(await call('remove-worktree', { order_id }), 'WORKTREE_DIRTY', 409);
    expect(error.details?.files.toSorted()).toEqual(['kept.txt', 'new.txt']);
    expect(await readFile(path.join(tree, 'new.txt'), 'utf8')).toBe('new\n');
    expect(await types(order_id)).not.toContain('WORKTREE_REMOVED');

    const { archive_path } = ok(await call('archive-worktree', { order_id }));
    expect(await tar('-xzOf', archive_path, 'new.txt')).toBe('new\n');
    expect(await tar('-xzOf', archive_path, 'kept.txt')).toBe('changed\n');

    await theaters.write(tree, { 'later.txt': 'after the archive\n' });
    err(await call('remove-worktree', { order_id }), 'WORKTREE_DIRTY', 409);
    expect(await readFile(path.join(tree, 'later.txt'), 'utf8')).toBe('after the archive\n');

    const second = ok(await call('archive-worktree', { order_id }));
    expect(ok(await call('remove-worktree', { order_id }))).toMatchObject({ removed: true });
    expect(await tar('-xzOf', second.archive_path, 'later.txt')).toBe('after the archive\n');
    await git(repo, 'fsck', '--strict');
  });

  test('8.23 a file that the worktree never had in git is not lost without a word', async () => {
    const { order_id, tree } = await openWorktree();
    await theaters.commit(tree, { '.gitignore': 'secret/\n' });
    await theaters.write(tree, { 'outputs/deep/er/a.txt': 'work\n' });
    err(await call('remove-worktree', { order_id }), 'WORKTREE_DIRTY', 409);
    const state = ok(await call('worktree', { order_id })) as Data;
    expect(state.clean).toBe(false);
    expect(existsSync(path.join(tree, 'outputs/deep/er/a.txt'))).toBe(true);
  });
});
