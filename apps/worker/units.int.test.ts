import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Broker } from '#libs/broker';
import type { EventType, JobMessage, PayloadOf, StoredEvent } from '#libs/contracts';
import { readFrom } from '#libs/eventlog';
import { modelFromEnv } from '#libs/models';
import { cancelOrder } from '#libs/orders';
import { createOrderCommands } from '#libs/runtime';
import {
  type ModelMode,
  type ModelServer,
  startModelServer,
  startTestBroker,
  type TestBroker,
  waitFor,
} from '#libs/testing';
import { prepareWorktree } from '#libs/worktrees';
import { STREAMS } from '#streams';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createFixture, type Fixture, git, MODEL, readAar, typesOf } from './testdata/fixture.ts';

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

const ended = (job: JobMessage, timeoutMs = 15_000) =>
  waitFor(() => fixture.endOf(job), { timeoutMs });
const becomes = (job: JobMessage, status: string) =>
  waitFor(async () => {
    const state = await fixture.stateOf(job);
    return state?.status === status ? state : null;
  });
const queueEmpty = () =>
  waitFor(async () => (await fixture.queueLength()) === 0, { timeoutMs: 10_000 });
/** Pids of the unit processes that may read the worktree. */
const unitsAt = (path: string) =>
  spawnSync('pgrep', ['-f', `allow-fs-read=${path}/`], { encoding: 'utf8' }).stdout.trim();

type Call = [name: string, input: Record<string, unknown>];
let callIds = 0;
/** One turn in which the model asks for tools. */
const asks = (...calls: Call[]): ModelMode => ({
  kind: 'ok',
  toolCalls: calls.map(([name, input]) => {
    callIds += 1;
    return { id: `call_${callIds}`, name, arguments: JSON.stringify(input) };
  }),
});
const cat = (path: string): Call => ['cat', { args: [path] }];
const script = (...modes: ModelMode[]) => model.setMode({ kind: 'script', modes });

async function run(order = {}, more = {}) {
  await fixture.startWorker({}, more);
  const prepared = await fixture.prepare(order);
  await fixture.publish(prepared.job);
  const state = await ended(prepared.job);
  return { ...prepared, state, events: await fixture.eventsOf(prepared.job) };
}

const append = <T extends EventType>(job: JobMessage, type: T, payload: PayloadOf<T>, id = '') =>
  fixture.log.append({
    event_id: `${job.order_id}-${type}${id}`,
    ts: new Date().toISOString(),
    type,
    garrison_id: 'local',
    theater_id: job.theater_id,
    run_id: job.run_id ?? null,
    order_id: null,
    unit_id: null,
    payload,
  } as Parameters<typeof fixture.log.append>[0]);

describe('tools', () => {
  test('what the model asks for is run, told in events and in the report', async () => {
    script(
      asks(cat('order.json'), ['ls', { args: ['-a'] }]),
      asks(['write', { path: 'outputs/extra.json', text: '{}' }], cat('../../repo/.git/config')),
      { kind: 'ok' },
    );
    const { state, path, events, job } = await run();
    expect(state).toMatchObject({ status: 'COMPLETED', anomalies: 0 });
    const told = events.filter(({ type }) => type === 'TOOL_CALLED').map(({ payload }) => payload);
    expect(told).toMatchObject([
      { attempt: 1, index: 0, command: 'cat', exit: 0 },
      { index: 1, command: 'ls', exit: 0 },
      { index: 2, command: 'write', exit: 0 },
      { index: 3, command: 'cat', exit: 126, denied: expect.stringContaining('outside') },
    ]);
    expect(JSON.stringify(told)).not.toContain('order.json');
    const aar = readAar(path);
    expect(aar.tool_calls).toMatchObject([
      { line: 'cat order.json', bytes_out: expect.any(Number) },
      { line: 'ls -a' },
      { line: 'write outputs/extra.json' },
      { line: 'cat ../../repo/.git/config', exit: 126 },
    ]);
    expect(aar.artifacts.map((artifact) => artifact.path)).toEqual([
      'outputs/model_output.txt',
      'outputs/extra.json',
    ]);
    expect(git(path, 'show', 'HEAD:outputs/extra.json')).toBe('{}');
    const last = model.requests().at(-1)?.body.messages ?? [];
    const roles = 'system user assistant tool tool assistant tool tool';
    expect(last.map(({ role }) => role).join(' ')).toBe(roles);
    expect(last[3]?.content).toContain(job.order_id);
    expect(last.at(-1)?.content).toMatch(/^denied: .*\[exit 126\]$/s);
    expect(unitsAt(path)).toBe('');
  });

  test('at the cap the model has to answer; one that asks on fails', async () => {
    const constraints = { budget_seconds: 20, max_retries: 0, max_tool_calls: 2 };
    const call = cat('order.json');
    script(asks(call), asks(call), { kind: 'ok' });
    const good = await run({ constraints });
    expect(good.state.status).toBe('COMPLETED');
    expect(model.requests().at(-1)?.body.tools).toBeUndefined();
    script(asks(call, call, call), { kind: 'ok' });
    const over = await run({ constraints });
    expect(over.state.status).toBe('COMPLETED');
    expect(readAar(over.path).tool_calls).toMatchObject([{ exit: 0 }, { exit: 0 }, { exit: 125 }]);
    script(asks(call, call), asks(call));
    const { state, path } = await run({ constraints });
    expect(state.last_error).toMatchObject({ code: 'TOOL_POLICY_VIOLATION', retryable: false });
    expect(state.last_error?.message).toContain('2 tool calls');
    expect(readAar(path).status).toBe('failed');
  });

  test('tokens of all answers together are capped', async () => {
    const constraints = { budget_seconds: 20, max_retries: 0, max_tokens: 3 };
    model.setMode({ ...asks(cat('order.json')), text: 'twelve chars' } as ModelMode);
    const { state } = await run({ constraints });
    expect(state.last_error).toMatchObject({ code: 'TOOL_POLICY_VIOLATION' });
    expect(model.requests().at(-1)?.body.max_tokens).toBe(3);
  });

  test('check 29: an output outside the allowlist is denied, and nothing is written', async () => {
    const tool_policy = { network: false, fs_allowlist: ['inputs/'] };
    const { state, path } = await run({
      constraints: { budget_seconds: 20, max_retries: 0, tool_policy },
    });
    expect(state.last_error).toMatchObject({ code: 'TOOL_POLICY_VIOLATION', retryable: false });
    expect(state.last_error?.message).toBe(
      'The tool policy refuses this: "outputs/model_output.txt" is not in fs_allowlist',
    );
    expect(existsSync(join(path, 'outputs'))).toBe(false);
  });

  test('the local model is offered none', async () => {
    await fixture.startWorker({ model: modelFromEnv({}) });
    const { job, path } = await fixture.prepare();
    await fixture.publish(job);
    expect((await ended(job)).status).toBe('COMPLETED');
    expect(readAar(path).tool_calls).toEqual([]);
  });
});

test('a blocked unit says why and ends; the report names the blocker', async () => {
  script(asks(['blocked', { reason: 'the price list is missing' }]));
  await fixture.startWorker();
  const { job, path } = await fixture.prepare();
  await fixture.publish(job);
  const state = await becomes(job, 'BLOCKED');
  expect(state).toMatchObject({
    blocked_reason: 'the price list is missing',
    blocked_until: null,
    labels: ['unit.blocked'],
    aar: { status: 'failed' },
    anomalies: 0,
  });
  const aar = readAar(path);
  expect(aar).toMatchObject({
    status: 'failed',
    error: { code: 'ORDER_BLOCKED' },
    notes: ['Blocked: the price list is missing'],
    next_recommendations: ['Clear the blocker: the price list is missing'],
  });
  expect(git(path, 'status', '--porcelain')).toBe('');
  await queueEmpty();
  expect(unitsAt(path)).toBe('');
});

test('a unit gives signs of life', async () => {
  model.setMode({ kind: 'slow', ms: 900 });
  const { events } = await run({}, { IRONCLAW_HEARTBEAT_EVERY_MS: '200' });
  const beats = events.filter(
    ({ type, payload }) => type === 'UNIT_SIGNAL' && payload.stage === 'heartbeat',
  );
  expect(beats.length).toBeGreaterThanOrEqual(2);
  // On a busy machine the first may fall into the stage before.
  expect(beats.map(({ payload }) => payload)).toContainEqual(
    expect.objectContaining({ message: 'calling_model' }),
  );
});

describe('cancellation', () => {
  const cancel = async (job: JobMessage) => {
    await createOrderCommands(fixture.log).decide(job, (order) =>
      cancelOrder(order, { reason: 'no longer wanted' }),
    );
    return performance.now();
  };
  const atWork = async (mode: ModelMode) => {
    model.setMode(mode);
    await fixture.startWorker();
    const prepared = await fixture.prepare();
    const calls = model.calls();
    await fixture.publish(prepared.job);
    await waitFor(() => model.calls() === calls + 1);
    expect(unitsAt(prepared.path)).not.toBe('');
    return prepared;
  };

  test('of an order in a model call that hangs: the unit is gone within a second', async () => {
    const { job, path } = await atWork({ kind: 'hang' });
    const at = await cancel(job);
    await waitFor(() => unitsAt(path) === '', { intervalMs: 20 });
    expect(performance.now() - at).toBeLessThan(1_000);
    await queueEmpty();
    const state = await fixture.stateOf(job);
    expect(state).toMatchObject({ status: 'CANCELLED', anomalies: 0 });
    expect(existsSync(join(path, 'aar.json'))).toBe(false);
    const types = typesOf(await fixture.eventsOf(job));
    expect(types).toContain('MODEL_CALL_FAILED');
    expect(types.at(-1)).not.toBe('ORDER_FAILED');
  });

  test('of a run: its unit is stopped and the order is cancelled', async () => {
    const { job, path } = await atWork({ kind: 'hang' });
    await append(job, 'RUN_CANCELLED', { reason: 'enough' });
    const at = performance.now();
    await waitFor(() => unitsAt(path) === '', { intervalMs: 20 });
    expect(performance.now() - at).toBeLessThan(1_000);
    expect((await ended(job)).status).toBe('CANCELLED');
  });

  test('of an order whose job waits: it is never begun', async () => {
    const { job } = await fixture.prepare();
    await append(job, 'RUN_CREATED', {});
    await fixture.log.append({
      ...(await eventOf(job, 'ORDER_CREATED')),
      payload: { type: 'draft' },
    } as Parameters<typeof fixture.log.append>[0]);
    await fixture.publish(job);
    await cancel(job);
    const calls = model.calls();
    await fixture.startWorker();
    await queueEmpty();
    expect(model.calls()).toBe(calls);
    expect(typesOf(await fixture.eventsOf(job))).not.toContain('ORDER_CLAIMED');
  });

  const eventOf = async (job: JobMessage, type: EventType) => ({
    event_id: `${job.order_id}-${type}`,
    ts: new Date().toISOString(),
    type,
    garrison_id: 'local',
    theater_id: job.theater_id,
    run_id: job.run_id ?? null,
    order_id: job.order_id,
    unit_id: null,
  });

  test('an order that was reissued meanwhile: the old unit stops and tells nothing more', async () => {
    const { job, path } = await atWork({ kind: 'hang' });
    await fixture.log.append({
      ...(await eventOf(job, 'ORDER_REISSUED')),
      payload: { attempt: 2, reason: 'by hand' },
    } as Parameters<typeof fixture.log.append>[0]);
    await waitFor(() => unitsAt(path) === '', { intervalMs: 20 });
    await queueEmpty();
    expect(await fixture.stateOf(job)).toMatchObject({ status: 'QUEUED', attempt: 2 });
    expect(typesOf(await fixture.eventsOf(job))).not.toContain('ORDER_FAILED');
  });
});

test('the time budget is kept from outside: the unit is killed', async () => {
  script(asks(cat('order.json')), { kind: 'hang' });
  const constraints = { budget_seconds: 2, max_retries: 0 };
  const { state, path, events } = await run({ constraints });
  expect(state.last_error).toMatchObject({ code: 'TIMEOUT' });
  expect(readAar(path).tool_calls).toHaveLength(1);
  expect(unitsAt(path)).toBe('');
  const at = (type: EventType) => Date.parse(events.find((one) => one.type === type)?.ts ?? '');
  expect(at('ORDER_FAILED') - at('ORDER_STARTED')).toBeLessThan(3_000);
});

test('check 31: when its worker is killed the unit is gone as well', async () => {
  model.setMode({ kind: 'hang' });
  const { job, path } = await fixture.prepare();
  const env = { ...fixture.env(), NATS_URL: server.url, PATH: process.env.PATH };
  const stdio: ['ignore', 'pipe', 'inherit'] = ['ignore', 'pipe', 'inherit'];
  const child = spawn(process.execPath, [WORKER_PROCESS], { env, stdio });
  try {
    await once(child.stdout, 'data');
    await fixture.publish(job);
    await waitFor(() => unitsAt(path) !== '');
    const [pid] = unitsAt(path).split('\n');
    expect(readFileSync(`/proc/${pid}/environ`, 'utf8')).not.toContain('IO_INTELLIGENCE');
    child.kill('SIGKILL');
    await once(child, 'exit');
    await waitFor(() => unitsAt(path) === '', { timeoutMs: 1_000, intervalMs: 20 });
  } finally {
    child.kill('SIGKILL');
  }
  model.setMode({ kind: 'ok' });
  await fixture.startWorker();
  await ended(job);
});

describe('cost', () => {
  const prices = { [MODEL]: { input: 100_000_000, output: 100_000_000 } };
  const priced = (more = {}) => ({ IRONCLAW_MODEL_PRICES: JSON.stringify(prices), ...more });
  const ofRun = async (job: JobMessage): Promise<StoredEvent[]> => {
    const events: StoredEvent[] = [];
    const filter = `led.v1.local.${job.theater_id}.*.*`;
    for await (const page of readFrom(broker, filter, 1)) events.push(...page);
    return events.filter(({ type }) => type.startsWith('BUDGET_'));
  };

  test('a run over its budget is stopped before its next call, warned once', async () => {
    const { job } = await fixture.prepare({}, 'tcost1');
    await append(job, 'RUN_CREATED', { max_cost_micro_usd: 100 });
    script(asks(cat('order.json')), { kind: 'ok' });
    const calls = model.calls();
    await fixture.startWorker({}, priced());
    await fixture.publish(job);
    const state = await ended(job);
    expect(state.last_error).toMatchObject({ code: 'BUDGET_EXCEEDED', retryable: false });
    expect(model.calls()).toBe(calls + 1);
    const told = await ofRun(job);
    expect(typesOf(told)).toEqual(['BUDGET_WARNED', 'BUDGET_EXCEEDED']);
    expect(told[0]?.payload).toMatchObject({ scope: 'run', limit_micro_usd: 100 });
    expect(told.every(({ run_id }) => run_id === job.run_id)).toBe(true);
  });

  test('a theater over its budget refuses all its runs, others go on', async () => {
    const more = priced({ IRONCLAW_THEATER_BUDGET_MICRO_USD: '50' });
    await fixture.startWorker({}, more);
    const first = await fixture.prepare({}, 'tcost2');
    await fixture.publish(first.job);
    expect((await ended(first.job)).status).toBe('COMPLETED');
    const second = await fixture.prepare({}, 'tcost2');
    await fixture.publish(second.job);
    expect((await ended(second.job)).last_error).toMatchObject({ code: 'BUDGET_EXCEEDED' });
    const other = await fixture.prepare({}, 'tcost3');
    await fixture.publish(other.job);
    expect((await ended(other.job)).status).toBe('COMPLETED');
    expect(typesOf(await ofRun(first.job))).toEqual(['BUDGET_WARNED', 'BUDGET_EXCEEDED']);
  });
});

describe('quota', () => {
  const services = async (): Promise<StoredEvent[]> => {
    const events: StoredEvent[] = [];
    for await (const page of readFrom(broker, 'led.v1.local._._._', 1)) events.push(...page);
    return events.filter(({ type }) => type.startsWith('SERVICE_'));
  };

  test('is a state with a reset time: the order waits and completes in its attempt', async () => {
    const before = (await services()).length;
    script({ kind: 'rate_limited', retryAfterSeconds: 6 });
    const calls = model.calls();
    await fixture.startWorker();
    await fixture.startWorker();
    const { job } = await fixture.prepare();
    await fixture.publish(job);
    const blocked = await becomes(job, 'BLOCKED');
    const resetMs = Date.parse(blocked.blocked_until ?? '');
    expect(resetMs - Date.now()).toBeGreaterThan(3_000);
    expect(blocked).toMatchObject({ labels: ['quota'], attempt: 1, unit_id: expect.any(String) });
    // Held back by both workers: the second has heard of it.
    const later = await fixture.prepare();
    await fixture.publish(later.job);
    await sleep(500);
    expect(await fixture.stateOf(later.job)).toBeUndefined();
    expect(model.calls()).toBe(calls + 1);
    model.setMode({ kind: 'ok' });
    const state = await ended(job);
    expect(Date.now()).toBeGreaterThanOrEqual(resetMs);
    expect(state).toMatchObject({ status: 'COMPLETED', attempt: 1, anomalies: 0 });
    expect(state.unit_id).toBe(blocked.unit_id);
    expect((await ended(later.job)).status).toBe('COMPLETED');
    await waitFor(async () => (await services()).length >= before + 2);
    const told = (await services()).slice(-2);
    expect(typesOf(told)).toEqual(['SERVICE_DEGRADED', 'SERVICE_RECOVERED']);
    expect(told[0]?.payload).toMatchObject({
      service: 'model:io.intelligence',
      resets_at: blocked.blocked_until,
    });
    await queueEmpty();
  });
});

test('files that go before the model are read in the unit, links are refused', async () => {
  await fixture.startWorker();
  const { job, path } = await fixture.prepare({
    prompt: { system: 'Be brief.', files: ['inputs/secret.md'], task: 'draft' },
  });
  await prepareWorktree({ worktreePath: path, files: [{ path: 'inputs/x.md', text: 'x' }] });
  spawnSync('ln', ['-s', '/etc/passwd', join(path, 'inputs/secret.md')]);
  const calls = model.calls();
  await fixture.publish(job);
  const state = await ended(job);
  expect(state.last_error).toMatchObject({ code: 'TOOL_POLICY_VIOLATION', retryable: false });
  expect(state.last_error?.message).toContain('symlink');
  expect(model.calls()).toBe(calls);
});

describe('pauses', () => {
  test.each(['class', 'theater', 'run'])(
    'a job of a paused %s waits, and goes on',
    async (what) => {
      const { job } = await fixture.prepare();
      const place = { class: 'default' };
      const [pause, resume] = (
        {
          class: ['CLASS_PAUSED', 'CLASS_RESUMED'],
          theater: ['THEATER_PAUSED', 'THEATER_RESUMED'],
          run: ['RUN_PAUSED', 'RUN_RESUMED'],
        } as const
      )[what] ?? ['RUN_PAUSED', 'RUN_RESUMED'];
      const ofTheater = { ...job, run_id: null };
      const where = what === 'run' ? job : ofTheater;
      await append(where, pause, what === 'class' ? place : {}, what);
      await fixture.startWorker();
      await fixture.publish(job);
      await sleep(1_500);
      expect((await fixture.stateOf(job))?.status ?? 'QUEUED').toBe('QUEUED');
      await append(where, resume, what === 'class' ? place : {}, what);
      expect((await ended(job)).status).toBe('COMPLETED');
    },
  );
});
