import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { type ModelServer, startModelServer } from '#libs/testing';
import { freshIds, startSystem, type System } from './harness.ts';
import { BAD_IDS, BAD_JSON } from './hostile.ts';
import * as units from './unit.ts';
import { type Answer, callNats, type Data, err, ok, refused, sendHttp, WAYS } from './wire.ts';

let model: ModelServer;
let system: System;
beforeAll(async () => {
  model = await startModelServer();
  system = await startSystem({
    roles: ['ledger', 'vault', 'observer', 'integration', 'worker', 'co', 'gateway'],
    env: {
      IO_INTELLIGENCE_BASE_URL: model.url,
      IO_INTELLIGENCE_API_KEY: 'io-v2-conformance-KEY-0123456789abcdef',
    },
  });
});
afterEach(() => model.setMode({ kind: 'ok' }));
afterAll(async () => {
  await system?.[Symbol.asyncDispose]();
  await model?.[Symbol.asyncDispose]();
});

const JSON_TYPE = { 'content-type': 'application/json' };

test.each(WAYS)('over %s a type that is not registered is told, not found empty', async (way) => {
  const answer = await system.call(way, 'gateway.events', { type: 'BOGUS' });
  expect(err(answer, 'UNKNOWN_EVENT_TYPE', 400).field).toBe('type');
});

test('a live stream of a type that is not registered does not begin', async () => {
  const answer = await fetch(`${system.url('gateway')}/api/stream?type=BOGUS`);
  expect(answer.status).toBe(400);
  expect(await answer.json()).toMatchObject({
    error: { code: 'UNKNOWN_EVENT_TYPE', field: 'type' },
  });
});

async function countRuns(): Promise<number> {
  const filter = { type: 'RUN_CREATED', limit: 1000, at_least: await system.tail() };
  return ok(await system.call('http', 'ledger.events', filter)).events.length;
}

/** Comes again when it is told to, as a client that keeps to the limit of chats does. */
async function patient(send: () => Promise<Answer>): Promise<Answer> {
  for (;;) {
    const answer = await send();
    if (answer.status !== 429) return answer;
    await sleep(answer.body.error?.retry_after_ms);
  }
}

describe.each(WAYS)('gateway over %s', (way) => {
  const call = (name: string, input: unknown, headers?: Record<string, string>): Promise<Answer> =>
    patient(() => system.call(way, `gateway.${name}`, input, headers));
  const chat = (more: Data = {}, headers?: Record<string, string>): Promise<Answer> => {
    const { theater } = freshIds();
    const input = { user_id: 'u_123', theater_hint: theater, message: 'Build me a summary' };
    return call('chat', { ...input, ...more }, headers);
  };
  const countOf = async (run_id: string, type: string): Promise<number> =>
    (await system.eventsOf({ run_id })).filter((event) => event.type === type).length;

  test('8.36 a sync chat answers with the reply; run and orders can be looked at', async () => {
    const message = 'Name the one thing that matters: 0815-ÄÖÜ-🙂';
    const data = ok(await chat({ message, mode: 'sync' }), 200);
    expect(data).toMatchObject({ run_id: expect.any(String), reply: expect.stringMatching(/\S/) });
    expect(data.reply).toContain('Test answer to');
    expect(data.artifacts.length).toBeGreaterThanOrEqual(1);
    const { run_id } = data;
    const run = ok(await call('run', { run_id }));
    expect(run).toMatchObject({ run_id, status: 'COMPLETE', reply: data.reply });
    expect(run.summary).toMatch(/\S/);
    const [order_id] = run.order_ids;
    const order = ok(await call('order', { order_id }));
    expect(order).toMatchObject({ status: 'COMPLETED', run_id, aar: { path: 'aar.json' } });
    expect(order.artifacts.length).toBeGreaterThanOrEqual(1);
    expect(order.commit_sha).toMatch(/^[0-9a-f]{40}$/);

    const [artifact] = data.artifacts as Data[];
    const { theater_id } = run;
    const { path, commit_sha } = artifact as Data;
    const file = { theater_id, path, commit_sha };
    const { text } = ok(await system.call(way, 'vault.read-file', file));
    expect(text).toContain('Test answer to');
    expect(JSON.stringify(model.requests().at(-1)?.body)).toContain('0815-ÄÖÜ-🙂');
  });

  test('8.36 every fact of a run is told exactly once', async () => {
    const calls = model.calls();
    const { run_id } = ok(await chat());
    const events = await system.eventsOf({ run_id });
    const count = new Map<string, number>();
    for (const { type } of events) count.set(type, (count.get(type) ?? 0) + 1);
    const once = [
      'RUN_CREATED RUN_PLANNED ORDER_CREATED WORKTREE_CREATED WORKTREE_READY ORDER_ENQUEUED',
      'ORDER_CLAIMED ORDER_STARTED MODEL_CALL_STARTED MODEL_CALL_COMPLETED ARTIFACT_WRITTEN',
      'AAR_WRITTEN ORDER_COMPLETED INTEGRATION_STARTED INTEGRATION_PASSED INTEGRATED',
      'RUN_COMPLETED',
    ];
    for (const type of once.flatMap((line) => line.split(' '))) {
      expect(count.get(type), type).toBe(1);
    }
    expect(model.calls() - calls).toBe(1);
  });

  test('8.36 the reply is given as soon as the run has ended', async () => {
    const lateMs: number[] = [];
    for (let round = 0; round < 3; round += 1) {
      const { run_id } = ok(await chat());
      const answeredAt = Date.now();
      const { ended_at } = await units.runView(system, run_id);
      lateMs.push(answeredAt - Date.parse(ended_at));
    }
    expect(Math.min(...lateMs)).toBeLessThan(400);
  });

  test('8.36 neither the message nor the answer stands in an event', async () => {
    const secret = `between us ${freshIds().run}`;
    const message = `A first line for the list.\n\n${secret}`;
    model.setMode({ kind: 'ok', text: `the answer to ${secret}` });
    const { run_id, reply } = ok(await chat({ message }));
    expect(reply).toContain(secret);
    expect(JSON.stringify(await system.eventsOf({ run_id }))).not.toContain(secret);
  });

  test('8.37 an async chat answers at once, the run ends later', async () => {
    model.setMode({ kind: 'slow', ms: 1_500 });
    const began = performance.now();
    const data = ok(await chat({ mode: 'async' }));
    expect(performance.now() - began).toBeLessThan(1_000);
    expect(data).toEqual({ run_id: data.run_id, status: 'OPEN' });
    // Who was told of a run can read it at once.
    expect(ok(await call('run', { run_id: data.run_id })).status).toBe('OPEN');
    const run = await units.runEnd(system, data.run_id);
    expect(run.status).toBe('COMPLETE');
    const late = ok(await call('run', { run_id: data.run_id }));
    expect(late.reply).toContain('Test answer to');
  });

  test('8.37 a sync chat whose time is over answers as async does', async () => {
    model.setMode({ kind: 'slow', ms: 1_500 });
    const data = ok(await chat({ mode: 'sync', wait_ms: 100 }));
    expect(data).toEqual({ run_id: data.run_id, status: 'OPEN' });
    expect((await units.runEnd(system, data.run_id)).status).toBe('COMPLETE');
  });

  // Refused chats count against the limit of chats, which only HTTP has.
  const someIds = BAD_IDS.filter((_id, index) => way === 'nats' || index % 5 === 0);

  /** The code of a 4xx, and no run. */
  const expectRefused = async (
    answer: () => Promise<Answer>,
    code = 'INVALID_REQUEST',
  ): Promise<void> => {
    const before = await countRuns();
    refused(await patient(answer), code);
    expect(await countRuns()).toBe(before);
  };

  test.each<[string, Data]>([
    ['no message', { message: undefined }],
    ['an empty message', { message: '' }],
    ['a blank message', { message: ' \n\t\u00a0\u3000' }],
    ['a message that is a list', { message: ['x'] }],
    ['a message that is null', { message: null }],
    ['mode later', { mode: 'later' }],
    ['mode of Object', { mode: 'constructor' }],
    ['a wait without end', { wait_ms: 1e12 }],
    ['a wait below zero', { wait_ms: -1 }],
    ['a field that is not known', { autopilot: false }],
    ['an input outside', { inputs: [{ name: '../x', text: 'x' }] }],
    ['an input at the root', { inputs: [{ name: '/x', text: 'x' }] }],
    [
      'an input twice',
      {
        inputs: [
          { name: 'a', text: 'x' },
          { name: 'a', text: 'y' },
        ],
      },
    ],
    ['33 inputs', { inputs: Array.from({ length: 33 }, (_, n) => ({ name: `f${n}`, text: 'x' })) }],
    ['a request_id of 300', { request_id: 'x'.repeat(300) }],
    ['variables that are no text', { variables: { audience: 1 } }],
    ...someIds.map(([name, theater_hint]): [string, Data] => [
      `a theater: ${name}`,
      { theater_hint },
    ]),
  ])('8.38 a chat is refused: %s', async (_name, change) => {
    await expectRefused(() => chat(change));
  });

  test('8.38 a chat is refused: an unknown playbook', async () => {
    await expectRefused(() => chat({ playbook: 'nope' }), 'UNKNOWN_PLAYBOOK');
  });

  test.each(BAD_JSON)('8.38 a chat is refused: %s', async (_name, body, code = 'INVALID_JSON') => {
    const send = () =>
      way === 'http'
        ? sendHttp(system.url('gateway'), 'POST', '/chat', { body, headers: JSON_TYPE })
        : callNats(system.broker.nc, 'gateway.chat', body);
    await expectRefused(send, code);
  });

  test('8.38 a chat of 5 MB is refused', async () => {
    await expectRefused(() => chat({ message: 'x'.repeat(5_000_000) }), 'PAYLOAD_TOO_LARGE');
  });

  test('8.38 unknown runs and orders are 404', async () => {
    const { run: run_id, order: order_id } = freshIds();
    err(await call('run', { run_id }), 'RUN_NOT_FOUND', 404);
    err(await call('order', { order_id }), 'ORDER_NOT_FOUND', 404);
  });

  test('8.39 the same request_id again is the same run, created once', async () => {
    const { theater: theater_hint, request: request_id } = freshIds();
    const calls = model.calls();
    const first = ok(await chat({ theater_hint, request_id }));
    const again = ok(await chat({ theater_hint, request_id }));
    expect(again).toEqual(first);
    expect(await countOf(first.run_id, 'RUN_CREATED')).toBe(1);
    expect(await countOf(first.run_id, 'ORDER_CREATED')).toBe(1);
    expect(model.calls() - calls).toBe(1);
    const other = { theater_hint, request_id, message: 'Something else' };
    err(await chat(other), 'REQUEST_ID_CONFLICT', 409);
  });

  test('8.39 ten of one request_id at once are one run', async () => {
    const { theater: theater_hint, request: request_id } = freshIds();
    const calls = model.calls();
    const answers = await Promise.all(
      Array.from({ length: 10 }, () => chat({ theater_hint, request_id })),
    );
    const data = answers.map((answer) => ok(answer));
    expect(new Set(data.map(({ run_id }) => run_id)).size).toBe(1);
    expect(new Set(data.map(({ reply }) => reply)).size).toBe(1);
    expect(await countOf(data[0]?.run_id, 'RUN_CREATED')).toBe(1);
    expect(model.calls() - calls).toBe(1);
  });

  test('8.39 an async chat sent again finds its run ended', async () => {
    const { theater: theater_hint, request: request_id } = freshIds();
    const first = ok(await chat({ theater_hint, request_id, mode: 'sync' }));
    const again = ok(await chat({ theater_hint, request_id, mode: 'async' }));
    expect(again).toMatchObject({ run_id: first.run_id, status: 'COMPLETE' });
  });

  test('8.39 the key may stand in the header', async () => {
    const { theater: theater_hint, request } = freshIds();
    const headers = { 'Idempotency-Key': request };
    const first = ok(await chat({ theater_hint }, headers));
    const again = ok(await chat({ theater_hint, request_id: request }));
    expect(again.run_id).toBe(first.run_id);
    refused(await chat({ theater_hint }, { 'Idempotency-Key': 'x'.repeat(300) }));
  });

  test('8.36 8.35 a chat whose model refuses answers with a failed run and why', async () => {
    model.setMode({ kind: 'status', status: 401 });
    const data = ok(await chat());
    expect(data.status).toBe('FAILED');
    expect(data.reply).toMatch(/401|refus|key/i);
    expect(data.artifacts).toEqual([]);
    expect((await units.runView(system, data.run_id)).status).toBe('FAILED');
  });
});

describe('gateway over http alone', () => {
  const send = (body: string, headers: Record<string, string>): Promise<Answer> =>
    sendHttp(system.url('gateway'), 'POST', '/chat', { body, headers });
  const post: typeof send = (body, headers) => patient(() => send(body, headers));
  const good = JSON.stringify({ message: 'Build me a summary' });

  test('8.38 wrong content types are 415 and create nothing', async () => {
    const before = await countRuns();
    const types = [
      'text/plain',
      'application/x-www-form-urlencoded',
      'multipart/form-data; boundary=x',
    ];
    for (const type of types) {
      err(await post(good, { 'content-type': type }), 'UNSUPPORTED_MEDIA_TYPE', 415);
    }
    err(await post(good, {}), 'UNSUPPORTED_MEDIA_TYPE', 415);
    expect(await countRuns()).toBe(before);
  });

  test('8.38 GET on /chat is 405 in the envelope', async () => {
    err(await sendHttp(system.url('gateway'), 'GET', '/chat'), 'METHOD_NOT_ALLOWED', 405);
  });

  test('8.38 a page of another site is refused, by origin and by host', async () => {
    const before = await countRuns();
    const origin = { ...JSON_TYPE, origin: 'https://evil.example' };
    err(await post(good, origin), 'FORBIDDEN', 403);
    err(await post(good, { ...JSON_TYPE, host: 'evil.example' }), 'FORBIDDEN', 403);
    expect(await countRuns()).toBe(before);
  });

  test('8.39 a flood is answered with 429 and when to come again', async () => {
    // Refused chats count too, and make no runs.
    const flood = await Promise.all(Array.from({ length: 150 }, () => send('{}', JSON_TYPE)));
    const limited = flood.filter(({ status }) => status === 429);
    expect(limited.length).toBeGreaterThan(10);
    for (const answer of limited) err(answer, 'RATE_LIMITED', 429);
    for (const answer of flood) err(answer);
    const [one] = limited;
    expect((one?.body.error as Data | undefined)?.retry_after_ms).toBeGreaterThan(0);
    ok(await sendHttp(system.url('gateway'), 'GET', '/health'), 200);
  });
});
