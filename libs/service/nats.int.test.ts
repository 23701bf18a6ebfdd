import { setTimeout as sleep } from 'node:timers/promises';
import type { Broker } from '#libs/broker';
import { API, AppError } from '#libs/contracts';
import { startTestBroker } from '#libs/testing';
import { describe, expect, test } from 'vitest';
import { createClient } from './client.ts';
import { serveNats } from './nats.ts';
import { type Ctx, reply, type Service } from './service.ts';
import { ask, fakeService, logger, post, testServer } from './testkit.ts';

async function serve(broker: Broker, services: Service[], options = {}): Promise<AsyncDisposable> {
  const server = serveNats(broker, services, { logger, ...options });
  await server.ready;
  return { [Symbol.asyncDispose]: () => server.close() };
}

describe('over NATS', () => {
  test('a client of any language sends the input and gets the envelope', async () => {
    await using server = await startTestBroker();
    const broker = await server.connect();
    await using _ = await serve(broker, [fakeService('co')]);
    const answer = await broker.nc.request('svc.v1.co.plan', '{"run_id":"r-1"}', {
      timeout: 2_000,
    });
    expect(answer.json()).toEqual({
      ok: true,
      data: { endpoint: 'plan', input: { run_id: 'r-1' } },
      error: null,
    });
    expect(answer.headers?.get('Ironclaw-Status')).toBe('200');
    for (const [text, code] of [
      ['not json', 'INVALID_JSON'],
      ['[]', 'INVALID_REQUEST'],
      ['{"run_id":"../x"}', 'INVALID_REQUEST'],
      ['{"run_id":"r","__proto__":{}}', 'INVALID_REQUEST'],
      ['', 'INVALID_REQUEST'],
    ]) {
      const refused = await broker.nc.request('svc.v1.co.plan', text, { timeout: 2_000 });
      expect(refused.json()).toMatchObject({ ok: false, data: null, error: { code } });
    }
  });

  test('the typed client gets data, and errors as they were thrown', async () => {
    await using server = await startTestBroker();
    const broker = await server.connect();
    const plan = async ({ run_id }: { run_id: string }) => {
      if (run_id === 'bug') throw new Error('a defect');
      if (run_id === 'gone') throw new AppError('RUN_NOT_FOUND', { id: run_id });
      const wait = { retryAfterMs: 1_234 };
      if (run_id === 'busy') throw new AppError('RATE_LIMITED', {}, { ...wait, field: 'run_id' });
      return { run_id, order_ids: ['o-1'], dependencies: {} };
    };
    await using _ = await serve(broker, [fakeService('co', { plan })]);
    const client = createClient(broker, { logger });
    const call = (run_id: string) => client.call(API.co.plan, { run_id });
    expect((await call('r-1')).order_ids).toEqual(['o-1']);
    await expect(call('gone')).rejects.toMatchObject({
      code: 'RUN_NOT_FOUND',
      message: 'There is no run gone',
    });
    await expect(call('busy')).rejects.toMatchObject({ retryAfterMs: 1_234, field: 'run_id' });
    await expect(call('bug')).rejects.toMatchObject({ code: 'INTERNAL' });
    await expect(call('no id')).rejects.toMatchObject({ code: 'INVALID_REQUEST', field: 'run_id' });
  });

  test('an absent role, silence and a lost broker are DEPENDENCY_UNAVAILABLE', async () => {
    await using server = await startTestBroker();
    const broker = await server.connect();
    const client = createClient(broker, { logger });
    const call = (options = {}) => client.call(API.vault.worktree, { order_id: 'o' }, options);
    const code = 'DEPENDENCY_UNAVAILABLE';
    const startedMs = performance.now();
    await expect(call()).rejects.toMatchObject({
      code,
      message: expect.stringMatching(/Role vault .* no process/),
    });
    expect(performance.now() - startedMs).toBeLessThan(2_000);
    const worktree = () => sleep(500);
    await using _ = await serve(broker, [fakeService('vault', { worktree })]);
    const silent = call({ timeoutMs: 50 });
    await expect(silent).rejects.toMatchObject({
      code,
      message: expect.stringMatching(/Role vault .* 50 ms/),
    });
    const signal = AbortSignal.timeout(50);
    await expect(call({ signal })).rejects.toMatchObject({ name: 'TimeoutError' });
    await server.kill();
    await expect.poll(() => broker.isConnected()).toBe(false);
    await expect(call()).rejects.toMatchObject({
      code,
      message: expect.stringMatching(/not connected/),
    });
    await expect(
      createClient(null, { logger }).call(API.vault.worktree, { order_id: 'o' }),
    ).rejects.toMatchObject({ code });
  });

  test('requests of one role are shared, not repeated', async () => {
    await using server = await startTestBroker();
    const calls = [0, 0];
    const brokers = [await server.connect(), await server.connect()];
    const servers = brokers.map((broker, at) => {
      const plan = async () => {
        calls[at] = (calls[at] ?? 0) + 1;
        return {};
      };
      return serveNats(broker, [fakeService('co', { plan })], { logger });
    });
    await Promise.all(servers.map((one) => one.ready));
    const client = createClient(await server.connect(), { logger });
    const all = Array.from({ length: 100 }, () => client.call(API.co.plan, { run_id: 'r' }));
    await Promise.all(all);
    expect((calls[0] ?? 0) + (calls[1] ?? 0)).toBe(100);
    expect(Math.min(...calls)).toBeGreaterThan(0);
    await Promise.all(servers.map((one) => one.close()));
  });

  test('what runs at once is bounded; too large answers and requests are refused', async () => {
    await using server = await startTestBroker({ maxPayloadBytes: 1024 * 1024 });
    const broker = await server.connect();
    const plan = () => sleep(200, {});
    const worktree = async () => ({ worktree_path: 'x'.repeat(2_000_000) });
    await using _ = await serve(
      broker,
      [fakeService('co', { plan }), fakeService('vault', { worktree })],
      {
        maxConcurrent: 2,
      },
    );
    const client = createClient(broker, { logger });
    const results = await Promise.all(
      Array.from({ length: 5 }, () => client.send(API.co.plan, { run_id: 'r' })),
    );
    expect(results.map((one) => one.status).toSorted((a, b) => a - b)).toEqual([
      200, 200, 429, 429, 429,
    ]);
    const large = await client.send(API.vault.worktree, { order_id: 'o' });
    expect(large.body.error).toMatchObject({ code: 'PAYLOAD_TOO_LARGE' });
    const sent = client.call(API.co.createRun, { objective: 'x'.repeat(2_000_000) });
    await expect(sent).rejects.toMatchObject({ code: 'PAYLOAD_TOO_LARGE' });
  });

  test('an answer that is not JSON is a defect, and the next request is served', async () => {
    await using server = await startTestBroker();
    const broker = await server.connect();
    const plan = async () => ({ big: 1n });
    await using _ = await serve(broker, [fakeService('co', { plan })]);
    const client = createClient(broker, { logger });
    for (const run_id of ['r-1', 'r-2']) {
      const answer = await client.send(API.co.plan, { run_id });
      expect(answer).toMatchObject({ status: 500, body: { error: { code: 'INTERNAL' } } });
    }
  });

  test('close answers what is under way and takes nothing new', async () => {
    await using server = await startTestBroker();
    const broker = await server.connect();
    const plan = () => sleep(150, { done: true });
    const serving = serveNats(broker, [fakeService('co', { plan })], { logger });
    await serving.ready;
    const client = createClient(await server.connect(), { logger });
    const running = client.send(API.co.plan, { run_id: 'r' });
    await sleep(50);
    await serving.close();
    expect(await running).toMatchObject({ status: 200, body: { data: { done: true } } });
    const late = await client.send(API.co.plan, { run_id: 'r' });
    expect(late.body.error?.code).toBe('DEPENDENCY_UNAVAILABLE');
  });

  test("the handler's signal ends with the caller's patience", async () => {
    await using server = await startTestBroker();
    const broker = await server.connect();
    let aborted = false;
    const plan = async (_: unknown, ctx: Ctx) => {
      await new Promise((resolve) => ctx.signal.addEventListener('abort', resolve));
      aborted = true;
      return {};
    };
    await using _ = await serve(broker, [fakeService('co', { plan })]);
    const client = createClient(broker, { logger });
    await client.send(API.co.plan, { run_id: 'r' }, { timeoutMs: 100 });
    await expect.poll(() => aborted).toBe(true);
  });
});

describe('in process', () => {
  test('a local role is called through the same checks, without a broker', async () => {
    const plan = async () => ({ run_id: 'r', order_ids: [], dependencies: {} });
    const client = createClient(null, { logger, local: [fakeService('co', { plan })] });
    expect(await client.call(API.co.plan, { run_id: 'r' })).toEqual(await plan());
    const bad = client.call(API.co.plan, { run_id: 'not an id' });
    await expect(bad).rejects.toMatchObject({ code: 'INVALID_REQUEST', field: 'run_id' });
    const extra = { run_id: 'r', other: 1 };
    await expect(client.call(API.co.plan, extra)).rejects.toMatchObject({ field: 'other' });
  });
});

describe('the gateway', () => {
  test('serves roles that run in another process, with their status and errors', async () => {
    await using server = await startTestBroker();
    const far = await server.connect();
    const seen: unknown[] = [];
    const append = async (input: unknown, ctx: Ctx) => {
      seen.push([input, ctx.requestId, ctx.headers('idempotency-key')]);
      return reply({ stored: true }, { status: 200 });
    };
    const order = async () => {
      throw new AppError('ORDER_NOT_FOUND', { id: 'o' });
    };
    await using _ = await serve(far, [
      fakeService('ledger', { append, order }),
      fakeService('vault'),
    ]);
    const near = await server.connect();
    await using http = await testServer({
      services: [fakeService('gateway')],
      mount: 'gateway',
      router: createClient(near, { logger }),
    });
    const headers = { 'x-request-id': 'q-1', 'idempotency-key': 'k-1' };
    const stored = await post(`${http.url}/ledger/events`, { type: 'X' }, headers);
    expect(stored).toMatchObject({ status: 200, body: { data: { stored: true } } });
    expect(seen).toEqual([[{ type: 'X' }, 'q-1', 'k-1']]);
    expect(await ask(`${http.url}/ledger/orders/o`)).toMatchObject({
      status: 404,
      body: { error: { code: 'ORDER_NOT_FOUND', message: 'There is no order o' } },
    });
    expect((await post(`${http.url}/vault/theaters`, { theater_id: 't' })).status).toBe(200);
    expect((await ask(`${http.url}/co/playbooks`)).status).toBe(503);
  });
});
