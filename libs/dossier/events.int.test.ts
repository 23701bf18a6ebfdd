import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { gunzipSync } from 'node:zlib';
import { loadGate } from '#libs/missionlog';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type EventQueue, openEventQueue } from './event-queue.ts';
import { drainEventQueue } from './push-events.ts';

const SHIPPED = new URL('../missionlog/upstream-3.0.0-shape.json', import.meta.url);
const gate = loadGate();
const shipped = (one: unknown): void => gate.envelope('replay', one);

type Event = Record<string, unknown> & { event_id: string; event_type: string };
type Answer = (events: Event[]) => { status: number; body: unknown };

function event(n: number, more: Record<string, unknown> = {}): Event {
  return {
    event_id: `event-${n}`,
    event_type: 'MissionCreated',
    aggregate_id: '064-my-mission',
    aggregate_type: 'Mission',
    schema_version: '3.0.0',
    build_id: '7d0f3a52-51f0-4a53-8f3b-0c6f9d2f7e11',
    node_id: 'node',
    lamport_clock: n,
    timestamp: '2026-04-06T05:39:39Z',
    payload: { mission_slug: '064-my-mission', mission_number: '064', mission_type: 'research' },
    ...more,
  };
}

let folder: string;
let file: string;
let queue: EventQueue;
let answer: Answer;
let batches: Event[][];
let url: string;
let auth: (string | undefined)[];
const undo: (() => unknown)[] = [];
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'ironclaw-events-'));
  file = join(folder, 'queue.db');
  queue = openEventQueue(file, { nowMs: () => 1_000 });
  [batches, auth] = [[], []];
  answer = taken('success');
  const server = createServer((request, response) => {
    void (async () => {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk as Buffer);
      const { events } = JSON.parse(gunzipSync(Buffer.concat(chunks)).toString()) as {
        events: Event[];
      };
      auth.push(request.headers.authorization);
      batches.push(events);
      const { status, body } = answer(events);
      response.writeHead(status).end(JSON.stringify(body));
    })();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  undo.push(
    () => queue.close(),
    () => server.closeAllConnections(),
    () => server.close(),
    () => rmSync(folder, { recursive: true, force: true }),
  );
});
afterEach(() => {
  for (const step of undo.splice(0)) step();
});

function taken(status: string): Answer {
  return (events) => ({
    status: 200,
    body: { results: events.map(({ event_id }) => ({ event_id, status, error_message: 'no' })) },
  });
}
const drain = (): Promise<string | null> =>
  drainEventQueue({ queue, gate: shipped, server: url, token: 't' });

test('events go in batches of 1000, gzip, oldest first; success and duplicate leave', async () => {
  for (let n = 0; n < 1_003; n += 1) queue.enqueue(event(n));
  expect(queue.enqueue(event(5))).toBe(false);
  expect(await drain()).toBeNull();
  expect(batches.map((events) => events.length)).toEqual([1_000, 3]);
  expect(auth).toEqual(['Bearer t', 'Bearer t']);
  expect(batches.flat()).toEqual(Array.from({ length: 1_003 }, (_, n) => event(n)));
  queue.enqueue(event(2_000));
  answer = taken('duplicate');
  expect(await drain()).toBeNull();
  expect(queue.status()).toMatchObject({ queued: 0, set_aside: 0 });
});

test('D.45 the build of an event is the same before and after the queue', async () => {
  const build_id = '11111111-2222-4333-8444-555555555555';
  queue.enqueue(event(1, { build_id }));
  queue.close();
  queue = openEventQueue(file, { nowMs: () => 2_000 });
  await drain();
  expect(batches[0]?.[0]).toMatchObject({ build_id });
});

test.each<[string, Record<string, unknown>]>([
  ['feature_slug', { feature_slug: '064' }],
  ['aggregate_type', { aggregate_type: 'Feature' }],
  ['schema_version', { schema_version: '2.9.0' }],
  ['build_id', { build_id: undefined }],
  ['build_id', { build_id: null }],
  ['build_id', { build_id: '' }],
  ['from_lane', { from_lane: 'planned' }],
  ['feature_number', { payload: { ...(event(0).payload as object), feature_number: '064' } }],
  ['mission_type', { payload: { mission_slug: 'm', mission_number: '1' } }],
  ['payload', { payload: 'text' }],
])(
  'D.43 a legacy event (%s) put straight into the queue is set aside, not sent',
  async (field, more) => {
    const db = new DatabaseSync(file);
    const insert = db.prepare(
      'INSERT INTO queue (event_id, event_type, data, timestamp) VALUES (?, ?, ?, 0)',
    );
    insert.run('legacy', 'FeatureCreated', JSON.stringify(event(1, more)));
    db.close();
    queue.enqueue(event(2));
    expect(await drain()).toBeNull();
    expect(batches).toEqual([[event(2)]]);
    expect(queue.status()).toMatchObject({ queued: 0, set_aside: 1 });
    expect(queue.status().last_error).toMatch(new RegExp(`^not sent: .*: (payload[.])?${field} `));
  },
);

test('D.43 what is no JSON is set aside too', async () => {
  const db = new DatabaseSync(file);
  db.exec("INSERT INTO queue (event_id, event_type, data, timestamp) VALUES ('x', 'X', '{', 0)");
  db.close();
  expect(await drain()).toBeNull();
  expect([batches, queue.status().set_aside]).toEqual([[], 1]);
});

test('D.44 with another shape the same queue sends nothing that lacks what it asks for', async () => {
  const shape = join(folder, 'shape.json');
  const whole = JSON.parse(readFileSync(SHIPPED, 'utf8')) as {
    envelope: { required_fields: string[] };
  };
  whole.envelope.required_fields.push('x');
  writeFileSync(shape, JSON.stringify(whole));
  const gate = loadGate({ IRONCLAW_CONTRACT_SHAPE: shape });
  queue.enqueue(event(1));
  queue.enqueue(event(2, { x: 1 }));
  const given = { queue, server: url, token: undefined };
  await drainEventQueue({ ...given, gate: (one) => gate.envelope('replay', one) });
  expect(batches).toEqual([[event(2, { x: 1 })]]);
  expect(queue.status().last_error).toContain('replay: x is required');
});

test('a server that is away or refuses the token stops everything, and loses nothing', async () => {
  queue.enqueue(event(1));
  for (const status of [401, 403, 500, 503]) {
    answer = () => ({ status, body: { error: 'no' } });
    expect(await drain()).toContain(String(status));
  }
  answer = () => ({ status: 200, body: 'what?' });
  expect(await drain()).toContain('200');
  url = 'http://127.0.0.1:1';
  expect(await drain()).toBeTypeOf('string');
  expect(queue.status()).toMatchObject({ queued: 1, set_aside: 0 });
});

test('a batch that is too large goes in halves; the event that is too large alone is set aside', async () => {
  for (let n = 0; n < 10; n += 1) queue.enqueue(event(n));
  answer = (events) =>
    events.length > 2 || events.some(({ event_id }) => event_id === 'event-7')
      ? { status: 413, body: {} }
      : taken('success')(events);
  expect(await drain()).toBeNull();
  expect(queue.status()).toMatchObject({ queued: 0, set_aside: 1 });
  expect(queue.status().last_error).toContain('413');
});

test('a rejected event is tried five times and then set aside; the others go', async () => {
  for (let n = 0; n < 4; n += 1) queue.enqueue(event(n));
  answer = (events) => {
    const results = events.map(({ event_id }) => ({
      event_id,
      status: event_id === 'event-2' ? 'rejected' : 'success',
      error_message: event_id === 'event-2' ? 'unknown mission' : null,
    }));
    return { status: 200, body: { results } };
  };
  for (let drains = 0; drains < 5; drains += 1) expect(await drain()).toBeNull();
  expect(queue.status()).toMatchObject({ queued: 0, set_aside: 1, last_error: 'unknown mission' });
  expect(batches.flat().filter(({ event_id }) => event_id === 'event-2')).toHaveLength(5);
});

test('an event of which 400 is said alone is tried five times; those beside it go', async () => {
  for (let n = 0; n < 5; n += 1) queue.enqueue(event(n));
  answer = (events) =>
    events.some(({ event_id }) => event_id === 'event-3')
      ? { status: 400, body: { error: 'bad', details: [] } }
      : taken('success')(events);
  expect(await drain()).toBeNull();
  expect(queue.status()).toMatchObject({ queued: 0, set_aside: 1 });
});

test('a full queue drops its oldest event', () => {
  queue.close();
  queue = openEventQueue(file, { capacity: 3, nowMs: () => 1_000 });
  for (let n = 0; n < 5; n += 1) expect(queue.enqueue(event(n))).toBe(true);
  expect(queue.take(10).map(({ eventId }) => eventId)).toEqual(['event-2', 'event-3', 'event-4']);
});
