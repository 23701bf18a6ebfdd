import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Broker } from '#libs/broker';
import { AppError, type JobMessage } from '#libs/contracts';
import { type ModelProvider, modelFromEnv } from '#libs/models';
import {
  type ModelServer,
  startModelServer,
  startTestBroker,
  type TestBroker,
  testLogger,
  waitFor,
} from '#libs/testing';
import { STREAMS } from '#streams';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createWorker } from './role.ts';
import { workerContext } from './testdata/context.ts';
import { createFixture, type Fixture, git, readAar, STEPS, stepsOf } from './testdata/fixture.ts';

const WORKER_PROCESS = fileURLToPath(new URL('./testdata/worker-process.ts', import.meta.url));

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

describe('a worker dies', () => {
  const spawnWorker = async () => {
    const more = { NATS_URL: server.url, PATH: process.env.PATH };
    const child = spawn(process.execPath, [WORKER_PROCESS], {
      env: { ...fixture.env(), ...more },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await once(child.stdout, 'data');
    return child;
  };

  test('check 31: killed in the model call, the order completes exactly once elsewhere', async () => {
    model.setMode({ kind: 'script', modes: [{ kind: 'hang' }, { kind: 'ok' }] });
    const { job, path } = await fixture.prepare();
    const calls = model.calls();
    const child = await spawnWorker();
    try {
      await fixture.publish(job, `${job.order_id}:1`);
      await waitFor(() => model.calls() === calls + 1);
      child.kill('SIGKILL');
      await once(child, 'exit');
      await fixture.startWorker();
      expect(await ended(job)).toMatchObject({ status: 'COMPLETED', attempt: 2, anomalies: 0 });
      const steps = stepsOf(await fixture.eventsOf(job));
      expect(steps).toEqual([
        'ORDER_CLAIMED',
        'ORDER_STARTED',
        'ORDER_REISSUED',
        ...STEPS.slice(0, 5),
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
    const { job } = await fixture.prepare({ constraints: { budget_seconds: 20, max_retries: 0 } });
    const calls = model.calls();
    const first = await fixture.startWorker();
    await fixture.publish(job);
    await waitFor(() => model.calls() === calls + 1);
    await first.drop();
    await fixture.startWorker();
    expect((await ended(job)).last_error).toMatchObject({
      code: 'LEASE_EXPIRED',
      retryable: false,
    });
    await queueEmpty();
  });

  test('an order of a plan is reissued, and left to who planned it', async () => {
    model.setMode({ kind: 'hang' });
    const { job } = await fixture.prepare();
    await fixture.log.append({
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
    const first = await fixture.startWorker();
    await fixture.publish(job);
    await waitFor(() => model.calls() === calls + 1);
    await first.drop();
    await fixture.startWorker();
    await queueEmpty();
    expect(await fixture.stateOf(job)).toMatchObject({
      status: 'QUEUED',
      attempt: 2,
      anomalies: 0,
    });
    expect(model.calls()).toBe(calls + 1);
  });

  test('check 31: dead between commit and events: finished without asking the model again', async () => {
    const { job, path } = await fixture.prepare();
    const calls = model.calls();
    const sink = testLogger();
    const own = await server.connect();
    const context = workerContext(own, fixture.env(), sink);
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
    await fixture.publish(job);
    await committed.promise;
    await own.nc.close();
    const sha = git(path, 'rev-parse', 'HEAD');
    await fixture.startWorker();
    const order = await ended(job);
    expect(order).toMatchObject({ status: 'COMPLETED', attempt: 1, commit_sha: sha, anomalies: 0 });
    expect(order.artifacts[0]?.sha256).toMatch(/^[0-9a-f]{64}$/);
    expect(model.calls()).toBe(calls + 1);
    await role.close();
  });

  test('stops: a running order is handed to another worker at once', async () => {
    model.setMode({ kind: 'script', modes: [{ kind: 'hang' }, { kind: 'ok' }] });
    const { job } = await fixture.prepare();
    const calls = model.calls();
    const first = await fixture.startWorker(
      { model: modelFromEnv(fixture.env()) },
      { IRONCLAW_JOB_LEASE_MS: '60000' },
    );
    await fixture.publish(job);
    await waitFor(() => model.calls() === calls + 1);
    await fixture.startWorker({}, { IRONCLAW_JOB_LEASE_MS: '60000' });
    await first.close();
    expect(await ended(job, 5_000)).toMatchObject({ status: 'COMPLETED', attempt: 2 });
  });

  test('the broker restarts under a running order: it completes in its first attempt', async () => {
    model.setMode({ kind: 'slow', ms: 1_500 });
    const { job } = await fixture.prepare();
    const calls = model.calls();
    await fixture.startWorker({}, { IRONCLAW_JOB_LEASE_MS: '5000' });
    await fixture.publish(job);
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
    await fixture.startWorker();
    await fixture.startWorker();
    const jobs = await Promise.all([1, 2, 3, 4].map(() => fixture.prepare()));
    const calls = model.calls();
    await Promise.all(
      jobs.flatMap(({ job }) => {
        const named = { ...job, unit_id: 'assault_same' };
        return [fixture.publish(named), fixture.publish(named), fixture.publish(named)];
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
      Array.from({ length: 8 }, () => fixture.prepare({ objective: 'long' }, 'tlong')),
    );
    const short = await fixture.prepare({ objective: 'short' }, 'tshort');
    for (const { job } of long) await fixture.publish(job);
    await fixture.publish(short.job);
    const model = { provider, defaultModel: 'm' };
    await fixture.startWorker({ model }, { IRONCLAW_WORKER_CONCURRENCY: '1' });
    await Promise.all([...long, short].map(({ job }) => ended(job)));
    expect(order.indexOf('short')).toBeLessThan(3);
    expect(order).toHaveLength(9);
  });

  test('a worker takes only the theaters that it serves', async () => {
    const mine = await fixture.prepare({}, 'tmine');
    const other = await fixture.prepare({}, 'tother');
    await fixture.publish(mine.job);
    await fixture.publish(other.job);
    const first = await fixture.startWorker({}, { IRONCLAW_THEATERS: 'tmine' });
    await ended(mine.job);
    await sleep(1_200);
    expect(await fixture.stateOf(other.job)).toBeUndefined();
    await first.close();
    await fixture.startWorker();
    await ended(other.job);
  });

  test('a lease is renewed while an order is at work', async () => {
    model.setMode({ kind: 'slow', ms: 3_500 });
    await fixture.startWorker();
    await fixture.startWorker();
    const { job } = await fixture.prepare();
    const calls = model.calls();
    await fixture.publish(job);
    expect(await ended(job)).toMatchObject({ status: 'COMPLETED', attempt: 1 });
    expect(model.calls()).toBe(calls + 1);
  });
});
