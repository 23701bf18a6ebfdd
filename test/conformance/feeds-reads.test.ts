import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import {
  deadLetters,
  demand,
  freshKey,
  idsOf,
  latest,
  milestone,
  read,
  segment,
  send,
  startFeeds,
} from './feeds-kit.ts';
import type { System } from './harness.ts';
import { type Data, err, ok, WAYS } from './wire.ts';

// What readers get (checks 44, 48 to 55, 65 to 71 of the reference of signed feeds). What is read
// was delivered over HTTP and over NATS.

const at = (offsetMs: number): string => new Date(Date.now() + offsetMs).toISOString();
const composed = async (system: System): Promise<Data> =>
  (await read(system, '/api/command-center/demand')).body;
/** `count` milestones, a second apart, the last one the newest. */
const series = (count: number): Data[] => {
  const start = Date.now() - count * 1_000;
  return Array.from({ length: count }, (_, index) =>
    milestone({
      milestoneId: `m.${index}`,
      timestampUtc: new Date(start + index * 1_000).toISOString(),
    }),
  );
};

describe.each(WAYS)('over %s', (way) => {
  test(`C.44 C.71 ${way}: 200 at once are all kept, and readers see order all the time`, async () => {
    await using system = await startFeeds();
    const all = series(200);
    let done = false;
    const reader = async (): Promise<number> => {
      let reads = 0;
      while (!done) {
        const times = (await latest(system)).map(({ timestampUtc }) => timestampUtc as string);
        expect(times.length).toBeLessThanOrEqual(50);
        expect(times).toEqual(times.toSorted().toReversed());
        reads += 1;
      }
      return reads;
    };
    const readers = [reader(), reader()];
    const answers = await Promise.all(all.map((one) => send(system, way, 'milestones', one)));
    done = true;
    for (const reads of await Promise.all(readers)) expect(reads).toBeGreaterThan(0);
    expect(answers.filter(({ body }) => body.status === 'accepted')).toHaveLength(200);
    const newest = all.slice(150).toReversed();
    expect(await latest(system)).toEqual(newest.map(({ event }) => event as Data));
    expect((await system.broker.jsm.streams.info('FEEDS')).state.messages).toBe(200);
  });

  test(`C.48 C.49 C.50 C.51 ${way}: the newest by event time, as many as asked for`, async () => {
    await using system = await startFeeds();
    const all = series(60);
    for (const one of [...all.slice(30), ...all.slice(0, 30)]) {
      await send(system, way, 'milestones', one);
    }
    const ids = all.map(({ event }) => event.milestoneId as string).toReversed();
    expect(idsOf(await latest(system, ''))).toEqual(ids.slice(0, 20));
    expect(idsOf(await latest(system, '?limit=50'))).toEqual(ids.slice(0, 50));
    expect(idsOf(await latest(system, '?limit=100'))).toEqual(ids.slice(0, 50));
    expect(idsOf(await latest(system, '?limit=5'))).toEqual(ids.slice(0, 5));
    for (const limit of ['0', '-3', 'abc', '5abc', '1e1', '']) {
      const answer = await read(system, `/api/milestones/latest?limit=${limit}`);
      expect(answer).toEqual({
        status: 400,
        body: { ok: false, code: 'INVALID_REQUEST', reason: expect.stringContaining('limit') },
      });
    }
    const again = await send(system, way, 'milestones', all[0]);
    expect(again.body).toMatchObject({ status: 'duplicate', milestoneId: 'm.0' });
  });

  test(`C.52 C.53 C.55 ${way}: the dead letters are bounded and none is lost`, async () => {
    await using system = await startFeeds();
    const bad = Array.from({ length: 105 }, () => milestone());
    const wrong = { signature: '0'.repeat(64) };
    await Promise.all(bad.slice(0, 40).map((one) => send(system, way, 'milestones', one, wrong)));
    const keys = new Set((await deadLetters(system)).map((letter) => letter.idempotencyKey));
    expect(keys).toEqual(new Set(bad.slice(0, 40).map((one) => one.idempotencyKey)));
    for (const one of bad.slice(40)) await send(system, way, 'milestones', one, wrong);
    const { body } = await read(system, '/api/milestones/dead-letter');
    expect(body).toMatchObject({ ok: true, count: 100 });
    const items = body.items as Data[];
    expect(items).toHaveLength(100);
    const newest = bad.slice(40).toReversed();
    const shown = items.slice(0, 65).map((letter) => letter.idempotencyKey as string);
    expect(shown).toEqual(newest.map((one) => one.idempotencyKey as string));
    expect(items[0]).toEqual({
      timestampUtc: expect.stringMatching(/^\d{4}-.*Z$/),
      reason: 'invalid signature',
      idempotencyKey: newest[0]?.idempotencyKey,
    });
    expect(await latest(system)).toEqual([]);
    const long = milestone({}, { idempotencyKey: 'k'.repeat(200_000) });
    await send(system, way, 'milestones', long, wrong);
    const [letter] = await deadLetters(system);
    expect(String(letter?.idempotencyKey).length).toBeLessThanOrEqual(256);
  });

  test(`C.66 C.67 ${way}: a snapshot goes stale; the top segment is by count, weight, label`, async () => {
    await using system = await startFeeds();
    const tied = ['debug-blindness', 'hardening-runtime', 'autonomy-collapse', 'unknown'].map(
      (id) => segment(id, 4, 'warm'),
    );
    // The very edge of 600 s is a test of the rule, with a clock of its own.
    const old = demand({ generatedAtUtc: at(-601_000), segments: tied });
    await send(system, way, 'demand', old);
    expect((await composed(system)).summary).toMatchObject({
      source: 'stale',
      stale: true,
      queueTotal: 12,
      topSegmentLabel: 'Autonomy Collapse',
    });
    await send(system, way, 'demand', demand({ generatedAtUtc: at(-300_000), segments: tied }));
    expect((await composed(system)).summary).toMatchObject({ source: 'live', stale: false });
  });
});

test('C.54 with tokens: reads need one, deliveries do not, letters are whole for admins', async () => {
  const hash = (token: string): string => createHash('sha256').update(token).digest('hex');
  const IRONCLAW_TOKENS = `r:read:${hash('reader')};a:admin:${hash('admin')}`;
  await using system = await startFeeds({ IRONCLAW_TOKENS });
  const one = milestone();
  expect((await send(system, 'http', 'milestones', one)).status).toBe(200);
  await send(system, 'http', 'milestones', one, { signature: '0'.repeat(64) });
  const path = '/api/milestones/dead-letter';
  expect(await read(system, path)).toMatchObject({ status: 401, body: { ok: false } });
  const reader = { headers: { authorization: 'Bearer reader' } };
  const listed = await system.raw('intake', 'GET', path, reader);
  expect(JSON.parse(listed.text)).toMatchObject({ ok: true, count: 1 });
  err(await system.raw('ledger', 'GET', '/dead-letters/1', reader), 'FORBIDDEN', 403);
  const admin = { headers: { authorization: 'Bearer admin' } };
  const whole = ok(await system.raw('ledger', 'GET', '/dead-letters/1', admin));
  expect(whole).toMatchObject({ channel: 'milestones', payload: JSON.stringify(one) });
});

test('a rejected delivery is sent again once its secret is known, or taken off the list', async () => {
  const env = { MILESTONE_SIGNING_SECRETS_ACCEPTED: 'late' };
  await using system = await startFeeds(env);
  const one = milestone({ milestoneId: 'late.1' });
  const stale = { secret: 'late', timestamp: at(-3_600_000) };
  expect((await send(system, 'http', 'milestones', one, stale)).status).toBe(401);
  const wrong = { signature: '0'.repeat(64) };
  await send(system, 'http', 'milestones', milestone(), wrong);
  ok(await system.call('http', 'ledger.redrive', { seq: 1 }));
  expect(idsOf(await latest(system))).toEqual(['late.1']);
  err(await system.call('http', 'ledger.redrive', { seq: 2 }), 'ILLEGAL_TRANSITION', 409);
  expect(await deadLetters(system)).toHaveLength(1);
  ok(await system.raw('ledger', 'DELETE', '/dead-letters/2'));
  expect(await deadLetters(system)).toEqual([]);
});

test('C.65 an empty store', async () => {
  await using system = await startFeeds();
  expect((await read(system, '/api/milestones/latest')).body).toEqual({ ok: true, items: [] });
  expect((await read(system, '/api/milestones/dead-letter')).body).toEqual({
    ok: true,
    items: [],
    count: 0,
  });
  expect((await read(system, '/api/command-center/demand-live')).body).toEqual({
    ok: true,
    snapshot: null,
    stale: true,
  });
  const { ok: isOk, segments, summary } = await composed(system);
  expect(isOk).toBe(true);
  expect(segments).toHaveLength(7);
  for (const one of segments as Data[]) {
    expect(one).toMatchObject({ state: 'idle', liveSignalCount: 0 });
  }
  expect(summary).toMatchObject({
    source: 'fallback',
    stale: true,
    totalSegments: 7,
    hotSegments: 0,
    topSegmentLabel: null,
    topPillarLabel: null,
    snapshotGeneratedAt: null,
    queueTotal: 0,
    draftTotal: 0,
    selectedForDraftTotal: 0,
  });
});

test('C.69 C.70 other methods change nothing; pages of other origins read, but do not write', async () => {
  const origin = 'https://console.example';
  await using system = await startFeeds({ IRONCLAW_ALLOWED_ORIGINS: origin });
  const root = system.url('intake');
  for (const method of ['GET', 'PUT', 'DELETE']) {
    const answer = await fetch(`${root}/internal/milestones/ingest`, { method });
    expect(answer.status).toBe(405);
    expect(answer.headers.get('allow')).toContain('POST');
  }
  const posted = await fetch(`${root}/api/milestones/latest`, { method: 'POST', body: '{}' });
  expect(posted.status).toBe(405);
  expect(await latest(system)).toEqual([]);
  expect(await deadLetters(system)).toEqual([]);
  const headers = { origin };
  const leave = 'access-control-allow-origin';
  const seen = await fetch(`${root}/api/milestones/latest`, { headers });
  expect(seen.headers.get(leave)).toBe(origin);
  const preflight = await fetch(`${root}/api/milestones/latest`, { method: 'OPTIONS', headers });
  expect(preflight.status).toBe(204);
  expect(preflight.headers.get(leave)).toBe(origin);
  const ingest = { method: 'POST', headers, body: '{}' };
  const written = await fetch(`${root}/internal/milestones/ingest`, ingest);
  expect(written.status).toBe(401);
  expect(written.headers.get(leave)).toBeNull();
});

test('the feed is filtered and paged, with receipts', async () => {
  await using system = await startFeeds();
  const doc = [{ type: 'doc', path: 'guide.md', summary: 'The Guide' }];
  const all = [
    milestone({
      milestoneId: 'a',
      scope: 'Infra',
      riskStatus: 'blocked',
      timestampUtc: at(-3_000),
    }),
    milestone({ milestoneId: 'b', source: 'agent', evidence: doc, timestampUtc: at(-2_000) }),
    milestone({ milestoneId: 'c', claim: 'Über 50%_done', timestampUtc: at(-1_000) }),
  ];
  for (const one of all) await send(system, 'http', 'milestones', one);
  const found = async (query: Data): Promise<string[]> => {
    const answer = ok(await system.call('http', 'intake.milestones', query));
    return (answer.milestones as Data[]).map(({ item }) => item.milestoneId as string);
  };
  expect(await found({})).toEqual(['c', 'b', 'a']);
  expect(await found({ scope: 'infra' })).toEqual(['a']);
  expect(await found({ risk: 'blocked' })).toEqual(['a']);
  expect(await found({ source: 'agent' })).toEqual(['b']);
  expect(await found({ evidence: 'doc' })).toEqual(['b']);
  expect(await found({ text: 'the guide' })).toEqual(['b']);
  expect(await found({ text: 'über 50%_' })).toEqual(['c']);
  const middle = all[1]?.event.timestampUtc as string;
  expect(await found({ since: middle })).toEqual(['c', 'b']);
  expect(await found({ until: middle })).toEqual(['b', 'a']);
  const first = ok(await system.call('nats', 'intake.milestones', { limit: 2 }));
  expect(first.next_cursor).toMatch(/\S/);
  expect(await found({ limit: 2, cursor: first.next_cursor })).toEqual(['a']);
  err(await system.call('http', 'intake.milestones', { cursor: "1.1'" }), 'INVALID_REQUEST', 400);
  expect(first.milestones[0].receipt).toMatchObject({
    key_digest: createHash('sha256').update(String(all[2]?.idempotencyKey)).digest('hex'),
    seq: 3,
    mode: 'body',
    key_id: expect.stringMatching(/^[0-9a-f]{12}$/),
    received_at: expect.stringMatching(/Z$/),
    skew_ms: expect.any(Number),
  });
});

test('feed items are seen live, and a reader resumes where it stopped', async () => {
  await using system = await startFeeds();
  const ids = ['one', 'two', 'three'];
  for (const milestoneId of ids) {
    await send(system, 'http', 'milestones', milestone({ milestoneId }));
  }
  await send(system, 'http', 'demand', demand());
  const seen = async (query: string, count: number, headers: Record<string, string> = {}) => {
    const stop = new AbortController();
    const url = `${system.url('intake')}/api/feeds/stream${query}`;
    const answer = await fetch(url, { headers, signal: stop.signal });
    let text = '';
    const body = answer.body as ReadableStream<Uint8Array>;
    for await (const chunk of body.pipeThrough(new TextDecoderStream())) {
      text += chunk;
      if (text.split('\ndata: ').length > count) break;
    }
    stop.abort();
    return [...text.matchAll(/^id: (\d+)\nevent: (\w+)\n/gm)].map(([, id, event]) => [id, event]);
  };
  const all = [...ids.map((_, index) => [String(index + 1), 'milestones']), ['4', 'demand']];
  expect(await seen('?from_seq=1', 4)).toEqual(all);
  expect(await seen('', 2, { 'last-event-id': '2' })).toEqual(all.slice(2));
  expect(await seen('?from_seq=1&channel=demand', 1)).toEqual(all.slice(3));
});

test('the overview tells the feed at a glance', async () => {
  await using system = await startFeeds();
  for (const [scope, riskStatus] of [
    ['Infra', 'blocked'],
    ['infra', 'at-risk'],
    ['Release', 'completed'],
  ]) {
    const timestampUtc = at(-1_000);
    await send(system, 'http', 'milestones', milestone({ scope, riskStatus, timestampUtc }));
  }
  await send(system, 'http', 'milestones', milestone(), { signature: '0'.repeat(64) });
  const { status, body } = await read(system, '/api/command-center/overview');
  expect(status).toBe(200);
  expect(body).toMatchObject({
    ok: true,
    latest: { scope: 'Release' },
    stale: false,
    visibleFeedCount: 3,
    evidenceCount: 6,
    activeLaneCount: 2,
    activeLanes: ['release', 'infra'],
    riskCounts: { onTrack: 0, atRisk: 1, blocked: 1, completed: 1 },
    deadLetterCount: 1,
  });
  const live = await fetch(new URL(String(body.realtimeChannel), system.url('intake')));
  expect(live.headers.get('content-type')).toMatch(/^text\/event-stream/);
  await live.body?.cancel();
  const states = (body.proofNodes as Data[]).map(({ id, state }) => `${id} ${state}`);
  expect(states).toEqual([
    'emit live',
    'verify warning',
    'store live',
    'canon live',
    'broadcast live',
    'surface live',
  ]);
});

test('the gateway serves the contract too, wherever its role runs', async () => {
  await using system = await startFeeds(
    {},
    { roles: ['ledger', 'gateway'], separateProcesses: ['intake'] },
  );
  const one = milestone({ milestoneId: freshKey() });
  const gateway = { ...system, url: () => system.url('gateway') } as System;
  for (const word of ['accepted', 'duplicate']) {
    const answer = await send(gateway, 'http', 'milestones', one);
    expect(answer).toMatchObject({ status: 200, body: { ok: true, status: word } });
  }
  expect(idsOf(await latest(gateway, '?limit=1'))).toEqual([one.event.milestoneId]);
  expect((await read(gateway, '/api/milestones/latest?limit=x')).status).toBe(400);
  await system.process('intake').kill();
  const away = await send(gateway, 'http', 'milestones', milestone());
  expect(away).toMatchObject({ status: 503, body: { ok: false, status: 'rejected' } });
});
