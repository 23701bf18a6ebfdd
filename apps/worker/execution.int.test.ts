import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Broker } from '#libs/broker';
import { API, type JobMessage, type OrderFile, type StoredEvent } from '#libs/contracts';
import { jobSubject, readFrom } from '#libs/eventlog';
import { LOCAL_MODEL, modelFromEnv } from '#libs/models';
import type { ServiceClient } from '#libs/service';
import {
  type ModelServer,
  startModelServer,
  startTestBroker,
  type TestBroker,
  waitFor,
} from '#libs/testing';
import { prepareWorktree, statusOf } from '#libs/worktrees';
import { STREAMS } from '#streams';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import {
  createFixture,
  type Fixture,
  git,
  KEY,
  MODEL,
  readAar,
  STEPS,
  stepsOf,
  typesOf,
} from './testdata/fixture.ts';

let server: TestBroker;
let broker: Broker;
let model: ModelServer;
let fixture: Fixture;

beforeAll(async () => {
  server = await startTestBroker({ streams: STREAMS });
  broker = await server.connect();
  model = await startModelServer();
  fixture = createFixture(broker, () => server.connect(), model.url);
});
afterAll(async () => {
  await model[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
  fixture[Symbol.dispose]();
});
beforeEach(() => model.setMode({ kind: 'ok' }));
afterEach(() => fixture.stopWorkers());

/** Waits until the order has ended. */
const ended = (job: JobMessage, timeoutMs = 15_000) =>
  waitFor(() => fixture.endOf(job), { timeoutMs });
const queueEmpty = () =>
  waitFor(async () => (await fixture.queueLength()) === 0, { timeoutMs: 10_000 });

describe('an order that succeeds', () => {
  test('check 24, 25: runs as the contract says, in one commit and a clean tree', async () => {
    const { client } = await fixture.startWorker();
    const { job, path, theater } = await fixture.prepare();
    const calls = model.calls();
    const before = git(theater.repoPath, 'rev-list', '--count', `order_${job.order_id}`);
    const began = performance.now();
    const unit_id = 'assault_abc123';
    const answer = await client.call(API.worker.submitJob, { ...job, unit_id });
    expect(performance.now() - began).toBeLessThan(1_000);
    expect(answer).toMatchObject({ order_id: job.order_id, attempt: 1, queued: true });

    const order = await ended(job);
    expect(order).toMatchObject({ status: 'COMPLETED', unit_id, attempt: 1, anomalies: 0 });
    expect(model.calls()).toBe(calls + 1);
    const events = await fixture.eventsOf(job);
    expect(stepsOf(events)).toEqual(STEPS.slice(0, 5));
    expect(typesOf(events)).toEqual(
      expect.arrayContaining(['UNIT_SIGNAL', 'MODEL_CALL_STARTED', 'MODEL_CALL_COMPLETED']),
    );
    expect(events.every(({ run_id }) => run_id === job.run_id)).toBe(true);

    const aar = readAar(path);
    expect(aar).toMatchObject({
      order_id: job.order_id,
      status: 'completed',
      model: { provider: 'io.intelligence', name: MODEL, temperature: 0.2 },
      artifacts: [{ path: 'outputs/model_output.txt', type: 'text/plain' }],
      attempt: 1,
      unit_id,
    });
    expect(aar.summary).toContain('Test answer');
    expect(git(path, 'status', '--porcelain')).toBe('');
    expect((await statusOf(path)).clean).toBe(true);
    expect(git(path, 'rev-parse', 'HEAD')).toBe(order.commit_sha);
    const after = git(theater.repoPath, 'rev-list', '--count', `order_${job.order_id}`);
    expect(Number(after)).toBe(Number(before) + 1);
    for (const artifact of order.artifacts) {
      expect(git(path, 'cat-file', '-t', `HEAD:${artifact.path}`)).toBe('blob');
    }
    const message = git(path, 'log', '-1', '--format=%(trailers)');
    expect(message).toContain(`Order: ${job.order_id}\nRun: ${job.run_id}\nAttempt: 1\nUnit: `);
    expect(JSON.parse(readFileSync(join(path, 'state.json'), 'utf8')).status).toBe('COMPLETED');
    await queueEmpty();
  });

  test('check 26: the same job and attempt again asks no model and makes no commit', async () => {
    const { client } = await fixture.startWorker();
    const { job } = await fixture.prepare();
    await client.call(API.worker.submitJob, job);
    const { commit_sha } = await ended(job);
    const events = (await fixture.eventsOf(job)).length;
    const calls = model.calls();
    const again = await client.call(API.worker.submitJob, job);
    expect(again).toMatchObject({ queued: false, status: 'COMPLETED' });
    // Past the endpoint too, as a message of its own.
    await fixture.publish(job);
    await queueEmpty();
    await sleep(50);
    expect(model.calls()).toBe(calls);
    expect((await fixture.eventsOf(job)).length).toBe(events);
    expect((await fixture.stateOf(job))?.commit_sha).toBe(commit_sha);
  });

  test('files, sections and outputs of the order; what is absent is noted', async () => {
    const { client } = await fixture.startWorker();
    const { job, path } = await fixture.prepare({
      inputs: {},
      prompt: { system: 'Be brief.', files: ['inputs/r/*', 'notes.md'], task: 'draft' },
      outputs: [
        { path: 'outputs/all.txt', type: 'text/plain' },
        { path: 'outputs/s.md', type: 'text/markdown', section: '# Summary' },
      ],
    });
    const text = 'first file of the inputs';
    await prepareWorktree({ worktreePath: path, files: [{ path: 'inputs/r/a.md', text }] });
    await client.call(API.worker.submitJob, job);
    const order = await ended(job);
    expect(order.artifacts.map((artifact) => artifact.path)).toEqual([
      'outputs/all.txt',
      'outputs/s.md',
    ]);
    expect(readFileSync(join(path, 'outputs/s.md'), 'utf8')).toMatch(/^# Summary\n/);
    expect(readAar(path).notes).toContain('notes.md is not there.');
    expect(JSON.stringify(model.requests().at(-1)?.body)).toContain(text);
  });

  test('check 25: without a key the local model answers and says so', async () => {
    const { client } = await fixture.startWorker({ model: modelFromEnv({}) });
    const named = await fixture.prepare();
    const unnamed = await fixture.prepare({
      profile: { name: 'executor_default', model: 'default' },
    });
    await client.call(API.worker.submitJob, named.job);
    await client.call(API.worker.submitJob, unnamed.job);
    await Promise.all([ended(named.job), ended(unnamed.job)]);
    expect(readAar(named.path).model).toMatchObject({
      provider: 'local',
      name: MODEL,
      answered_by: LOCAL_MODEL,
    });
    expect(readAar(unnamed.path).model).toMatchObject({ provider: 'local', name: LOCAL_MODEL });
  });

  test('a job fills in the profile and constraints that order.json leaves open', async () => {
    const { client } = await fixture.startWorker();
    const { job, path } = await fixture.prepare({
      profile: undefined,
      constraints: undefined,
    } as unknown as OrderFile);
    const profile = { name: 'p', model: 'some/model' };
    await client.call(API.worker.submitJob, { ...job, profile });
    await ended(job);
    expect(readAar(path).model.name).toBe('some/model');
  });
});

describe('an order that fails', () => {
  const failing = async (order: Partial<OrderFile> | string, more = {}) => {
    const { client } = await fixture.startWorker({}, more);
    const prepared = await fixture.prepare(order);
    const began = Date.now();
    await client.call(API.worker.submitJob, prepared.job);
    const state = await ended(prepared.job);
    return { ...prepared, state, tookMs: Date.now() - began };
  };

  test('check 27: the model answers 500 always', async () => {
    model.setMode({ kind: 'status', status: 500 });
    const calls = model.calls();
    const { state, path, job } = await failing({});
    expect(state).toMatchObject({
      status: 'FAILED',
      last_error: { code: 'MODEL_ERROR', stage: 'calling_model', retryable: true },
    });
    expect(model.calls() - calls).toBe(3);
    const aar = readAar(path);
    expect(aar).toMatchObject({ status: 'failed', artifacts: [], error: { code: 'MODEL_ERROR' } });
    expect(git(path, 'status', '--porcelain')).toBe('');
    expect(stepsOf(await fixture.eventsOf(job))).toEqual([
      'ORDER_CLAIMED',
      'ORDER_STARTED',
      'AAR_WRITTEN',
      'ORDER_FAILED',
    ]);
  });

  test('check 27: the model does not answer; the order fails within its budget', async () => {
    model.setMode({ kind: 'hang' });
    const constraints = { budget_seconds: 3, max_retries: 0 };
    const { state, path, tookMs, job } = await failing({ constraints });
    expect(state.last_error).toMatchObject({ code: 'TIMEOUT', stage: 'calling_model' });
    expect(tookMs).toBeLessThan(3_300);
    const events = await fixture.eventsOf(job);
    const at = (type: string) => Date.parse(events.find((one) => one.type === type)?.ts ?? '');
    expect(at('ORDER_FAILED') - at('ORDER_STARTED')).toBeLessThan(3_000);
    expect(readAar(path).status).toBe('failed');
    expect(typesOf(events)).toContain('MODEL_CALL_FAILED');
  });

  test('a provider that refuses for longer than an order may wait', async () => {
    model.setMode({ kind: 'rate_limited', retryAfterSeconds: 600 });
    const { state, job } = await failing({}, { IRONCLAW_QUOTA_WAIT_MS: '5000' });
    expect(state.last_error).toMatchObject({ code: 'MODEL_QUOTA', retryable: true });
    const failed = (await fixture.eventsOf(job)).find(({ type }) => type === 'ORDER_FAILED');
    const resetAt = Date.parse(String(failed?.payload.reset_at));
    expect(resetAt - Date.now()).toBeGreaterThan(500_000);
  });

  test.each([
    ['missing', ''],
    ['not JSON', '{'],
    ['of the wrong shape', '{"order_id": 5}'],
    ['of another order', '{"order_id": "other", "type": "draft", "objective": "x"}'],
  ])('check 28: order.json is %s', async (_, text) => {
    const calls = model.calls();
    const { state, path } = await failing(text);
    expect(state).toMatchObject({
      status: 'FAILED',
      last_error: { code: 'INVALID_REQUEST', stage: 'initializing', retryable: false },
    });
    expect(model.calls()).toBe(calls);
    expect(readAar(path).status).toBe('failed');
  });

  test('check 29: outputs through a link are refused, and the report is committed all the same', async () => {
    const { client } = await fixture.startWorker();
    const { job, path } = await fixture.prepare();
    const target = mkdtempSync(join(fixture.root, 'outside-'));
    execFileSync('ln', ['-s', target, join(path, 'outputs')]);
    await client.call(API.worker.submitJob, job);
    const state = await ended(job);
    expect(state.last_error).toMatchObject({
      code: 'TOOL_POLICY_VIOLATION',
      stage: 'writing_artifacts',
    });
    expect(existsSync(join(target, 'model_output.txt'))).toBe(false);
    expect(git(path, 'show', 'HEAD:aar.json')).toContain('TOOL_POLICY_VIOLATION');
  });
});

describe('check 28: a job that cannot be', () => {
  const refusedCode = async (client: ServiceClient, job: unknown): Promise<string> => {
    const { body } = await client.send(API.worker.submitJob, job);
    return body.ok ? 'ok' : `${body.error.code} ${body.error.field}`;
  };

  test('is refused by the endpoint, and nothing is written', async () => {
    const { client } = await fixture.startWorker();
    const { job, path } = await fixture.prepare();
    const other = await fixture.prepare();
    const queued = await fixture.queueLength();
    const cases: [unknown, string][] = [
      [{ ...job, theater_id: 'nowhere' }, 'THEATER_NOT_FOUND theater_id'],
      [{ ...job, worktree_path: '/etc' }, 'PATH_OUTSIDE_THEATER worktree_path'],
      [{ ...job, worktree_path: other.path }, 'PATH_OUTSIDE_THEATER worktree_path'],
      [{ ...job, worktree_path: `${path}/../../repo` }, 'PATH_OUTSIDE_THEATER worktree_path'],
      [{ ...job, worktree_path: join(path, 'x') }, 'PATH_OUTSIDE_THEATER worktree_path'],
      [
        { ...job, order_id: 'absent', worktree_path: join(path, '..', 'order_absent') },
        'WORKTREE_NOT_FOUND worktree_path',
      ],
      [{ ...job, order_id: undefined }, 'INVALID_REQUEST order_id'],
      [{ ...job, worktree_path: undefined }, 'INVALID_REQUEST worktree_path'],
      [{ ...job, profile: { name: 'x' } }, 'INVALID_REQUEST profile.model'],
      [{ ...job, profile: 'fast' }, 'INVALID_REQUEST profile'],
      [{ ...job, attempt: 0 }, 'INVALID_REQUEST attempt'],
      [{ ...job, job_type: 'OTHER' }, 'INVALID_REQUEST job_type'],
    ];
    for (const [bad, code] of cases) expect(await refusedCode(client, bad)).toBe(code);
    expect(await fixture.queueLength()).toBe(queued);
    expect(await fixture.eventsOf(job)).toEqual([]);
    expect(existsSync(join(path, 'aar.json'))).toBe(false);
  });

  test('names another run, or an attempt that is not due', async () => {
    const { client } = await fixture.startWorker();
    const { job } = await fixture.prepare();
    await client.call(API.worker.submitJob, job);
    await ended(job);
    expect(await refusedCode(client, { ...job, run_id: 'other' })).toBe('INVALID_REQUEST run_id');
    expect(await refusedCode(client, { ...job, attempt: 2 })).toBe('ILLEGAL_TRANSITION attempt');
  });

  test('lies in the queue: it is set aside, and the next one is worked on', async () => {
    await fixture.startWorker();
    const { job } = await fixture.prepare();
    const subject = jobSubject(job.theater_id, 'default');
    const dead = async () => (await broker.jsm.streams.info('DEAD')).state.messages;
    const before = await dead();
    await broker.js.publish(subject, 'not JSON');
    await fixture.publish({ ...job, order_id: 'absent2', worktree_path: '/etc' });
    await broker.js.publish(subject, JSON.stringify({ ...job, theater_id: 'elsewhere' }));
    await fixture.publish(job);
    expect((await ended(job)).status).toBe('COMPLETED');
    await waitFor(async () => (await dead()) === before + 3);
    expect(await fixture.eventsOf({ ...job, order_id: 'absent2' })).toEqual([]);
    await queueEmpty();
  });
});

test('check 30: the key is nowhere: stream, worktree, commits, log', async () => {
  const { client } = await fixture.startWorker();
  const ok = await fixture.prepare();
  const bad = await fixture.prepare();
  await client.call(API.worker.submitJob, ok.job);
  await ended(ok.job);
  // This server quotes the key it was given in its error.
  model.setMode({ kind: 'status', status: 401 });
  await client.call(API.worker.submitJob, bad.job);
  expect((await ended(bad.job)).status).toBe('FAILED');
  expect(model.requests().at(-1)?.authorization).toBe(`Bearer ${KEY}`);
  const events: StoredEvent[] = [];
  for await (const page of readFrom(broker, 'led.v1.>', 1)) events.push(...page);
  expect(events.length).toBeGreaterThan(10);
  expect(JSON.stringify(events)).not.toContain(KEY);
  expect(fixture.logged()).toContain('the order failed');
  expect(fixture.logged()).not.toContain(KEY);
  for (const { path } of [ok, bad]) {
    const files = execFileSync('grep', ['-rlF', 'order', path, '--exclude=.git'], {
      encoding: 'utf8',
    });
    expect(files).toContain('aar.json');
    const found = spawnSync('grep', ['-rlF', KEY, path], { encoding: 'utf8' });
    expect(found.stdout).toBe('');
    expect(git(path, 'log', '-p', '--all')).not.toContain(KEY);
  }
});
