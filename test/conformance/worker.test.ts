import { existsSync, globSync } from 'node:fs';
import { mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { type ModelMode, type ModelServer, startModelServer } from '#libs/testing';
import { freshIds, git, startSystem, type System } from './harness.ts';
import * as theaters from './theaters.ts';
import { type OpenTheater, type OpenWorktree, orderOf, typesOf } from './theaters.ts';
import * as units from './unit.ts';
import { type Answer, type Data, ok, refused, WAYS } from './wire.ts';

const KEY = 'io-v2-conformance-KEY-0123456789abcdef';
const MODEL = 'meta-llama/Llama-3.3-70B-Instruct';

let model: ModelServer;
let system: System;
let theater: OpenTheater;
/** Whoever is reached although the network is refused. */
let listener: Server;
let reached = 0;
beforeAll(async () => {
  model = await startModelServer();
  listener = createServer((_request, response) => {
    reached += 1;
    response.end('reached');
  });
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
  system = await startSystem({
    roles: ['ledger', 'vault', 'worker'],
    env: {
      IO_INTELLIGENCE_BASE_URL: model.url,
      IO_INTELLIGENCE_API_KEY: KEY,
      IRONCLAW_JOB_LEASE_MS: '2000',
    },
  });
  theater = await theaters.openTheater(system);
});
afterEach(() => model.setMode({ kind: 'ok' }));
afterAll(async () => {
  await system?.[Symbol.asyncDispose]();
  await model?.[Symbol.asyncDispose]();
  listener?.close();
});

const TOLD = [
  'ORDER_STARTED',
  'ARTIFACT_WRITTEN',
  'AAR_WRITTEN',
  'ORDER_COMPLETED',
  'ORDER_FAILED',
];

describe.each(WAYS)('worker over %s', (way) => {
  /** A worktree that is prepared with an order. */
  const prepared = async (more: Data = {}): Promise<OpenWorktree> => {
    const tree = await theaters.openWorktree(system, theater);
    const order = orderOf(tree, more);
    const { order_id } = tree;
    ok(await system.call(way, 'vault.prepare-worktree', { order_id, order }));
    return tree;
  };
  const jobOf = (tree: OpenWorktree, more: Data = {}): Data => ({
    order_id: tree.order_id,
    theater_id: tree.theater_id,
    run_id: 'run_123',
    unit_id: `assault_${tree.order_id}`.slice(0, 100),
    worktree_path: tree.tree,
    profile: { name: 'executor_default', model: MODEL },
    tool_policy: { network: false },
    ...more,
  });
  const submit = (job: Data): Promise<Answer> => system.call(way, 'worker.submit-job', job);
  const ended = (order_id: string, timeoutMs = 15_000): Promise<Data> =>
    units.orderWhen(system, order_id, ({ status }) => /COMPLETED|FAILED/.test(status), timeoutMs);
  /** Submits and waits for the end. */
  const done = async (tree: OpenWorktree, more: Data = {}): Promise<Data> => {
    ok(await submit(jobOf(tree, more)), 202);
    return ended(tree.order_id);
  };
  const readAar = async ({ tree }: OpenWorktree): Promise<Data> =>
    JSON.parse(await readFile(path.join(tree, 'aar.json'), 'utf8')) as Data;
  const told = async (order_id: string): Promise<string[]> =>
    (await typesOf(system, order_id)).filter((type) => TOLD.includes(type));

  test('8.24 a job is taken at once and its order done: files, one commit, events in order', async () => {
    const tree = await prepared();
    const before = await git(tree.tree, 'rev-parse', 'HEAD');
    const began = performance.now();
    ok(await submit(jobOf(tree)), 202);
    expect(performance.now() - began).toBeLessThan(1_000);
    const order = await ended(tree.order_id);
    expect(order.status).toBe('COMPLETED');
    expect(existsSync(path.join(tree.tree, 'aar.json'))).toBe(true);
    const [artifact] = order.artifacts as Data[];
    expect(artifact?.path).toMatch(/^outputs\//);
    const text = await readFile(path.join(tree.tree, artifact?.path), 'utf8');
    expect(text).toContain('Test answer to');
    expect(await git(tree.tree, 'status', '--porcelain')).toBe('');
    expect(await git(tree.tree, 'rev-list', '--count', `${before}..HEAD`)).toBe('1');
    expect(await git(tree.tree, 'rev-parse', 'HEAD')).toBe(order.commit_sha);
    expect(await told(tree.order_id)).toEqual(TOLD.slice(0, 4));
    const events = await system.eventsOf({ order_id: tree.order_id });
    const started = events.find(({ type }) => type === 'ORDER_STARTED');
    expect(started?.unit_id).toBe(jobOf(tree).unit_id);
    const ofJob = events.filter(({ unit_id }) => unit_id !== null);
    expect(new Set(ofJob.map(({ run_id }) => run_id))).toEqual(new Set(['run_123']));
    const at_least = Math.max(...events.map(({ seq }) => seq));
    const run = ok(await system.call(way, 'ledger.run', { run_id: 'run_123', at_least }));
    expect(run).toMatchObject({ status: 'OPEN' });
    expect(run.order_ids).toContain(tree.order_id);
  });

  test('8.25 the AAR has the fields of the contract, and what it names is in the commit', async () => {
    const tree = await prepared();
    const { commit_sha } = await done(tree);
    const aar = await readAar(tree);
    expect(aar).toMatchObject({
      order_id: tree.order_id,
      run_id: 'run_123',
      status: 'completed',
      completed_at: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/),
      summary: expect.stringMatching(/\S/),
      model: { provider: 'io.intelligence', name: MODEL, temperature: expect.any(Number) },
      notes: expect.any(Array),
      next_recommendations: expect.any(Array),
    });
    expect(aar.artifacts.length).toBeGreaterThanOrEqual(1);
    for (const artifact of aar.artifacts as Data[]) {
      expect(artifact).toMatchObject({ path: expect.any(String), type: expect.any(String) });
      await git(tree.tree, 'cat-file', '-e', `${commit_sha}:${artifact.path}`);
    }
    expect(JSON.parse(await git(tree.tree, 'show', `${commit_sha}:aar.json`))).toEqual(aar);
    expect(model.requests().at(-1)?.body.model).toBe(MODEL);
  });

  test('8.26 the same job and attempt again asks no model and makes no commit', async () => {
    const tree = await prepared();
    const first = await done(tree);
    const calls = model.calls();
    for (let round = 0; round < 3; round += 1) ok(await submit(jobOf(tree)));
    ok(await submit(jobOf(tree, { attempt: 1, unit_id: 'assault_other' })));
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect(model.calls()).toBe(calls);
    expect(await git(tree.tree, 'rev-parse', 'HEAD')).toBe(first.commit_sha);
    expect(await told(tree.order_id)).toEqual(TOLD.slice(0, 4));
  });

  test('8.26 ten callers at once with one job: one execution', async () => {
    const tree = await prepared();
    const calls = model.calls();
    model.setMode({ kind: 'slow', ms: 200 });
    const jobs = Array.from({ length: 10 }, (_, n) => jobOf(tree, { unit_id: `assault_${n}` }));
    for (const answer of await Promise.all(jobs.map(submit))) ok(answer);
    expect((await ended(tree.order_id)).status).toBe('COMPLETED');
    expect(model.calls() - calls).toBe(1);
    expect(await told(tree.order_id)).toEqual(TOLD.slice(0, 4));
  });

  // How a job came in makes no difference to how its model fails: each takes its budget of time.
  const failures = [
    ['answers 500', { kind: 'status', status: 500 }, { budget: 1, most: 3 }],
    ['never answers', { kind: 'hang' }, { budget: 1, most: 3 }],
    ['hangs up', { kind: 'disconnect' }, { budget: 1, most: 3 }],
    ['answers half a JSON', { kind: 'malformed' }, { budget: 1, most: 3 }],
    ['answers another shape', { kind: 'wrong_shape' }, { budget: 1, most: 3 }],
    ['answers nothing', { kind: 'empty' }, { budget: 1, most: 3 }],
    ['refuses the key', { kind: 'status', status: 401 }, { budget: 1, most: 1 }],
    // Asked again without tools: some servers answer so where they know none.
    ['has no such model', { kind: 'status', status: 404 }, { budget: 1, most: 2 }],
    ['is away for long', { kind: 'status', status: 503 }, { budget: 30, most: 3, least: 3 }],
  ] as const;
  test.each<readonly [string, ModelMode, { budget: number; most: number; least?: number }]>(
    way === 'http' ? failures : failures.slice(0, 2),
  )(
    '8.27 the model %s: failed with a reason within the budget',
    async (_name, mode, { budget, most, least = 1 }) => {
      model.setMode(mode);
      const constraints = { budget_seconds: budget, max_retries: 0 };
      const tree = await prepared({ constraints });
      const calls = model.calls();
      const order = await done(tree, { constraints });
      expect(order).toMatchObject({ status: 'FAILED', attempt: 1 });
      expect(order.last_error.code).toMatch(/^[A-Z_]+$/);
      expect(order.last_error.message).toMatch(/\S{3}/);
      // A busy machine may be late to notice; without a budget it would be many seconds.
      const tookMs = Date.parse(order.finished_at) - Date.parse(order.started_at);
      expect(tookMs).toBeLessThan(budget * 1_000 + 1_000);
      expect(await readAar(tree)).toMatchObject({ order_id: tree.order_id, status: 'failed' });
      expect(await git(tree.tree, 'status', '--porcelain')).toBe('');
      expect(model.calls() - calls).toBeGreaterThanOrEqual(least);
      expect(model.calls() - calls).toBeLessThanOrEqual(most);
      const ends = (await told(tree.order_id)).filter((type) => /FAILED|COMPLETED/.test(type));
      expect(ends).toEqual(['ORDER_FAILED']);
    },
  );

  test.each<[string, (tree: OpenWorktree) => Data, string]>([
    ['a path outside', () => ({ worktree_path: '/tmp' }), 'PATH_OUTSIDE_THEATER'],
    ['the root', () => ({ worktree_path: '/' }), 'PATH_OUTSIDE_THEATER'],
    ['the repository itself', ({ repo }) => ({ worktree_path: repo }), 'PATH_OUTSIDE_THEATER'],
    [
      'a path through a parent',
      ({ tree }) => ({ worktree_path: `${tree}/../../../x` }),
      'PATH_OUTSIDE_THEATER',
    ],
    ['a relative path', () => ({ worktree_path: 'order_x' }), 'PATH_OUTSIDE_THEATER'],
    ['NUL in the path', ({ tree }) => ({ worktree_path: `${tree}\0` }), 'PATH_OUTSIDE_THEATER'],
    ['a theater that is unknown', () => ({ theater_id: 'nowhere' }), 'THEATER_NOT_FOUND'],
    ['no order_id', () => ({ order_id: undefined }), 'INVALID_REQUEST'],
    ['an order_id with dots', () => ({ order_id: '../x' }), 'INVALID_REQUEST'],
    ['no path', () => ({ worktree_path: undefined }), 'INVALID_REQUEST'],
    ['a profile that is text', () => ({ profile: 'executor_default' }), 'INVALID_REQUEST'],
    ['a profile without a model', () => ({ profile: { name: 'x' } }), 'INVALID_REQUEST'],
    [
      'a profile with an empty model',
      () => ({ profile: { name: 'x', model: '' } }),
      'INVALID_REQUEST',
    ],
    ['a budget without end', () => ({ constraints: { budget_seconds: 1e9 } }), 'INVALID_REQUEST'],
    ['attempt 0', () => ({ attempt: 0 }), 'INVALID_REQUEST'],
    ['another kind of job', () => ({ job_type: 'RUN_SHELL' }), 'INVALID_REQUEST'],
    ['a network that is text', () => ({ tool_policy: { network: 'yes' } }), 'INVALID_REQUEST'],
  ])('8.28 a job is refused: %s', async (_name, change, code) => {
    const tree = await prepared();
    const before = await theaters.pathsBelow(tree.tree);
    const tail = await system.tail();
    refused(await submit(jobOf(tree, change(tree))), code);
    expect(await theaters.pathsBelow(tree.tree)).toEqual(before);
    expect(await system.tail()).toBe(tail);
  });

  test('8.28 a job is refused: no worktree, a folder that is none, another order’s', async () => {
    const tree = await prepared();
    const other = await prepared();
    const { order: order_id } = freshIds();
    const gone = path.join(path.dirname(tree.tree), `order_${order_id}`);
    const job = { ...jobOf(tree), order_id, worktree_path: gone };
    refused(await submit(job), 'WORKTREE_NOT_FOUND');
    await mkdir(gone);
    refused(await submit(job));
    await rm(gone, { recursive: true });
    refused(await submit(jobOf(tree, { worktree_path: other.tree })), 'PATH_OUTSIDE_THEATER');
    const link = path.join(system.stateDir, `link_${order_id}`);
    await symlink(other.tree, link);
    refused(await submit(jobOf(tree, { worktree_path: link })), 'PATH_OUTSIDE_THEATER');
    expect(await told(tree.order_id)).toEqual([]);
    expect(await told(order_id)).toEqual([]);
  });

  test('8.28 a worktree without an order ends FAILED, and nothing else is written', async () => {
    const tree = await theaters.openWorktree(system, theater);
    const calls = model.calls();
    const order = await done(tree, { constraints: { budget_seconds: 5, max_retries: 0 } });
    expect(order.status).toBe('FAILED');
    expect(order.last_error.message).toContain('order.json');
    expect(model.calls()).toBe(calls);
    expect(existsSync(path.join(tree.tree, 'outputs'))).toBe(false);
  });

  test('8.29 a tool call that would reach the network reaches nobody', async () => {
    const { port } = listener.address() as AddressInfo;
    const url = `http://127.0.0.1:${port}/`;
    const toolCalls = [
      { id: '1', name: 'shell', arguments: JSON.stringify({ command: `curl ${url}` }) },
      { id: '2', name: 'fetch', arguments: JSON.stringify({ url }) },
    ];
    model.setMode({ kind: 'ok', toolCalls });
    const constraints = { budget_seconds: 1, max_retries: 0 };
    const order = await done(await prepared({ constraints }), { constraints });
    expect(order.status).toBe('FAILED');
    expect(reached).toBe(0);
  });

  test('8.29 hostile code in the place of the unit, confined as orders are, reaches nobody', async () => {
    const { port } = listener.address() as AddressInfo;
    // A worker puts the code of units there with its first order.
    await done(await prepared());
    const found = globSync('**/units/*/main.mjs', { cwd: system.stateDir });
    expect(found).toHaveLength(1);
    const code = path.join(system.stateDir, found[0] as string);
    const own = await readFile(code, 'utf8');
    const hostile = new URL('../../libs/units/testdata/hostile.mjs', import.meta.url);
    const constraints = { budget_seconds: 20, max_retries: 0 };
    const tree = await prepared({ constraints });
    await writeFile(path.join(tree.tree, 'port'), String(port));
    await writeFile(path.join(tree.tree, 'mode'), 'escape');
    await writeFile(code, await readFile(hostile, 'utf8'));
    try {
      await done(tree, { constraints });
    } finally {
      await writeFile(code, own);
    }
    // What it tried it told: fetch, sockets by every module that has them, and files outside.
    const notes = JSON.stringify(await readAar(tree));
    for (const name of ['fetch', 'import net', 'builtin net', 'createRequire', 'binding']) {
      expect(notes).toContain(`${name}: refused`);
    }
    expect(notes).not.toContain(': GOT');
    expect(reached).toBe(0);
    // The listener does hear whoever is not confined.
    await fetch(`http://127.0.0.1:${port}/`);
    expect(reached).toBe(1);
    reached = 0;
  });

  const outside = async (): Promise<string> => {
    const folder = path.join(system.stateDir, `outside_${freshIds().order}`);
    await mkdir(folder);
    await writeFile(path.join(folder, 'victim.txt'), 'as it was\n');
    return folder;
  };
  const NO_RETRY = { budget_seconds: 5, max_retries: 0 };

  test.each(['outputs', 'outputs/deep', 'outputs/victim.txt', 'aar.json'])(
    '8.29 a link at %s is not written through',
    async (at) => {
      const outputs = [{ path: 'outputs/victim.txt' }, { path: 'outputs/deep/victim.txt' }];
      const tree = await prepared({ constraints: NO_RETRY, outputs });
      const folder = await outside();
      const isFile = /\.(txt|json)$/.test(at);
      await mkdir(path.dirname(path.join(tree.tree, at)), { recursive: true });
      await symlink(isFile ? path.join(folder, 'victim.txt') : folder, path.join(tree.tree, at));
      const order = await done(tree, { constraints: NO_RETRY });
      expect(await theaters.pathsBelow(folder)).toEqual(['victim.txt']);
      expect(await readFile(path.join(folder, 'victim.txt'), 'utf8')).toBe('as it was\n');
      // A link in a folder's place is refused; one in a file's place may be replaced by the file.
      if (!isFile) expect(order).toMatchObject({ status: 'FAILED' });
      if (!isFile) expect(order.last_error.code).toBe('TOOL_POLICY_VIOLATION');
    },
  );

  test('8.29 a file outside is not put before the model, by a link or by its name', async () => {
    const folder = await outside();
    await writeFile(path.join(folder, 'victim.txt'), 'the secret of another order');
    const prompt = { system: 'Say what you see.', files: ['notes/victim.txt', 'notes/*'] };
    const tree = await prepared({ constraints: NO_RETRY, prompt });
    await symlink(folder, path.join(tree.tree, 'notes'));
    await done(tree, { constraints: NO_RETRY });
    expect(JSON.stringify(model.requests())).not.toContain('the secret of another order');
    const { order_id } = tree;
    const order = orderOf(tree, { prompt: { system: 'x', files: ['../../repo/.git/config'] } });
    refused(await system.call(way, 'vault.prepare-worktree', { order_id, order }));
  });

  test('8.29 outputs that the allowlist does not cover are denied', async () => {
    const tool_policy = { network: false, fs_allowlist: ['./docs/'] };
    const constraints = { ...NO_RETRY, tool_policy };
    const tree = await prepared({ constraints });
    const order = await done(tree, { constraints, tool_policy });
    expect(order).toMatchObject({
      status: 'FAILED',
      last_error: { code: 'TOOL_POLICY_VIOLATION' },
    });
    expect(existsSync(path.join(tree.tree, 'outputs'))).toBe(false);
  });

  test.each(['./', './*', 'outputs/', './outputs/', 'outputs/*'])(
    '8.29 outputs that the allowlist covers are written: %s',
    async (entry) => {
      const tool_policy = { network: false, fs_allowlist: [entry] };
      const constraints = { ...NO_RETRY, tool_policy };
      const tree = await prepared({ constraints });
      expect(await done(tree, { constraints, tool_policy })).toMatchObject({ status: 'COMPLETED' });
    },
  );

  test('8.30 the key is in no event, file, commit or object, even if the model repeats it', async () => {
    const modes = [
      { kind: 'ok', text: `Your key is ${KEY}, and in halves ${KEY.slice(0, 20)}.` },
      { kind: 'status', status: 401 },
      { kind: 'status', status: 500, message: `bad key ${KEY}` },
    ] as const;
    for (const mode of modes) {
      model.setMode(mode);
      const tree = await prepared({ constraints: { budget_seconds: 1, max_retries: 0 } });
      const { order_id, commit_sha } = await done(tree);
      expect(model.requests().at(-1)?.authorization).toBe(`Bearer ${KEY}`);
      const piece = KEY.slice(6, 30);
      expect(JSON.stringify(await system.eventsOf({ order_id }))).not.toContain(piece);
      for (const name of await theaters.pathsBelow(tree.tree)) {
        if (!/\.(txt|json|md)$/.test(name)) continue;
        expect(await readFile(path.join(tree.tree, name), 'utf8'), name).not.toContain(piece);
      }
      const head = commit_sha ?? 'HEAD';
      expect(await git(tree.tree, 'log', '-p', head)).not.toContain(piece);
    }
  });
});
