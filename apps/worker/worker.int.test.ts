import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Broker } from '#libs/broker';
import {
  aarFile,
  API,
  AppError,
  type JobMessage,
  type OrderFile,
  type StoredEvent,
} from '#libs/contracts';
import { jobSubject, ledgerFilter, readFrom } from '#libs/eventlog';
import { LOCAL_MODEL, type ModelProvider, modelFromEnv } from '#libs/models';
import { evolveOrder, type OrderState } from '#libs/orders';
import { createClient, type ServiceClient } from '#libs/service';
import { type ModelServer, startModelServer } from '#libs/testing';
import { startTestBroker, type TestBroker, testLogger, waitFor } from '#libs/testing';
import {
  createWorktree,
  openTheater,
  prepareWorktree,
  statusOf,
  type Theater,
} from '#libs/worktrees';
import { STREAMS } from '#streams';
import { type DestinationStream, pino } from 'pino';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createWorker, start, type WorkerOptions } from './role.ts';
import { workerContext } from './testkit.ts';

const KEY = 'io-secret-0123456789-abcdefghij';
const MODEL = 'meta-llama/Llama-3.3-70B-Instruct';
const AUTHOR = { name: 'Test', email: 'test@ironclaw.test' };

let server: TestBroker;
let broker: Broker;
let model: ModelServer;
let root: string;
let count = 0;
/** All that the workers of this file log. */
let logged = '';

beforeAll(async () => {
  server = await startTestBroker({ streams: STREAMS });
  broker = await server.connect();
  model = await startModelServer();
  root = realpathSync(mkdtempSync(join(tmpdir(), 'ironclaw-worker-')));
});
afterAll(async () => {
  await model[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
  rmSync(root, { recursive: true, force: true });
});

type Running = { client: ServiceClient; close(): Promise<void>; drop(): Promise<void> };
let running: Running[] = [];
beforeEach(() => model.setMode({ kind: 'ok' }));
afterEach(async () => {
  await Promise.all(running.map((one) => one.close()));
  running = [];
});

const env = (more: Record<string, string> = {}): Record<string, string> => ({
  IO_INTELLIGENCE_API_KEY: KEY,
  IO_INTELLIGENCE_BASE_URL: model.url,
  IRONCLAW_STATE: root,
  IRONCLAW_JOB_LEASE_MS: '1000',
  ...more,
});

async function startWorker(options: WorkerOptions = {}, more = {}): Promise<Running> {
  const sink: DestinationStream = {
    write: (line) => {
      logged += line;
      if (process.env.TEST_LOG_LEVEL) process.stderr.write(line);
    },
  };
  const logger = pino({ level: 'debug' }, sink);
  const own = await server.connect();
  const context = workerContext(own, env(more), logger);
  const role =
    options.model === undefined && options.openWorkspace === undefined
      ? await start(context)
      : createWorker(context, { graceMs: 200, ...options });
  const client = createClient(null, { local: [role.service], logger: testLogger() });
  const worker = {
    client,
    close: async () => {
      await role.close();
      await own.close();
    },
    /** As if it were killed: its connection is gone, it can say no more. */
    drop: async () => {
      running = running.filter((one) => one !== worker);
      await own.nc.close();
      void role.close();
    },
  };
  running.push(worker);
  return worker;
}

type Prepared = { theater: Theater; job: JobMessage; path: string };

const opened = new Map<string, Promise<Theater>>();
function theaterFor(id: string): Promise<Theater> {
  const theater = opened.get(id) ?? openTestTheater(id);
  opened.set(id, theater);
  return theater;
}

async function openTestTheater(id: string): Promise<Theater> {
  const at = Math.floor(Date.now() / 1000);
  const repoPath = join(root, 'theaters', id, 'repo');
  const theater = await openTheater({ theaterId: id, repoPath, author: AUTHOR, timestampSec: at });
  const { worktreesPath: worktrees_path, mainline, headSha: head_sha } = theater;
  await workerContext(broker, env(), testLogger()).log.append({
    event_id: `opened-${id}`,
    ts: new Date().toISOString(),
    type: 'THEATER_OPENED',
    garrison_id: 'local',
    theater_id: id,
    run_id: null,
    order_id: null,
    unit_id: null,
    payload: { repo_path: theater.repoPath, worktrees_path, mainline, head_sha },
  });
  return theater;
}

/** A theater, a worktree in it and its order.json. */
async function prepare(
  order: Partial<OrderFile> | string = {},
  theaterId = 't0',
): Promise<Prepared> {
  count += 1;
  const order_id = `order${count}`;
  const theater = await theaterFor(theaterId);
  const { worktreePath } = await createWorktree({ theater, orderId: order_id });
  const full = {
    order_id,
    run_id: `run${count}`,
    theater_id: theaterId,
    type: 'draft',
    objective: 'Summarize the input into 5 bullets',
    inputs: { text: 'Apples are red. Pears are green. The delivery is due on Friday.' },
    constraints: { budget_seconds: 20, max_retries: 1 },
    profile: { name: 'executor_default', model: MODEL },
    ...(typeof order === 'object' && order),
  };
  const text = typeof order === 'string' ? order : JSON.stringify(full);
  await prepareWorktree({
    worktreePath,
    files: text === '' ? [] : [{ path: 'order.json', text }],
    exclude: ['state.json', 'inputs'],
  });
  const job: JobMessage = {
    job_type: 'EXECUTE_ORDER',
    order_id,
    run_id: `run${count}`,
    theater_id: theaterId,
    worktree_path: worktreePath,
    attempt: 1,
  };
  return { theater, job, path: worktreePath };
}

async function eventsOf({ theater_id, order_id }: JobMessage): Promise<StoredEvent[]> {
  const filter = ledgerFilter({ garrison_id: 'local', theater_id, order_id });
  const events: StoredEvent[] = [];
  for await (const page of readFrom(broker, filter, 1)) events.push(...page);
  return events;
}

async function stateOf(job: JobMessage): Promise<OrderState | undefined> {
  return (await eventsOf(job)).reduce<OrderState | undefined>(evolveOrder, undefined);
}

/** Waits until the order has ended. */
async function ended(job: JobMessage, timeoutMs = 15_000): Promise<OrderState> {
  const done = async () => {
    const state = await stateOf(job);
    return state !== undefined && ['COMPLETED', 'FAILED'].includes(state.status) ? state : null;
  };
  return waitFor(done, { timeoutMs });
}

const typesOf = (events: readonly StoredEvent[]) => events.map(({ type }) => type);
const STEPS = [
  'ORDER_CLAIMED',
  'ORDER_STARTED',
  'ARTIFACT_WRITTEN',
  'AAR_WRITTEN',
  'ORDER_COMPLETED',
  'ORDER_FAILED',
  'ORDER_REISSUED',
];
const stepsOf = (events: readonly StoredEvent[]) =>
  typesOf(events).filter((type) => STEPS.includes(type));

function git(cwd: string, ...args: string[]): string {
  const clean = { PATH: process.env.PATH, HOME: '/nonexistent', GIT_CONFIG_NOSYSTEM: '1' };
  return execFileSync('git', args, { cwd, env: clean, encoding: 'utf8' }).trimEnd();
}

const readAar = (path: string) =>
  aarFile.parse(JSON.parse(readFileSync(join(path, 'aar.json'), 'utf8')));

const publish = (job: JobMessage, msgID?: string) =>
  broker.js.publish(jobSubject(job.theater_id, 'default'), JSON.stringify(job), {
    ...(msgID !== undefined && { msgID }),
  });

const queueLength = async () => (await broker.jsm.streams.info('JOBS')).state.messages;
const queueEmpty = () => waitFor(async () => (await queueLength()) === 0, { timeoutMs: 10_000 });

describe('an order that succeeds', () => {
  test('check 24, 25: runs as the contract says, in one commit and a clean tree', async () => {
    const { client } = await startWorker();
    const { job, path, theater } = await prepare();
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
    const events = await eventsOf(job);
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
    const { client } = await startWorker();
    const { job } = await prepare();
    await client.call(API.worker.submitJob, job);
    const { commit_sha } = await ended(job);
    const events = (await eventsOf(job)).length;
    const calls = model.calls();
    const again = await client.call(API.worker.submitJob, job);
    expect(again).toMatchObject({ queued: false, status: 'COMPLETED' });
    // Past the endpoint too, as a message of its own.
    await publish(job);
    await queueEmpty();
    await sleep(50);
    expect(model.calls()).toBe(calls);
    expect((await eventsOf(job)).length).toBe(events);
    expect((await stateOf(job))?.commit_sha).toBe(commit_sha);
  });

  test('files, sections and outputs of the order; what is absent is noted', async () => {
    const { client } = await startWorker();
    const { job, path } = await prepare({
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
    const { client } = await startWorker({ model: modelFromEnv({}) });
    const named = await prepare();
    const unnamed = await prepare({ profile: { name: 'executor_default', model: 'default' } });
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
    const { client } = await startWorker();
    const { job, path } = await prepare({
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
  const failing = async (order: Partial<OrderFile> | string) => {
    const { client } = await startWorker();
    const prepared = await prepare(order);
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
    expect(stepsOf(await eventsOf(job))).toEqual([
      'ORDER_CLAIMED',
      'ORDER_STARTED',
      'AAR_WRITTEN',
      'ORDER_FAILED',
    ]);
  });

  test('check 27: the model does not answer; the order fails within its budget', async () => {
    model.setMode({ kind: 'hang' });
    const constraints = { budget_seconds: 2, max_retries: 0 };
    const { state, path, tookMs, job } = await failing({ constraints });
    expect(state.last_error).toMatchObject({ code: 'TIMEOUT', stage: 'calling_model' });
    expect(tookMs).toBeLessThan(2_200);
    const [started, failed] = ['ORDER_STARTED', 'ORDER_FAILED'].map((type) => type);
    const events = await eventsOf(job);
    const at = (type: string) => Date.parse(events.find((one) => one.type === type)?.ts ?? '');
    expect(at(failed ?? '') - at(started ?? '')).toBeLessThan(2_000);
    expect(readAar(path).status).toBe('failed');
    expect(typesOf(events)).toContain('MODEL_CALL_FAILED');
  });

  test('a provider that refuses for now is told with its reset time', async () => {
    model.setMode({ kind: 'rate_limited', retryAfterSeconds: 600 });
    const { state, job } = await failing({});
    expect(state.last_error).toMatchObject({ code: 'MODEL_QUOTA', retryable: true });
    const failed = (await eventsOf(job)).find(({ type }) => type === 'ORDER_FAILED');
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
    const { client } = await startWorker();
    const { job, path } = await prepare();
    const target = mkdtempSync(join(root, 'outside-'));
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
    const { client } = await startWorker();
    const { job, path } = await prepare();
    const other = await prepare();
    const queued = await queueLength();
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
    expect(await queueLength()).toBe(queued);
    expect(await eventsOf(job)).toEqual([]);
    expect(existsSync(join(path, 'aar.json'))).toBe(false);
  });

  test('names another run, or an attempt that is not due', async () => {
    const { client } = await startWorker();
    const { job } = await prepare();
    await client.call(API.worker.submitJob, job);
    await ended(job);
    expect(await refusedCode(client, { ...job, run_id: 'other' })).toBe('INVALID_REQUEST run_id');
    expect(await refusedCode(client, { ...job, attempt: 2 })).toBe('ILLEGAL_TRANSITION attempt');
  });

  test('lies in the queue: it is set aside, and the next one is worked on', async () => {
    await startWorker();
    const { job } = await prepare();
    const subject = jobSubject(job.theater_id, 'default');
    const dead = async () => (await broker.jsm.streams.info('DEAD')).state.messages;
    const before = await dead();
    await broker.js.publish(subject, 'not JSON');
    await publish({ ...job, order_id: 'absent2', worktree_path: '/etc' });
    await broker.js.publish(subject, JSON.stringify({ ...job, theater_id: 'elsewhere' }));
    await publish(job);
    expect((await ended(job)).status).toBe('COMPLETED');
    await waitFor(async () => (await dead()) === before + 3);
    expect(await eventsOf({ ...job, order_id: 'absent2' })).toEqual([]);
    await queueEmpty();
  });
});

test('check 30: the key is nowhere: stream, worktree, commits, log', async () => {
  const { client } = await startWorker();
  const ok = await prepare();
  const bad = await prepare();
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
  expect(logged).toContain('the order failed');
  expect(logged).not.toContain(KEY);
  for (const { path } of [ok, bad]) {
    const files = execFileSync('grep', ['-rlF', 'order', path, '--exclude=.git'], {
      encoding: 'utf8',
    });
    expect(files).toContain('aar.json');
    const found = () => execFileSync('grep', ['-rlF', KEY, path], { encoding: 'utf8' });
    // grep fails where it finds nothing.
    expect(found).toThrow();
    expect(git(path, 'log', '-p', '--all')).not.toContain(KEY);
  }
});

describe('a worker dies', () => {
  const spawnWorker = async () => {
    const script = join(import.meta.dirname, 'testdata', 'worker-process.ts');
    const more = { NATS_URL: server.url, PATH: process.env.PATH };
    const child = spawn(process.execPath, [script], {
      env: { ...env(), ...more },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await once(child.stdout, 'data');
    return child;
  };

  test('check 31: killed in the model call, the order completes exactly once elsewhere', async () => {
    model.setMode({ kind: 'script', modes: [{ kind: 'hang' }, { kind: 'ok' }] });
    const { job, path } = await prepare();
    const calls = model.calls();
    const child = await spawnWorker();
    try {
      await publish(job, `${job.order_id}:1`);
      await waitFor(() => model.calls() === calls + 1);
      child.kill('SIGKILL');
      await once(child, 'exit');
      await startWorker();
      expect(await ended(job)).toMatchObject({ status: 'COMPLETED', attempt: 2, anomalies: 0 });
      const steps = stepsOf(await eventsOf(job));
      expect(steps).toEqual([
        ...['ORDER_CLAIMED', 'ORDER_STARTED', 'ORDER_REISSUED', 'ORDER_CLAIMED', 'ORDER_STARTED'],
        ...['ARTIFACT_WRITTEN', 'AAR_WRITTEN', 'ORDER_COMPLETED'],
      ]);
      expect(readAar(path)).toMatchObject({ status: 'completed', attempt: 2 });
      expect(git(path, 'status', '--porcelain')).toBe('');
      await queueEmpty();
    } finally {
      child.kill('SIGKILL');
    }
  });

  test('no retry is left: the order fails with a reason', async () => {
    model.setMode({ kind: 'hang' });
    const { job } = await prepare({ constraints: { budget_seconds: 20, max_retries: 0 } });
    const calls = model.calls();
    const first = await startWorker();
    await publish(job);
    await waitFor(() => model.calls() === calls + 1);
    await first.drop();
    await startWorker();
    expect((await ended(job)).last_error).toMatchObject({
      code: 'LEASE_EXPIRED',
      retryable: false,
    });
    await queueEmpty();
  });

  test('an order of a plan is reissued, and left to who planned it', async () => {
    model.setMode({ kind: 'hang' });
    const { job } = await prepare();
    const { log } = workerContext(broker, env(), testLogger());
    await log.append({
      event_id: `created-${job.order_id}`,
      ts: new Date().toISOString(),
      type: 'ORDER_CREATED',
      garrison_id: 'local',
      theater_id: job.theater_id,
      run_id: job.run_id ?? null,
      order_id: job.order_id,
      unit_id: null,
      payload: { type: 'draft', constraints: { budget_seconds: 60, max_retries: 1 } },
    });
    const calls = model.calls();
    const first = await startWorker();
    await publish(job);
    await waitFor(() => model.calls() === calls + 1);
    await first.drop();
    await startWorker();
    await queueEmpty();
    expect(await stateOf(job)).toMatchObject({ status: 'QUEUED', attempt: 2, anomalies: 0 });
    expect(model.calls()).toBe(calls + 1);
  });

  test('check 31: dead between commit and events: finished without asking the model again', async () => {
    const { job, path } = await prepare();
    const calls = model.calls();
    const sink = testLogger();
    const own = await server.connect();
    const context = workerContext(own, env(), sink);
    const { log } = context;
    const committed = Promise.withResolvers<void>();
    // It reaches the last batch and never gets to send it.
    const stuck: typeof log = {
      ...log,
      appendBatch: (entries) => {
        if (!entries.some(({ event }) => event.type === 'ORDER_COMPLETED')) {
          return log.appendBatch(entries);
        }
        committed.resolve();
        return Promise.reject(
          new AppError('DEPENDENCY_UNAVAILABLE', { dependency: 'x', reason: 'y' }),
        );
      },
    };
    const role = createWorker({ ...context, log: stuck }, { graceMs: 0 });
    await publish(job);
    await committed.promise;
    await own.nc.close();
    const sha = git(path, 'rev-parse', 'HEAD');
    await startWorker();
    const order = await ended(job);
    expect(order).toMatchObject({ status: 'COMPLETED', attempt: 1, commit_sha: sha, anomalies: 0 });
    expect(order.artifacts[0]?.sha256).toMatch(/^[0-9a-f]{64}$/);
    expect(model.calls()).toBe(calls + 1);
    await role.close();
  });

  test('stops: a running order is handed to another worker at once', async () => {
    model.setMode({ kind: 'script', modes: [{ kind: 'hang' }, { kind: 'ok' }] });
    const { job } = await prepare();
    const calls = model.calls();
    const first = await startWorker(
      { model: modelFromEnv(env()) },
      { IRONCLAW_JOB_LEASE_MS: '60000' },
    );
    await publish(job);
    await waitFor(() => model.calls() === calls + 1);
    await startWorker({}, { IRONCLAW_JOB_LEASE_MS: '60000' });
    running = running.filter((one) => one !== first);
    await first.close();
    expect(await ended(job, 5_000)).toMatchObject({ status: 'COMPLETED', attempt: 2 });
  });

  test('the broker restarts under a running order: it completes in its first attempt', async () => {
    model.setMode({ kind: 'slow', ms: 1_500 });
    const { job } = await prepare();
    const calls = model.calls();
    await startWorker({}, { IRONCLAW_JOB_LEASE_MS: '5000' });
    await publish(job);
    await waitFor(() => model.calls() === calls + 1);
    await server.restart();
    expect(await ended(job)).toMatchObject({ status: 'COMPLETED', attempt: 1, anomalies: 0 });
    expect(model.calls()).toBe(calls + 1);
    await queueEmpty();
  });
});

describe('many workers', () => {
  test('two jobs for one order, same unit named: one is worked on', async () => {
    model.setMode({ kind: 'slow', ms: 300 });
    await startWorker();
    await startWorker();
    const jobs = await Promise.all([1, 2, 3, 4].map(() => prepare()));
    const calls = model.calls();
    await Promise.all(
      jobs.flatMap(({ job }) => {
        const named = { ...job, unit_id: 'assault_same' };
        return [publish(named), publish(named), publish(named)];
      }),
    );
    for (const { job } of jobs) {
      expect(await ended(job)).toMatchObject({ status: 'COMPLETED', attempt: 1, anomalies: 0 });
    }
    await queueEmpty();
    expect(model.calls()).toBe(calls + 4);
  });

  test('a long queue of one theater does not hold up another theater', async () => {
    const order: string[] = [];
    const provider: ModelProvider = {
      name: 'test',
      complete: async (request) => {
        order.push(request.objective);
        await sleep(20);
        const usage = { input_tokens: 1, output_tokens: 1 };
        const rest = { temperature: 0, costMicroUsd: 0, requestMs: 1, tries: 1, notes: [] };
        return { text: 'done', provider: 'test', model: 'm', usage, finishReason: 'stop', ...rest };
      },
    };
    const long = await Promise.all(
      Array.from({ length: 8 }, () => prepare({ objective: 'long' }, 'tlong')),
    );
    const short = await prepare({ objective: 'short' }, 'tshort');
    for (const { job } of long) await publish(job);
    await publish(short.job);
    const model = { provider, defaultModel: 'm' };
    await startWorker({ model }, { IRONCLAW_WORKER_CONCURRENCY: '1' });
    await Promise.all([...long, short].map(({ job }) => ended(job)));
    expect(order.indexOf('short')).toBeLessThan(3);
    expect(order).toHaveLength(9);
  });

  test('a worker takes only the theaters that it serves', async () => {
    const mine = await prepare({}, 'tmine');
    const other = await prepare({}, 'tother');
    await publish(mine.job);
    await publish(other.job);
    const first = await startWorker({}, { IRONCLAW_THEATERS: 'tmine' });
    await ended(mine.job);
    await sleep(1_200);
    expect(await stateOf(other.job)).toBeUndefined();
    await first.close();
    running = [];
    await startWorker();
    await ended(other.job);
  });

  test('a lease is renewed while an order is at work', async () => {
    model.setMode({ kind: 'slow', ms: 3_500 });
    await startWorker();
    await startWorker();
    const { job } = await prepare();
    const calls = model.calls();
    await publish(job);
    expect(await ended(job)).toMatchObject({ status: 'COMPLETED', attempt: 1 });
    expect(model.calls()).toBe(calls + 1);
  });
});
