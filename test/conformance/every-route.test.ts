import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ENDPOINTS, type Role, ROLES } from '#libs/contracts';
import { freshIds, startSystem, type System } from './harness.ts';
import { callNats, err, ok, refused, ROUTES } from './wire.ts';

// The ledger and the vault have processes of their own: there their routes stand at the root, and
// the gateway passes on what it gets for them.

const APART: readonly Role[] = ['ledger', 'vault'];
let system: System;
beforeAll(async () => {
  system = await startSystem({
    roles: ROLES.filter((role) => !APART.includes(role)),
    separateProcesses: APART,
  });
});
afterAll(() => system?.[Symbol.asyncDispose]());

const JSON_TYPE = { 'content-type': 'application/json' };
const METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'PROPFIND'];

type Route = { name: string; role: Role; method: string; path: string };
// Contracts of others answer in words of their own, which their own tests check.
const outside = new Set(
  ENDPOINTS.flatMap((one) => (one.outside === undefined ? [] : [`${one.role}.${one.name}`])),
);
const ours = Object.entries(ROUTES).filter(([name]) => !outside.has(name));
const routes = ours.map(([name, route]): Route => {
  const [method = '', template = ''] = route.split(' ');
  const path = template.replace(/\{\w+\}/g, 'unknown_1');
  return { name, role: name.split('.')[0] as Role, method, path };
});
/** Where each route is served: at its own process, if it has one, and at the gateway. */
const places = routes.flatMap(({ role, path, ...route }) => {
  const atGateway = { ...route, from: 'gateway' as Role, path: `/${role}${path}` };
  if (role === 'gateway') return [{ ...route, from: role, path }, atGateway];
  return APART.includes(role) ? [{ ...route, from: role, path }, atGateway] : [atGateway];
});
const title = '$from: $method $path';
/** Methods that some endpoint has at the same place. */
const allowedAt = (from: Role, path: string): string[] =>
  places.filter((one) => one.from === from && one.path === path).map(({ method }) => method);

test('8.53 these are all the routes that the contract has', () => {
  const declared = ENDPOINTS.map(({ role, name, method, path }) => [
    `${role}.${name}`,
    `${method} ${path}`,
  ]);
  expect(Object.fromEntries(declared)).toEqual(ROUTES);
});

describe('8.53 every route over http', () => {
  test.each(places)(`8.53 ${title}: other methods are 405`, async ({ from, path }) => {
    const allowed = allowedAt(from, path);
    for (const method of METHODS.filter((one) => !allowed.includes(one))) {
      err(await system.raw(from, method, path), 'METHOD_NOT_ALLOWED', 405);
    }
  });

  test.each(places.filter(({ method }) => method === 'POST'))(
    `8.53 ${title}: what is no JSON object is refused`,
    async ({ from, method, path }) => {
      const send = (body: string | Uint8Array, headers = JSON_TYPE) =>
        system.raw(from, method, path, { body, headers });
      err(await send('{"a":'), 'INVALID_JSON', 400);
      err(await send('<xml/>'), 'INVALID_JSON', 400);
      err(await send(new Uint8Array([0xff, 0xfe, 0x7b])), 'INVALID_JSON', 400);
      for (const body of ['null', '17', '"x"', 'true', '[17]']) {
        refused(await send(body), 'INVALID_REQUEST');
      }
      refused(await send('{"__proto__":{"admin":true}}'), 'INVALID_REQUEST');
      refused(await send(`{"a":${'['.repeat(5_000)}${']'.repeat(5_000)}}`), 'INVALID_REQUEST');
      err(await send('{}', { 'content-type': 'text/plain' }), 'UNSUPPORTED_MEDIA_TYPE', 415);
      err(await send(' '.repeat(9_000_000)), 'PAYLOAD_TOO_LARGE', 413);
    },
  );

  test.each(places.filter(({ method }) => method !== 'POST'))(
    `8.53 ${title}: a query that is not known is refused`,
    async ({ from, method, path }) => {
      const send = (query: string) => system.raw(from, method, `${path}?${query}`);
      for (const query of ['nope=1', '__proto__=1', 'constructor=1', 'limit=1&limit=2&x=']) {
        refused(await send(query), 'INVALID_REQUEST');
      }
    },
  );

  test.each([
    ['beyond all', '1e400'],
    ['beyond 2^53', '9007199254740993'],
    ['half a pair', '"\\ud800"'],
    ['__proto__', '{"__proto__":1}'],
    ['33 levels', `${'['.repeat(33)}${']'.repeat(33)}`],
  ])('8.53 the gateway passes nothing on as something else: %s', async (_name, value) => {
    const before = await system.tail();
    const body = `{"type":"PATROL_TICK","payload":{"x":${value}}}`;
    const send = (path: string, text: string) =>
      system.raw('gateway', 'POST', path, { body: text, headers: JSON_TYPE });
    refused(await send('/ledger/events', body), 'INVALID_REQUEST');
    refused(await send('/ledger/events/batch', `[${body}]`), 'INVALID_REQUEST');
    expect(await system.tail()).toBe(before);
  });

  const paths = [
    '/nope /nope/ /runs/a/b/c /events/../nope /.git/config /etc/passwd // /// /__proto__',
    '/constructor /% /%ff /%00 /%2e%2e/%2e%2e/etc/passwd /..%2f..%2fetc/passwd /\\ /*',
    `/${'x'.repeat(5_000)}`,
  ].flatMap((line) => line.split(' '));
  test.each((['gateway', ...APART] as Role[]).flatMap((from) => paths.map((path) => [from, path])))(
    '8.53 %s: nothing is at %s',
    async (from, path) => {
      for (const method of ['GET', 'POST']) {
        const body = method === 'POST' ? { body: '{}', headers: JSON_TYPE } : {};
        refused(await system.raw(from as Role, method, path as string, body));
      }
    },
  );

  test.each(ROLES)('8.53 %s: ids in the path that are none are refused', async (role) => {
    const withId = routes.filter(
      (route) => route.role === role && route.path.includes('unknown_1'),
    );
    for (const { method, path } of withId) {
      for (const id of ['%', '%ff', '%00', '-x', 'a%2fb', 'a%20b', '%E2%80%AE', 'x'.repeat(300)]) {
        const body = method === 'POST' ? { body: '{}', headers: JSON_TYPE } : {};
        refused(await system.raw(role, method, path.replace('unknown_1', id), body));
      }
    }
  });
});

describe('8.53 every subject over nats', () => {
  const names = ours.map(([name]) => name);
  const subjects = names.filter((name) => !/[.-]stream$/.test(name));

  test.each(subjects)('8.53 svc.v1.%s: what is no JSON object is refused', async (name) => {
    const send = (body: string | Uint8Array) => callNats(system.broker.nc, name, body);
    err(await send('{"a":'), 'INVALID_JSON', 400);
    err(await send(new Uint8Array([0xff, 0xfe, 0x7b])), 'INVALID_JSON', 400);
    for (const body of ['null', '17', '"x"', '[17]']) {
      refused(await send(body), 'INVALID_REQUEST');
    }
    if (name.endsWith('.health')) return;
    refused(await send('{"nope":1}'), 'INVALID_REQUEST');
    refused(await send('{"__proto__":{"admin":true}}'), 'INVALID_REQUEST');
    refused(await send(`{"a":${'['.repeat(5_000)}${']'.repeat(5_000)}}`), 'INVALID_REQUEST');
  });

  test('8.53 there is nobody at other subjects', async () => {
    for (const name of ['ledger.nope', 'nope.append', 'gateway.stream']) {
      await expect(callNats(system.broker.nc, name, '{}')).rejects.toThrow(/no responders/i);
    }
  });

  test('8.53 a request without a reply subject harms nobody', async () => {
    for (const name of subjects) system.broker.nc.publish(`svc.v1.${name}`, '{"a":');
    await system.broker.nc.flush();
    ok(await callNats(system.broker.nc, 'ledger.health', '{}'), 200);
  });
});

describe('8.53 what is no HTTP at all', () => {
  /** Sends bytes and gives all that comes back until the other side closes. */
  const exchange = (port: number, text: string): Promise<string> =>
    new Promise((resolve, reject) => {
      const socket = connect(port, '127.0.0.1');
      let answer = '';
      socket.setEncoding('utf8').setTimeout(5_000, () => socket.destroy());
      socket.on('data', (chunk: string) => {
        answer += chunk;
      });
      socket.on('close', () => resolve(answer));
      socket.on('error', reject);
      socket.write(text);
    });

  const big = 'x'.repeat(20_000);
  test.each([
    ['words', 'hello there\r\n\r\n'],
    ['another version', 'GET /health HTTP/9.9\r\nHost: localhost\r\n\r\n'],
    ['no host', 'GET /health HTTP/1.1\r\nConnection: close\r\n\r\n'],
    ['a header without a name', 'GET /health HTTP/1.1\r\nHost: localhost\r\n: x\r\n\r\n'],
    ['headers without end', `GET /health HTTP/1.1\r\nHost: localhost\r\nX: ${big}\r\n\r\n`],
    [
      'two lengths',
      'POST /chat HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n' +
        'Content-Length: 2\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n{}',
    ],
    [
      'a chunk that is none',
      'POST /chat HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n' +
        'Transfer-Encoding: chunked\r\nConnection: close\r\n\r\nzz\r\n{}\r\n',
    ],
    [
      'a length that is none',
      'POST /chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\nConnection: close\r\n\r\n{}',
    ],
  ])('8.53 %s: an error in the envelope, then the end', async (_name, text) => {
    const answer = await exchange(Number(new URL(system.url('gateway')).port), text);
    expect(answer).toMatch(/^HTTP\/1\.1 4\d\d /);
    const body = JSON.parse(answer.slice(answer.indexOf('\r\n\r\n') + 4)) as Record<
      string,
      unknown
    >;
    expect(body).toMatchObject({ ok: false, data: null });
    expect(body.error).toMatchObject({
      code: expect.stringMatching(/^[A-Z_]+$/),
      message: expect.stringMatching(/\S/),
    });
  });
});

test('8.53 after all that every role is well', async () => {
  for (const role of ROLES) {
    ok(await system.call('http', `${role}.health`), 200);
    ok(await system.call('nats', `${role}.health`), 200);
  }
  err(await system.call('http', 'ledger.run', { run_id: freshIds().run }), 'RUN_NOT_FOUND', 404);
});
