import { gunzipSync, gzipSync } from 'node:zlib';
import { type AppError, endpoint, type Endpoint, type Outside } from '#libs/contracts';
import { startTestBroker } from '#libs/testing';
import { headers as natsHeaders } from 'nats';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { createClient } from './client.ts';
import { serveNats } from './nats.ts';
import { openApiDocument } from './openapi.ts';
import { type Ctx, defineService, type OutsideRequest } from './service.ts';
import { logger, testServer } from './testkit.ts';

const outside: Outside = {
  headers: ['x-signature', 'content-encoding', 'if-match'],
  error: z.object({ detail: z.string() }),
  errorBody: (error: AppError) => ({ detail: error.message, code: error.code }),
};
const common = { role: 'sentinel', summary: 's', outside, scope: 'public' } as const;
const API = {
  push: endpoint({
    ...common,
    name: 'push',
    method: 'PUT',
    path: '/api/v1/things/{id}/',
    input: z.object({ id: z.string(), dry: z.string().optional(), a: z.number() }),
    query: ['dry'],
    data: z.object({ bytes: z.int() }),
    maxBodyBytes: 1_000,
  }),
  look: endpoint({
    ...common,
    name: 'look',
    method: 'GET',
    path: '/api/things',
    input: z.object({ limit: z.coerce.number().optional() }),
    query: ['limit'],
    data: z.looseObject({}),
  }),
};

const service = defineService(API, {
  push: async ({ fields, body }: OutsideRequest, ctx: Ctx) => {
    if (ctx.headers('if-match') === '"old"') return { status: 412, body: { detail: 'changed' } };
    if (fields.id === 'bad') throw new Error('a defect');
    const bytes = ctx.headers('content-encoding') === 'gzip' ? gunzipSync(body) : Buffer.from(body);
    const signature = ctx.headers('x-signature') ?? null;
    const hidden = ctx.headers('authorization') ?? null;
    const seen = { fields, text: bytes.toString('utf8'), signature, hidden };
    return { status: 207, body: seen, headers: { etag: '"1"' } };
  },
  look: async ({ fields }: OutsideRequest) =>
    fields.limit === '0' ? { status: 304, body: undefined } : { status: 200, body: { fields } },
});

/** One request, by whichever way. */
type Send = (
  name: keyof typeof API,
  where: string,
  body: Uint8Array | string | undefined,
  headers: Record<string, string>,
) => Promise<{ status: number; body: unknown; etag: string | null }>;

let broker: Awaited<ReturnType<typeof startTestBroker>>;
let ways: Record<'http' | 'gateway', Send>;
const undo: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  broker = await startTestBroker();
  const nc = await broker.connect();
  const served = serveNats(nc, [service], { logger });
  await served.ready;
  const direct = await testServer({ services: [service] });
  undo.push(
    () => direct.close(),
    () => served.close(),
  );
  const http: Send = async (name, where, body, headers) => {
    const { method } = API[name];
    const init = { method, headers, ...(body !== undefined && { body: body as never }) };
    const answer = await fetch(direct.url + where, init);
    const text = await answer.text();
    const etag = answer.headers.get('etag');
    return { status: answer.status, body: text === '' ? undefined : JSON.parse(text), etag };
  };
  const client = createClient(await broker.connect(), { logger });
  const gateway: Send = async (name, where, body, headers) => {
    const url = new URL(where, 'http://x');
    const id = /things\/([^/]+)\//.exec(url.pathname)?.[1];
    const fields = { ...Object.fromEntries(url.searchParams), ...(id !== undefined && { id }) };
    const request = { fields, body: Buffer.from(body ?? '') };
    const ctx: Ctx = {
      requestId: 'r1',
      principal: null,
      signal: new AbortController().signal,
      headers: (one) => headers[one],
    };
    const answer = await client.pass(API[name] as Endpoint, request, ctx);
    return { status: answer.status, body: answer.body, etag: answer.headers?.etag ?? null };
  };
  ways = { http, gateway };
});
afterAll(async () => {
  for (const step of undo) await step();
  await broker?.[Symbol.asyncDispose]();
});

describe.each(['http', 'gateway'] as const)('an outside contract by %s', (way) => {
  test('gets bytes, parameters and the headers it names; answers as it likes', async () => {
    const body = gzipSync('zipped');
    const headers = { 'x-signature': 'abc', 'content-encoding': 'gzip', authorization: 'Bearer x' };
    const answer = await ways[way]('push', '/api/v1/things/%C3%A4/?dry=1', body, headers);
    const id = way === 'http' ? 'ä' : '%C3%A4';
    expect(answer).toEqual({
      status: 207,
      etag: '"1"',
      body: { fields: { id, dry: '1' }, text: 'zipped', signature: 'abc', hidden: null },
    });
  });

  test('chooses statuses of its own, with a body or without one', async () => {
    const conflict = await ways[way]('push', '/api/v1/things/a/', 'x', { 'if-match': '"old"' });
    expect(conflict).toMatchObject({ status: 412, body: { detail: 'changed' } });
    expect(await ways[way]('look', '/api/things?limit=0', undefined, {})).toMatchObject({
      status: 304,
      body: undefined,
    });
    const looked = await ways[way]('look', '/api/things?limit=7', undefined, {});
    expect(looked).toMatchObject({ status: 200, body: { fields: { limit: '7' } } });
  });

  test('tells every failure in its own words', async () => {
    const long = await ways[way]('push', '/api/v1/things/a/', 'x'.repeat(1_001), {});
    expect(long).toMatchObject({ status: 413, body: { code: 'PAYLOAD_TOO_LARGE' } });
    const broken = await ways[way]('push', '/api/v1/things/bad/', 'x', {});
    expect(broken).toMatchObject({ status: 500, body: { code: 'INTERNAL' } });
  });
});

test('a role that is away is told in the words of the contract', async () => {
  const lonely = { ...API.look, role: 'vault' } as Endpoint;
  const client = createClient(await broker.connect(), { logger });
  const ctx = { requestId: 'r', principal: null, signal: AbortSignal.timeout(9_000) };
  const request = { fields: {}, body: new Uint8Array() };
  const answer = await client.pass(lonely, request, { ...ctx, headers: () => undefined });
  expect(answer).toMatchObject({ status: 503, body: { code: 'DEPENDENCY_UNAVAILABLE' } });
});

test('any NATS client can call one: the message is the body', async () => {
  const { nc } = await broker.connect();
  const headers = natsHeaders();
  headers.append('X-Signature', 'a');
  headers.append('X-Signature', 'b');
  headers.set('Ironclaw-Input', encodeURIComponent('{"id":"a"}'));
  const answer = await nc.request('svc.v1.sentinel.push', 'body', {
    timeout: 9_000,
    headers,
  });
  expect(answer.headers?.get('Ironclaw-Status')).toBe('207');
  expect(answer.json()).toMatchObject({ fields: { id: 'a' }, text: 'body', signature: 'a, b' });
  const bad = await nc.request('svc.v1.sentinel.look', '[1]');
  expect(bad.json()).toMatchObject({ code: 'INVALID_REQUEST' });
});

test('stands at the root however many roles are served, and so in the documents', async () => {
  const other = endpoint({
    role: 'vault',
    name: 'other',
    method: 'GET',
    path: '/other',
    summary: 's',
    input: z.object({}),
    data: z.looseObject({}),
  });
  const vault = defineService({ other }, { other: async () => ({}) });
  await using server = await testServer({ services: [service, vault] });
  expect((await fetch(`${server.url}/api/things`)).status).toBe(200);
  expect((await fetch(`${server.url}/sentinel/api/things`)).status).toBe(200);
  expect((await fetch(`${server.url}/other`)).status).toBe(404);
  const { paths } = openApiDocument([API.push, other], { version: '0', mount: 'root' });
  expect(Object.keys(paths)).toEqual(['/api/v1/things/{id}/', '/vault/other']);
  const put = JSON.stringify(paths['/api/v1/things/{id}/']?.put);
  expect(put).toContain('{"name":"x-signature","in":"header"');
  expect(put).not.toContain('ErrorEnvelope');
});

test('sends no leave to pages of other origins, but for reads', async () => {
  const origin = 'https://console.example';
  await using server = await testServer({ services: [service], allowedOrigins: [origin] });
  const ask = async (path: string, method: string) => {
    const answer = await fetch(server.url + path, { method, headers: { origin } });
    return answer.headers.get('access-control-allow-origin');
  };
  expect(await ask('/api/things', 'GET')).toBe(origin);
  expect(await ask('/api/v1/things/a/', 'PUT')).toBeNull();
});
