import { existsSync } from 'node:fs';
import { mkdir, symlink } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { freshIds, git, startSystem, type System } from './harness.ts';
import * as theaters from './theaters.ts';
import { aarOf, commit, type OpenTheater, type OpenWorktree, typesOf, write } from './theaters.ts';
import { type Answer, type Data, err, ok, refused, WAYS } from './wire.ts';

let system: System;
beforeAll(async () => {
  system = await startSystem({ roles: ['ledger', 'vault', 'integration'] });
});
afterAll(() => system?.[Symbol.asyncDispose]());

const openTheater = () => theaters.openTheater(system);
const openWorktree = async (theater?: OpenTheater) =>
  theaters.openWorktree(system, theater ?? (await openTheater()));

/** What a failed integration must leave as it was: mainline, HEAD's branch, index and checkout. */
async function repoState(repo: string): Promise<string> {
  expect(existsSync(path.join(repo, '.git/MERGE_HEAD'))).toBe(false);
  expect(existsSync(path.join(repo, '.git/index.lock'))).toBe(false);
  return git(repo, 'status', '--porcelain=v2', '--branch');
}

/** A unit's finished work: an AAR and one artifact, committed by real git. */
async function work(tree: OpenWorktree, name: string, text: string): Promise<string> {
  const file = `outputs/${name}`;
  return commit(tree.tree, { [file]: text, 'aar.json': aarOf(tree.order_id, [file]) });
}

describe.each(WAYS)('integration over %s', (way) => {
  const integrate = (tree: OpenWorktree, more: Data = {}): Promise<Answer> =>
    system.call(way, 'integration.integrate', {
      theater_id: tree.theater_id,
      order_id: tree.order_id,
      worktree_path: tree.tree,
      gate_profile: 'default',
      ...more,
    });

  test('8.43 a valid worktree is promoted, told by three events, once', async () => {
    const tree = await openWorktree();
    const { order_id, repo } = tree;
    const head = await work(tree, 'a.txt', 'made\n');
    const data = ok(await integrate(tree), 200);
    const sha = data.commit_sha as string;
    expect(data.duplicate).toBe(false);
    expect(data.gates.length).toBeGreaterThanOrEqual(2);
    expect(data.gates.every(({ passed }: Data) => passed)).toBe(true);
    const events = (await system.eventsOf({ order_id })).filter(({ type }) =>
      type.startsWith('INTEGR'),
    );
    expect(events.map(({ type }) => type)).toEqual([
      'INTEGRATION_STARTED',
      'INTEGRATION_PASSED',
      'INTEGRATED',
    ]);
    expect(events[2]?.payload).toMatchObject({ commit_sha: sha, mainline: 'main' });
    expect(await git(repo, 'rev-parse', 'main')).toBe(sha);
    expect(await git(repo, 'show', `${sha}:outputs/a.txt`)).toBe('made');
    expect(await git(repo, 'rev-parse', `${sha}^2`)).toBe(head);
    expect(await git(repo, 'status', '--porcelain')).toBe('');
    await git(repo, 'fsck', '--strict');

    const again = ok(await integrate(tree));
    expect(again).toMatchObject({ commit_sha: sha, duplicate: true });
    expect(await git(repo, 'rev-parse', 'main')).toBe(sha);
    expect(await typesOf(system, order_id)).toHaveLength(5);
    const at_least = await system.tail();
    const order = ok(await system.call(way, 'ledger.order', { order_id, at_least }));
    expect(order.integration).toMatchObject({ state: 'INTEGRATED', commit_sha: sha });
  });

  test('8.43 control files stay on the branch of their order', async () => {
    const tree = await openWorktree();
    const { order_id, repo, branch } = tree;
    const order = theaters.orderOf(tree);
    ok(await system.call(way, 'vault.prepare-worktree', { order_id, order }));
    await work(tree, 'a.txt', 'made\n');
    ok(await integrate(tree));
    expect(await git(repo, 'ls-tree', '-r', '--name-only', 'main')).toBe('outputs/a.txt');
    expect(await git(repo, 'show', `${branch}:aar.json`)).toContain(order_id);
  });

  test('8.43 ten callers at once promote once', async () => {
    const tree = await openWorktree();
    await work(tree, 'a.txt', 'made\n');
    const answers = await Promise.all(Array.from({ length: 10 }, () => integrate(tree)));
    const shas = answers.map((answer) => ok(answer).commit_sha);
    expect(new Set(shas)).toEqual(new Set([await git(tree.repo, 'rev-parse', 'main')]));
    const types = await typesOf(system, tree.order_id);
    expect(types.filter((type) => type.startsWith('INTEGR'))).toEqual([
      'INTEGRATION_STARTED',
      'INTEGRATION_PASSED',
      'INTEGRATED',
    ]);
    expect(await git(tree.repo, 'rev-list', '--count', '--first-parent', 'main')).toBe('2');
  });

  /** GATE_FAILED or the like, told with the gate; mainline and checkout as before. */
  const expectFailed = async (tree: OpenWorktree, gate: string, code: string): Promise<void> => {
    const before = await repoState(tree.repo);
    const error = err(await integrate(tree), code, 409);
    expect(await repoState(tree.repo)).toEqual(before);
    if (code === 'GATE_FAILED') expect(error.details?.gate).toBe(gate);
    const events = await system.eventsOf({ order_id: tree.order_id });
    const failed = events.filter(({ type }) => type === 'INTEGRATION_FAILED');
    expect(failed).toHaveLength(1);
    expect(failed[0]?.payload).toMatchObject({ gate, message: expect.stringMatching(/\S/) });
    const types = events.map(({ type }) => type);
    expect(types).not.toContain('INTEGRATED');
    expect(types.filter((type) => type === 'ESCALATION_RAISED')).toHaveLength(1);
  };

  const file = 'outputs/a.txt';
  let shared: OpenTheater;
  beforeAll(async () => {
    shared = await openTheater();
  });
  type Fault = [string, string, (id: string) => Record<string, unknown>];
  const faults: Fault[] = [
    ['no aar.json', 'aar-schema', () => ({ [file]: 'x' })],
    [
      'an aar.json that is no JSON',
      'aar-schema',
      () => ({ 'aar.json': '{"order_id":', [file]: 'x' }),
    ],
    ['an empty aar.json', 'aar-schema', () => ({ 'aar.json': '', [file]: 'x' })],
    ['an AAR that is a list', 'aar-schema', () => ({ 'aar.json': [], [file]: 'x' })],
    [
      'an AAR of 2 MB',
      'aar-schema',
      (id) => ({ 'aar.json': aarOf(id, [], { notes: ['x'.repeat(2e6)] }) }),
    ],
    ...Object.entries<Data>({
      'without a summary': { summary: undefined },
      'with a summary that is a number': { summary: 1 },
      'without a model': { model: undefined },
      'without artifacts': { artifacts: undefined },
      'with a date that is none': { completed_at: 'yesterday' },
      'of an attempt that failed': { status: 'failed' },
      'with a status that is none': { status: 'COMPLETED' },
      'of another order': { order_id: 'other' },
      'with an artifact outside': { artifacts: [{ path: '../../etc/passwd', type: 'text/plain' }] },
      'with an absolute artifact': { artifacts: [{ path: '/etc/passwd', type: 'text/plain' }] },
      'with an artifact with NUL': { artifacts: [{ path: 'a\0b', type: 'text/plain' }] },
      'with an artifact that has no path': { artifacts: [{ type: 'text/plain' }] },
    }).map(
      ([name, change]): Fault => [
        `an AAR ${name}`,
        'aar-schema',
        (id) => ({ 'aar.json': aarOf(id, [file], change), [file]: 'x' }),
      ],
    ),
    ['an artifact that is not there', 'artifacts', (id) => ({ 'aar.json': aarOf(id, [file]) })],
    [
      'an artifact that is a folder',
      'artifacts',
      (id) => ({ 'aar.json': aarOf(id, ['outputs']), [file]: 'x' }),
    ],
    [
      'an artifact in the git dir',
      'artifacts',
      (id) => ({ 'aar.json': aarOf(id, ['.git/config']) }),
    ],
  ];
  // The gates do not see how they were called: over NATS a few of them are enough.
  const some = faults.filter((_fault, index) => way === 'http' || index % 4 === 0);
  test.each(some)('8.44 is refused: %s', async (_name, gate, files) => {
    const tree = await openWorktree(shared);
    await commit(tree.tree, files(tree.order_id));
    await expectFailed(tree, gate, 'GATE_FAILED');
  });

  test('8.44 is refused: an artifact that was written but not committed', async () => {
    const tree = await openWorktree();
    await commit(tree.tree, { 'aar.json': aarOf(tree.order_id, [file]) });
    await write(tree.tree, { [file]: 'x' });
    await expectFailed(tree, 'artifacts', 'GATE_FAILED');
  });

  test('8.44 is refused: an artifact that is a link', async () => {
    const tree = await openWorktree();
    await mkdir(path.join(tree.tree, 'outputs'));
    await symlink('/etc/passwd', path.join(tree.tree, file));
    await commit(tree.tree, { 'aar.json': aarOf(tree.order_id, [file]) });
    await expectFailed(tree, 'artifacts', 'GATE_FAILED');
  });

  test('8.44 is refused: work that is not committed', async () => {
    const tree = await openWorktree();
    await work(tree, 'a.txt', 'made\n');
    await write(tree.tree, { 'stray.txt': 'x' });
    await expectFailed(tree, 'clean-tree', 'GATE_FAILED');
  });

  test('8.44 is refused: a merge conflict, naming the file; put right it is promoted', async () => {
    const theater = await openTheater();
    const [first, second] = [await openWorktree(theater), await openWorktree(theater)];
    await work(first, 'same.txt', 'one\n');
    await work(second, 'same.txt', 'two\n');
    ok(await integrate(first));
    await expectFailed(second, 'merge', 'MERGE_CONFLICT');
    const events = await system.eventsOf({ order_id: second.order_id });
    const failed = events.find(({ type }) => type === 'INTEGRATION_FAILED');
    expect(failed?.payload.files).toEqual(['outputs/same.txt']);

    await git(second.tree, 'rm', '--quiet', 'outputs/same.txt');
    await work(second, 'other.txt', 'two\n');
    const { commit_sha } = ok(await integrate(second));
    expect(await git(theater.repo, 'show', `${commit_sha}:outputs/same.txt`)).toBe('one');
    expect(await git(theater.repo, 'show', `${commit_sha}:outputs/other.txt`)).toBe('two');
  });

  test('8.44 is refused: edits of a person in the same files of the checkout', async () => {
    const theater = await openTheater();
    const [first, second] = [await openWorktree(theater), await openWorktree(theater)];
    await work(first, 'a.txt', 'one\n');
    ok(await integrate(first));
    await git(second.tree, 'merge', '--quiet', 'main');
    await work(second, 'a.txt', 'two\n');
    await write(theater.repo, { 'outputs/a.txt': 'a person writes\n' });
    await expectFailed(second, 'merge', 'MAINLINE_DIRTY');
    await git(theater.repo, 'checkout', '--', 'outputs/a.txt');
    ok(await integrate(second));
  });

  test.each([
    ['an unknown gate profile', { gate_profile: 'nope' }, 'UNKNOWN_GATE_PROFILE'],
    ['a gate profile of Object', { gate_profile: 'constructor' }, 'UNKNOWN_GATE_PROFILE'],
    ['a gate profile __proto__', { gate_profile: '__proto__' }, 'UNKNOWN_GATE_PROFILE'],
    ['an unknown theater', { theater_id: 'nowhere' }, 'THEATER_NOT_FOUND'],
    [
      'an order without a worktree',
      { order_id: 'nobody', worktree_path: undefined },
      'WORKTREE_NOT_FOUND',
    ],
    ['a path outside', { worktree_path: '/tmp' }, 'PATH_OUTSIDE_THEATER'],
    ['a relative path', { worktree_path: '.' }, 'PATH_OUTSIDE_THEATER'],
    ['a path with NUL', { worktree_path: '/tmp/a\0b' }, 'PATH_OUTSIDE_THEATER'],
    ['an order_id with dots', { order_id: '../x' }, 'INVALID_REQUEST'],
    ['a field that is not known', { force: true }, 'INVALID_REQUEST'],
  ] as [string, Data, string][])('8.44 nothing is begun: %s', async (_name, change, code) => {
    const tree = await openWorktree(shared);
    await work(tree, 'a.txt', 'made\n');
    const state = async () => [await system.tail(), await repoState(tree.repo)];
    const before = await state();
    refused(await integrate(tree, change), code);
    expect(await state()).toEqual(before);
  });

  test('8.44 nothing is begun: the worktree of another order, or one of a copy', async () => {
    const theater = await openTheater();
    const [own, other] = [await openWorktree(theater), await openWorktree(theater)];
    const foreign = await openWorktree();
    const link = path.join(system.stateDir, `link_${own.order_id}`);
    await symlink(other.tree, link);
    for (const worktree_path of [other.tree, foreign.tree, theater.repo, link, `${own.tree}/..`]) {
      refused(await integrate(own, { worktree_path }), 'PATH_OUTSIDE_THEATER');
    }
    expect(await typesOf(system, own.order_id)).toEqual(['WORKTREE_CREATED', 'WORKTREE_READY']);
  });

  test('8.45 of two conflicting worktrees at once one is promoted and one refused', async () => {
    for (let round = 0; round < 3; round += 1) {
      const theater = await openTheater();
      const trees = [await openWorktree(theater), await openWorktree(theater)];
      for (const tree of trees) await work(tree, 'same.txt', `by ${tree.order_id}\n`);
      const answers = await Promise.all(trees.map((tree) => integrate(tree)));
      const winner = answers.findIndex(({ body }) => body.ok);
      const loser = 1 - winner;
      const { commit_sha } = ok(answers[winner] as Answer);
      err(answers[loser] as Answer, 'MERGE_CONFLICT', 409);
      const types = await Promise.all(trees.map(({ order_id }) => typesOf(system, order_id)));
      expect(types[winner]?.at(-1)).toBe('INTEGRATED');
      expect(types[loser]).toContain('INTEGRATION_FAILED');
      expect(types[loser]).not.toContain('INTEGRATED');
      const state = `# branch.oid ${commit_sha}\n# branch.head main`;
      expect(await repoState(theater.repo)).toBe(state);
      const text = await git(theater.repo, 'show', 'main:outputs/same.txt');
      expect(text).toBe(`by ${trees[winner]?.order_id}`);
    }
  });

  test('8.45 eight worktrees that do not conflict are all promoted', async () => {
    const theater = await openTheater();
    const trees: OpenWorktree[] = [];
    for (let n = 0; n < 8; n += 1) trees.push(await openWorktree(theater));
    for (const tree of trees) await work(tree, `${tree.order_id}.txt`, 'mine\n');
    const answers = await Promise.all(trees.map((tree) => integrate(tree)));
    const shas = answers.map((answer) => ok(answer).commit_sha as string);
    expect(new Set(shas).size).toBe(8);
    const files = (await git(theater.repo, 'ls-tree', '-r', '--name-only', 'main')).split('\n');
    expect(files).toEqual(trees.map(({ order_id }) => `outputs/${order_id}.txt`).toSorted());
    expect(await git(theater.repo, 'rev-list', '--count', '--first-parent', 'main')).toBe('9');
    await git(theater.repo, 'fsck', '--strict');
  });
});

test('8.44 an order that was integrated stays so, whatever its worktree becomes', async () => {
  const tree = await openWorktree();
  await work(tree, 'a.txt', 'made\n');
  const input = { theater_id: tree.theater_id, order_id: tree.order_id };
  const first = ok(await system.call('http', 'integration.integrate', input));
  await write(tree.tree, { 'stray.txt': freshIds().run });
  const again = ok(await system.call('nats', 'integration.integrate', input));
  expect(again).toMatchObject({ commit_sha: first.commit_sha, duplicate: true });
});
