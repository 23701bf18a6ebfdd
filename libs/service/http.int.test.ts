import { setTimeout as sleep } from 'node:timers/promises';
import { ENDPOINTS, errorBodySchema, LIMITS } from '#libs/contracts';
import { describe, expect, test } from 'vitest';
import { mountEndpoints } from './routes.ts';
import { type Ctx, reply } from './service.ts';
import {
  ask,
  fakeService,
  fakeServices,
  post,
  rawEnvelope,
  rawRequest,
  testServer,
} from './testkit.ts';

const mounted = mountEndpoints(
  ENDPOINTS.map((endpoint) => ({ endpoint })),
  'gateway',
).map(({ item, path }) => ({ endpoint: item.endpoint, path: path.replace(/\{\w+\}/g, 'some-id') }));

function expectError(answer: { status: number; body: unknown; headers?: Headers }, code: string) {
  const body = answer.body as { ok: boolean; data: unknown; error: { code: string } };
  expect(body).toMatchObject({ ok: false, data: null, error: { code } });
  expect(errorBodySchema.safeParse(body.error).success).toBe(true);
  expect(JSON.stringify(body)).not.toMatch(/node:internal|\.ts:\d|\n\s+at /);
  expect(answer.headers?.get('content-type') ?? 'application/json').toBe('application/json');
}

// Acceptance check 53, over every endpoint in the list.
describe('every route answers bad requests with the envelope', () => {
  test('unknown path and wrong method', async () => {
    await using server = await testServer({ services: fakeServices(), mount: 'gateway' });
    for (const { endpoint, path } of mounted) {
      const unknown = await ask(`${server.url}${path}/no/such/place`);
      expect({ path, status: unknown.status }).toEqual({ path, status: 404 });
      expectError(unknown, 'NOT_FOUND');
      for (const method of ['PUT', 'PATCH']) {
        const wrong = await ask(server.url + path, { method });
        expect({ path, status: wrong.status }).toEqual({ path, status: 405 });
        expectError(wrong, 'METHOD_NOT_ALLOWED');
        expect(wrong.headers.get('allow')?.split(', ')).toContain(endpoint.method);
      }
    }
  });

  test('bad JSON, wrong type, too large, too deep, hostile keys', async () => {
    await using server = await testServer({
      services: fakeServices(),
      mount: 'gateway',
      rateLimits: false,
    });
    const deep = `{"x":${'['.repeat(10_000)}${']'.repeat(10_000)}}`;
    // Contracts of others have words of their own for all of this.
    const ours = mounted.filter(({ endpoint }) => endpoint.outside === undefined);
    for (const { endpoint, path } of ours.filter((one) => one.endpoint.method === 'POST')) {
      const url = server.url + path;
      for (const text of ['not json', '{"a":', '\u0000', '{"a":1}}', 'NaN']) {
        expectError(await post(url, text), 'INVALID_JSON');
      }
      for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'application/jsonx']) {
        expectError(await post(url, '{}', { 'content-type': type }), 'UNSUPPORTED_MEDIA_TYPE');
      }
      expectError(await post(url, 'x'.repeat(endpoint.maxBodyBytes)), 'INVALID_JSON');
      expectError(await post(url, 'x'.repeat(endpoint.maxBodyBytes + 1)), 'PAYLOAD_TOO_LARGE');
      // These check the input in their own handlers, which are fakes here.
      if (endpoint.rawInput) continue;
      expectError(await post(url, '[]'), 'INVALID_REQUEST');
      expectError(await post(url, 'null'), 'INVALID_REQUEST');
      expectError(await post(url, '"text"'), 'INVALID_REQUEST');
      expectError(await post(url, deep), 'INVALID_REQUEST');
      expectError(await post(url, '{"__proto__":{"polluted":true}}'), 'INVALID_REQUEST');
      expectError(await post(url, '{"x":{"constructor":{}}}'), 'INVALID_REQUEST');
    }
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined();
  });
});

describe('input', () => {
  test('is path, query and body in one', async () => {
    await using server = await testServer({
      services: [fakeService('vault'), fakeService('ledger')],
    });
    const prepared = await post(`${server.url}/vault/worktrees/o-1/prepare`, {
      order: { order_id: 'o-1', type: 'draft', objective: 'x' },
    });
    expect(prepared).toMatchObject({ status: 200, body: { ok: true, error: null } });
    expect(prepared.body.data).toMatchObject({
      input: { order_id: 'o-1', order: { type: 'draft' } },
    });
    const list = await ask(`${server.url}/ledger/events?run_id=r-1&from_seq=7`);
    expect(list.body.data).toMatchObject({ input: { run_id: 'r-1', from_seq: 7, limit: 100 } });
  });

  test('no body on POST is an empty object', async () => {
    await using server = await testServer({ services: [fakeService('co')] });
    const answer = await ask(`${server.url}/runs/r-1/plan`, { method: 'POST' });
    expect(answer.body.data).toEqual({ endpoint: 'plan', input: { run_id: 'r-1' } });
  });

  test('a bare array and a raw body reach the handler as they are', async () => {
    await using server = await testServer({ services: [fakeService('ledger')] });
    const batch = await post(`${server.url}/events/batch`, [{ any: 1 }]);
    expect(batch.body.data).toMatchObject({ input: { events: [{ any: 1 }] } });
    const single = await post(`${server.url}/events`, { anything: [true] });
    expect(single).toMatchObject({ status: 201, body: { data: { input: { anything: [true] } } } });
  });

  test.each([
    ['/worktrees/o-1?x=1', 'x'],
    ['/theaters/t/file?path=a&path=b', 'path'],
    ['/theaters/t/file?path=', 'path'],
    ['/theaters/t/file?theater_id=u&path=a', 'theater_id'],
    ['/theaters/t/file?path=../a', 'path'],
    ['/theaters/t/file?path=%E0%A4%A', 'commit_sha', '&commit_sha=z'],
    ['/worktrees/a%2Fb', 'order_id'],
    ['/worktrees/..%2f..%2fetc', 'order_id'],
    ['/worktrees/%00', 'order_id'],
    ['/worktrees/%E0%A4%A', 'order_id'],
    [`/worktrees/${'x'.repeat(300)}`, 'order_id'],
  ])('%s is refused, naming %s', async (path, field, more = '') => {
    await using server = await testServer({ services: [fakeService('vault')] });
    const answer = await ask(server.url + path + more);
    expectError(answer, 'INVALID_REQUEST');
    expect(answer.body.error?.field).toBe(field);
  });

  test('a body that contradicts the path is refused, one that repeats it is not', async () => {
    await using server = await testServer({ services: [fakeService('vault')] });
    const url = `${server.url}/worktrees/o-1/archive`;
    expectError(await post(url, { order_id: 'o-2' }), 'INVALID_REQUEST');
    expect(await post(url, { order_id: 'o-1' })).toMatchObject({ status: 200 });
    const init = { method: 'DELETE', headers: { 'content-type': 'application/json' } };
    const other = await ask(`${server.url}/worktrees/o-1`, { ...init, body: '{"order_id":"o-2"}' });
    expectError(other, 'INVALID_REQUEST');
  });
});

describe('answers', () => {
  test('a handler chooses status and headers', async () => {
    const append = async () => reply({ again: true }, { status: 200, headers: { 'x-a': 'b' } });
    await using server = await testServer({ services: [fakeService('ledger', { append })] });
    const answer = await post(`${server.url}/events`, {});
    expect(answer.status).toBe(200);
    expect(answer.headers.get('x-a')).toBe('b');
  });

  test('an unexpected error is INTERNAL with the request id, without a stack', async () => {
    const health = async () => {
      throw new Error('secret detail');
    };
    await using server = await testServer({ services: [fakeService('co', { health })] });
    const answer = await ask(`${server.url}/health`, { headers: { 'x-request-id': 'abc-1' } });
    expect(answer.status).toBe(500);
    expectError(answer, 'INTERNAL');
    expect(answer.headers.get('x-request-id')).toBe('abc-1');
    expect(JSON.stringify(answer.body)).toContain('abc-1');
    expect(JSON.stringify(answer.body)).not.toContain('secret detail');
  });

  test('a request id is made where none, or a bad one, is given', async () => {
    await using server = await testServer({ services: [fakeService('co')] });
    const ids = new Set<string | null>();
    for (const given of [undefined, 'has space', 'x'.repeat(200)]) {
      const headers = given === undefined ? {} : { 'x-request-id': given };
      ids.add((await ask(`${server.url}/health`, { headers })).headers.get('x-request-id'));
    }
    expect(ids.size).toBe(3);
  });

  test('HEAD and OPTIONS', async () => {
    await using server = await testServer({ services: [fakeService('ledger')] });
    const head = await fetch(`${server.url}/health`, { method: 'HEAD' });
    expect([head.status, await head.text()]).toEqual([200, '']);
    const options = await fetch(`${server.url}/events`, { method: 'OPTIONS' });
    expect(options.status).toBe(204);
    expect(options.headers.get('allow')).toBe('POST, GET, HEAD, OPTIONS');
    const stream = await fetch(`${server.url}/api/stream`, { method: 'HEAD' });
    expect(stream.headers.get('content-type')).toContain('text/event-stream');
  });

  test('the handler sees request id, headers and an abort when the client goes', async () => {
    let aborted = false;
    const seen = Promise.withResolvers<unknown>();
    const plan = async (_: unknown, ctx: Ctx) => {
      seen.resolve([ctx.requestId, ctx.principal, ctx.headers('idempotency-key')]);
      await new Promise((resolve) => ctx.signal.addEventListener('abort', resolve));
      aborted = true;
      return {};
    };
    await using server = await testServer({ services: [fakeService('co', { plan })] });
    const gone = new AbortController();
    const headers = { 'x-request-id': 'q1', 'idempotency-key': 'k1' };
    const call = fetch(`${server.url}/runs/r/plan`, {
      method: 'POST',
      headers,
      signal: gone.signal,
    });
    expect(await seen.promise).toEqual(['q1', null, 'k1']);
    gone.abort();
    await expect(call).rejects.toMatchObject({ name: 'AbortError' });
    await expect.poll(() => aborted).toBe(true);
  });
});

describe('mounting', () => {
  test('one role: at the root and under its name', async () => {
    await using server = await testServer({ services: [fakeService('co')] });
    for (const path of ['/playbooks', '/co/playbooks']) {
      expect((await ask(server.url + path)).status).toBe(200);
    }
  });

  test('several roles: each under its name only', async () => {
    await using server = await testServer({ services: [fakeService('co'), fakeService('vault')] });
    expect((await ask(`${server.url}/co/health`)).status).toBe(200);
    expect((await ask(`${server.url}/vault/health`)).status).toBe(200);
    expect((await ask(`${server.url}/health`)).status).toBe(404);
  });

  test('gateway: at the root; roles that run nowhere are told as unavailable', async () => {
    await using server = await testServer({
      services: [fakeService('gateway'), fakeService('co')],
      mount: 'gateway',
    });
    expect((await ask(`${server.url}/runs`)).body.data).toMatchObject({ endpoint: 'runs' });
    expect((await post(`${server.url}/co/runs`, { objective: 'x' })).status).toBe(201);
    const away = await ask(`${server.url}/vault/health`);
    expect(away.status).toBe(503);
    expectError(away, 'DEPENDENCY_UNAVAILABLE');
    expect(JSON.stringify(away.body)).toContain('Role vault');
    expectError(await ask(`${server.url}/ledger/api/stream`), 'DEPENDENCY_UNAVAILABLE');
  });
});

describe('at the socket', () => {
  const request = (head: string, body = '') => `${head}\r\nHost: localhost\r\n${body}`;

  test.each([
    ['not HTTP at all', 'HELLO WORLD\r\n\r\n', 'INVALID_REQUEST', 400],
    ['an unknown method', request('FOO / HTTP/1.1', '\r\n'), 'INVALID_REQUEST', 400],
    ['a target that is no path', request('GET nowhere HTTP/1.1', '\r\n'), 'INVALID_REQUEST', 400],
    ['a Host that is no host', 'GET / HTTP/1.1\r\nHost: a b\r\n\r\n', 'INVALID_REQUEST', 400],
    [
      'an Expect nobody knows',
      'GET /nope HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n',
      'FORBIDDEN',
      403,
    ],
    ['no Host', 'GET /health HTTP/1.1\r\n\r\n', 'INVALID_REQUEST', 400],
    [
      'two lengths',
      request('POST /jobs HTTP/1.1', 'Content-Length: 1\r\nContent-Length: 2\r\n\r\n'),
      'INVALID_REQUEST',
      400,
    ],
    [
      'length and chunks',
      request('POST /jobs HTTP/1.1', 'Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n'),
      'INVALID_REQUEST',
      400,
    ],
    [
      'too many header bytes',
      request('GET /health HTTP/1.1', `X: ${'a'.repeat(40_000)}\r\n\r\n`),
      'PAYLOAD_TOO_LARGE',
      413,
    ],
  ])('%s is answered with the envelope', async (_, text, code, status) => {
    await using server = await testServer({ services: [fakeService('worker')] });
    const answer = rawEnvelope(await rawRequest(server.port, text, 1_000));
    expectError(answer, code);
    expect(answer.status).toBe(status);
    expect((await ask(`${server.url}/health`)).status).toBe(200);
  });

  test('a chunked body over the limit is refused while it comes', async () => {
    await using server = await testServer({ services: [fakeService('worker')] });
    const chunk = `10000\r\n${'x'.repeat(0x10000)}\r\n`;
    const head = request(
      'POST /jobs HTTP/1.1',
      'Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n',
    );
    const chunks = Math.ceil(LIMITS.bodyBytes / 0x10000) + 1;
    // The last chunk never comes: the answer cannot have waited for the end.
    const answer = rawEnvelope(await rawRequest(server.port, head + chunk.repeat(chunks)));
    expectError(answer, 'PAYLOAD_TOO_LARGE');
    expect(answer.status).toBe(413);
  });

  test('a declared length over the limit is refused before the body', async () => {
    await using server = await testServer({ services: [fakeService('worker')] });
    const head = request(
      'POST /jobs HTTP/1.1',
      'Content-Type: application/json\r\nContent-Length: 99999999\r\n\r\n',
    );
    const answer = rawEnvelope(await rawRequest(server.port, head, 1_000));
    expectError(answer, 'PAYLOAD_TOO_LARGE');
    expect(answer.status).toBe(413);
  });

  test('a body that trickles in is cut off', async () => {
    await using server = await testServer({
      services: [fakeService('worker')],
      requestTimeoutMs: 200,
    });
    const head = request(
      'POST /jobs HTTP/1.1',
      'Content-Type: application/json\r\nContent-Length: 50\r\n\r\n{"order_id":',
    );
    const startedMs = performance.now();
    const answer = rawEnvelope(await rawRequest(server.port, head, 3_000));
    expectError(answer, 'TIMEOUT');
    expect(performance.now() - startedMs).toBeLessThan(2_000);
    expect((await ask(`${server.url}/health`)).status).toBe(200);
  });

  test('a client that leaves in the middle of its body harms nothing', async () => {
    await using server = await testServer({ services: [fakeService('worker')] });
    const head = request(
      'POST /jobs HTTP/1.1',
      'Content-Type: application/json\r\nContent-Length: 50\r\n\r\n{"order_id":',
    );
    await rawRequest(server.port, head, 50);
    expect((await ask(`${server.url}/health`)).status).toBe(200);
  });
});

test('close lets answers under way finish, and does not wait for idle connections', async () => {
  const plan = () => sleep(150, { done: true });
  const server = await testServer({ services: [fakeService('co', { plan })], closeGraceMs: 5_000 });
  await ask(`${server.url}/health`);
  const running = ask(`${server.url}/runs/r/plan`, { method: 'POST' });
  await sleep(50);
  const startedMs = performance.now();
  await server.close();
  expect(performance.now() - startedMs).toBeLessThan(1_000);
  expect(await running).toMatchObject({ status: 200, body: { data: { done: true } } });
  await expect(ask(`${server.url}/health`)).rejects.toThrow('fetch failed');
});

test('an answer that is not JSON is a defect', async () => {
  const health = async () => ({ big: 1n });
  await using server = await testServer({ services: [fakeService('co', { health })] });
  const answer = await ask(`${server.url}/health`);
  expect(answer.status).toBe(500);
  expectError(answer, 'INTERNAL');
});

test('the port being taken is told plainly', async () => {
  await using server = await testServer({ services: [fakeService('co')] });
  const second = testServer({ services: [fakeService('co')], port: server.port });
  await expect(second).rejects.toMatchObject({ code: 'ALREADY_RUNNING' });
});
