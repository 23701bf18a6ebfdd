import { randomUUID } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import { headers as natsHeaders } from 'nats';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { runCli } from './cli.ts';
import { startSystem, type System } from './harness.ts';
import { type Data, err, followSse, ok, sendHttp, type Way, WAYS } from './wire.ts';

// Events of missions from elsewhere, and what is read of them, over HTTP and NATS.

let system: System;
beforeAll(async () => {
  system = await startSystem({ roles: ['missions', 'gateway'] });
});
afterAll(() => system?.[Symbol.asyncDispose]());

const PATH = '/api/v1/events/batch/';
const MISSION = { mission_slug: '064-my-mission', mission_number: '064', mission_type: 'research' };
let clock = 0;

function event(type: string, payload: Data, more: Data = {}): Data {
  clock += 1;
  const wp = payload.wp_id as string | undefined;
  return {
    event_id: randomUUID(),
    event_type: type,
    aggregate_id: wp ?? MISSION.mission_slug,
    aggregate_type: wp === undefined ? 'Mission' : 'WorkPackage',
    schema_version: '3.0.0',
    build_id: '7d0f3a52-51f0-4a53-8f3b-0c6f9d2f7e11',
    node_id: '0123456789ab',
    lamport_clock: clock,
    timestamp: new Date(1_780_000_000_000 + clock).toISOString(),
    causation_id: null,
    project_uuid: '11111111-2222-4333-8444-555555555555',
    payload: { ...MISSION, ...payload },
    ...more,
  };
}
const moved = (wp_id: string, from_lane: string, to_lane: string, more: Data = {}): Data =>
  event('WPStatusChanged', { wp_id, from_lane, to_lane, actor: 'alice' }, more);
const tail = async (): Promise<number> =>
  (await system.broker.jsm.streams.info('MISSIONS')).state.last_seq;

type Sent = { status: number; body: Data };

async function sendBytes(
  way: Way,
  data: string | Uint8Array,
  headers: Record<string, string> = {},
): Promise<Sent> {
  if (way === 'http') {
    const given = { 'content-type': 'application/json', ...headers };
    const { status, text } = await sendHttp(system.url('gateway'), 'POST', PATH, {
      body: data,
      headers: given,
    });
    return { status, body: JSON.parse(text) as Data };
  }
  const hdrs = natsHeaders();
  for (const [name, value] of Object.entries(headers)) hdrs.set(name, value);
  const subject = 'svc.v1.missions.record-events';
  const message = await system.broker.nc.request(subject, data, { timeout: 20_000, headers: hdrs });
  return { status: Number(message.headers?.get('Ironclaw-Status')), body: message.json() };
}
const send = (way: Way, events: readonly unknown[]): Promise<Sent> =>
  sendBytes(way, JSON.stringify({ events }));
const statuses = ({ body }: Sent): string[] => body.results.map(({ status }: Data) => status);

describe.each(WAYS)('batches of events over %s', (way: Way) => {
  test('D.47 events are stored once; the same again is a duplicate and changes nothing', async () => {
    const project_uuid = randomUUID();
    const events = [
      event('MissionCreated', { target_branch: 'main', wp_count: 1 }, { project_uuid }),
      event('WPCreated', { wp_id: 'WP01', title: 'One', dependencies: [] }, { project_uuid }),
      moved('WP01', 'planned', 'claimed', { project_uuid }),
    ];
    const first = await send(way, events);
    expect(first.status).toBe(200);
    expect(first.body.results).toEqual(
      events.map(({ event_id }) => ({
        event_id,
        status: 'success',
        error_message: null,
        field: null,
      })),
    );
    const before = await tail();
    expect(statuses(await send(way, events))).toEqual(['duplicate', 'duplicate', 'duplicate']);
    const [one] = events;
    expect(statuses(await send(way, [one, one]))).toEqual(['duplicate', 'duplicate']);
    expect(await tail()).toBe(before);
  });

  test('D.47 the same id with other content is rejected as a conflict', async () => {
    const one = moved('WP01', 'planned', 'claimed', { project_uuid: randomUUID() });
    const other = { ...one, payload: { ...one.payload, actor: 'mallory' } };
    expect(statuses(await send(way, [one, other, one]))).toEqual([
      'success',
      'rejected',
      'duplicate',
    ]);
    const before = await tail();
    const again = await send(way, [other, one, other]);
    expect(statuses(again)).toEqual(['rejected', 'duplicate', 'rejected']);
    expect(again.body.results[0]).toMatchObject({
      field: 'event_id',
      error_message: expect.stringContaining('other content'),
    });
    expect(await tail()).toBe(before);
  });

  test.each<[string, (fit: Data) => Data, string]>([
    ['aggregate_type Feature', (fit) => ({ ...fit, aggregate_type: 'Feature' }), 'aggregate_type'],
    [
      'event_type FeatureCreated',
      (fit) => ({ ...fit, event_type: 'FeatureCreated' }),
      'event_type',
    ],
    ['an old version', (fit) => ({ ...fit, schema_version: '2.9.0' }), 'schema_version'],
    ['no build_id', (fit) => ({ ...fit, build_id: undefined }), 'build_id'],
    ['build_id null', (fit) => ({ ...fit, build_id: null }), 'build_id'],
    ['build_id ""', (fit) => ({ ...fit, build_id: '' }), 'build_id'],
    ['feature_slug', (fit) => ({ ...fit, feature_slug: '064' }), 'feature_slug'],
    ['from_lane on top', (fit) => ({ ...fit, from_lane: 'planned' }), 'from_lane'],
    [
      'payload.feature_number',
      (fit) => ({ ...fit, payload: { ...fit.payload, feature_number: '064' } }),
      'feature_number',
    ],
    ['a clock of -1', (fit) => ({ ...fit, lamport_clock: -1 }), 'lamport_clock'],
    ['no project', (fit) => ({ ...fit, project_uuid: undefined }), 'project_uuid'],
    ['an id that is none', (fit) => ({ ...fit, event_id: 'OILU'.repeat(7).slice(2) }), 'event_id'],
    [
      'a slug without end',
      (fit) => ({ ...fit, payload: { ...fit.payload, mission_slug: 'x'.repeat(5_000) } }),
      'mission_slug',
    ],
    [
      'an event that is too large',
      (fit) => ({ ...fit, payload: { ...fit.payload, more: 'x'.repeat(300_000) } }),
      'payload',
    ],
  ])('D.42 %s is rejected and named; its neighbour is stored', async (_what, spoil, field) => {
    const project_uuid = randomUUID();
    const [good, bad] = [
      moved('WP01', 'planned', 'claimed', { project_uuid }),
      spoil(moved('WP02', 'planned', 'claimed', { project_uuid })),
    ];
    const before = await tail();
    const answer = await send(way, [bad, good]);
    expect(statuses(answer)).toEqual(['rejected', 'success']);
    const [told] = answer.body.results;
    expect(told.field).toContain(field);
    expect(told.error_message).toContain(field);
    expect(await tail()).toBe(before + 1);
  });

  test('D.46 a bare id of 32 hex digits is stored hyphenated and in lower case', async () => {
    const id = randomUUID();
    const bare = id.replaceAll('-', '').toUpperCase();
    const one = moved('WP01', 'planned', 'claimed', { event_id: bare, project_uuid: randomUUID() });
    const { body } = await send(way, [one]);
    expect(body.results).toMatchObject([{ event_id: id, status: 'success' }]);
    expect(statuses(await send(way, [{ ...one, event_id: id }]))).toEqual(['duplicate']);
  });

  test('gzip is read, up to a size when unpacked', async () => {
    const events = [moved('WP01', 'planned', 'claimed', { project_uuid: randomUUID() })];
    const packed = gzipSync(JSON.stringify({ events }));
    const gzip = { 'content-encoding': 'gzip' };
    expect(statuses(await sendBytes(way, packed, gzip))).toEqual(['success']);
    const bomb = gzipSync(Buffer.alloc(64 * 1024 * 1024, 0x20), { level: 9 });
    const before = await tail();
    expect(await sendBytes(way, bomb, gzip)).toMatchObject({
      status: 413,
      body: { error: 'payload_too_large' },
    });
    expect(await sendBytes(way, 'no gzip', gzip)).toMatchObject({
      status: 400,
      body: { error: 'invalid_request' },
    });
    const br = await sendBytes(way, packed, { 'content-encoding': 'br' });
    expect(br.status).toBe(415);
    expect(await tail()).toBe(before);
  });

  test.each<[string, string, number]>([
    ['no JSON', '{', 400],
    ['a list', '[]', 400],
    ['no events', '{}', 400],
    ['events that are no list', '{"events":{}}', 400],
    ['more than 1 000 events', JSON.stringify({ events: Array(1_001).fill(0) }), 413],
  ])('%s is refused in the words of the contract', async (_what, text, status) => {
    const answer = await sendBytes(way, text);
    expect(answer.status).toBe(status);
    expect(answer.body).toEqual({ error: expect.any(String), details: [expect.any(String)] });
  });

  test('what is no event has its answer too', async () => {
    const answer = await send(way, [null, 7, 'x', [], {}]);
    expect(statuses(answer)).toEqual(Array(5).fill('rejected'));
    expect(answer.body.results.every(({ field }: Data) => typeof field === 'string')).toBe(true);
  });

  test('1 000 events of many missions in one batch, sent by several at once', async () => {
    const project_uuid = randomUUID();
    const events = Array.from({ length: 1_000 }, (_, n) => {
      const slug = { mission_slug: `m-${n % 3}`, mission_number: '1', mission_type: 'research' };
      const one = moved(`WP${String(n).padStart(3, '0')}`, 'planned', 'claimed', { project_uuid });
      return { ...one, payload: { ...one.payload, ...slug } };
    });
    const answers = await Promise.all([send(way, events), send(way, events), send(way, events)]);
    for (const [at] of events.entries()) {
      const told = answers.map(({ body }) => body.results[at].status as string).sort();
      expect(told).toEqual(['duplicate', 'duplicate', 'success']);
    }
    const seq = Math.max(...answers.map(({ body }) => body.seq as number));
    const { missions } = ok(
      await system.call(way, 'missions.boards', { project_uuid, at_least: seq }),
    );
    expect(missions.map((one: Data) => one.events)).toEqual([334, 333, 333]);
  });
});

describe.each(WAYS)('boards over %s', (way: Way) => {
  const read = async (name: string, input: Data): Promise<Data> =>
    ok(await system.call(way, `missions.${name}`, input));

  async function mission() {
    const project_uuid = randomUUID();
    const more = { project_uuid };
    const events = [
      event('MissionCreated', { target_branch: 'main', wp_count: 3 }, more),
      event('WPCreated', { wp_id: 'WP01', title: 'One', dependencies: [] }, more),
      event('WPCreated', { wp_id: 'WP02', title: 'Two', dependencies: ['WP01'] }, more),
      event('WPCreated', { wp_id: 'WP03', title: 'Three' }, more),
      moved('WP01', 'planned', 'claimed', more),
      moved('WP01', 'claimed', 'in_progress', more),
      event(
        'HistoryAdded',
        { wp_id: 'WP01', entry_type: 'note', entry_content: 'n', author: 'bob' },
        more,
      ),
      moved('WP03', 'planned', 'blocked', more),
    ];
    return { key: { project_uuid, mission_slug: MISSION.mission_slug }, events };
  }

  test('D.47 in any order and with repeats the same board comes out', async () => {
    const boards = [];
    for (const turned of [false, true]) {
      const { key, events } = await mission();
      const order = turned ? [...events].reverse() : events;
      const { body } = await send(way, [...order, ...order]);
      const board = await read('board', { ...key, at_least: body.seq });
      const wps = await read('work-packages', key);
      boards.push([board.lanes, board.in_lane, board.target_branch, board.events]);
      const { work_packages } = wps;
      boards.push(
        work_packages.map(({ lane, last_actor, title, dependencies }: Data) => [
          lane,
          last_actor,
          title,
          dependencies,
        ]),
      );
    }
    expect(boards.slice(0, 2)).toEqual(boards.slice(2));
    expect(boards[1]).toEqual([
      ['in_progress', 'alice', 'One', []],
      ['planned', null, 'Two', ['WP01']],
      ['blocked', 'alice', 'Three', []],
    ]);
    expect(boards[0]?.[0]).toMatchObject({ planned: 1, in_progress: 1, blocked: 1, done: 0 });
  });

  test('D.45 work packages and history have filters and pages; the build id is kept', async () => {
    const { key, events } = await mission();
    const { body } = await send(way, events);
    const at_least = body.seq as number;
    const blocked = await read('work-packages', { ...key, lane: 'blocked', at_least });
    const typo = await system.call(way, 'missions.work-packages', { ...key, lane: 'bloked' });
    expect(err(typo, 'INVALID_REQUEST', 400).field).toBe('lane');
    expect(blocked.work_packages).toMatchObject([{ wp_id: 'WP03', last_actor: 'alice' }]);
    const seen: Data[] = [];
    let cursor: string | undefined;
    do {
      const page = await read('history', { ...key, limit: 3, ...(cursor && { cursor }) });
      seen.push(...page.history);
      cursor = page.next_cursor ?? undefined;
    } while (cursor !== undefined);
    expect(seen.map(({ event_id }) => event_id)).toEqual(events.map(({ event_id }) => event_id));
    expect(seen.map(({ event: one }) => one.build_id)).toEqual(events.map((one) => one.build_id));
    const notes = await read('history', { ...key, event_type: 'HistoryAdded' });
    expect(notes.history).toMatchObject([{ actor: 'bob', wp_id: 'WP01' }]);
    const ofOne = await read('history', { ...key, wp_id: 'WP01', actor: 'alice' });
    expect(ofOne.history).toHaveLength(2);
    const ids: string[] = [];
    for (let next: string | null = ''; next !== null; ) {
      const page: Data = await read('work-packages', {
        ...key,
        limit: 1,
        ...(next && { cursor: next }),
      });
      ids.push(...page.work_packages.map(({ wp_id }: Data) => wp_id as string));
      next = page.next_cursor as string | null;
    }
    expect(ids).toEqual(['WP01', 'WP02', 'WP03']);
  });

  test('missions are listed, a page at a time, by project and status', async () => {
    const { key, events } = await mission();
    const { project_uuid } = key;
    const closed = event(
      'MissionClosed',
      { total_wps: 3, closing: 'merged', mission_slug: '065-next' },
      { project_uuid },
    );
    const { body } = await send(way, [...events, closed]);
    const { missions } = await read('boards', { project_uuid, at_least: body.seq });
    expect(missions.map(({ mission_slug, status }: Data) => [mission_slug, status])).toEqual([
      ['064-my-mission', 'open'],
      ['065-next', 'merged'],
    ]);
    const first = await read('boards', { project_uuid, limit: 1 });
    const second = await read('boards', { project_uuid, limit: 1, cursor: first.next_cursor });
    expect([first.missions[0], second.missions[0]]).toEqual(missions);
    expect(second.next_cursor).toBeNull();
    expect((await read('boards', { project_uuid, status: 'merged' })).missions).toHaveLength(1);
  });

  test('an unknown mission, a bad cursor and a sequence that is far away are told', async () => {
    const key = { project_uuid: randomUUID(), mission_slug: 'none' };
    err(await system.call(way, 'missions.board', key), 'NAMESPACE_NOT_FOUND', 404);
    err(await system.call(way, 'missions.history', key), 'NAMESPACE_NOT_FOUND', 404);
    err(await system.call(way, 'missions.boards', { cursor: 'x' }), 'INVALID_REQUEST', 400);
    const far = { ...key, at_least: 9_000_000 };
    const beyond = err(await system.call(way, 'missions.board', far), 'INVALID_REQUEST', 400);
    expect(beyond.field).toBe('at_least');
  });
});

test('events are followed live, and resumed without gap or repeat', async () => {
  const project_uuid = randomUUID();
  const more = { project_uuid };
  const events = [1, 2, 3].map((n) => moved(`WP0${n}`, 'planned', 'claimed', more));
  const from = (await tail()) + 1;
  await send('http', events.slice(0, 2));
  const url = `${system.url('gateway')}/missions/stream?project_uuid=${project_uuid}`;
  const first = await followSse(`${url}&from_seq=${from}`, 1);
  expect(first[0]?.data.event_id).toBe(events[0]?.event_id);
  await send('http', events.slice(2));
  const rest = await followSse(url, 2, { 'last-event-id': String(first[0]?.id) });
  expect(rest.map(({ data }) => data.event_id)).toEqual(
    events.slice(1).map(({ event_id }) => event_id),
  );
});

describe('ironclaw missions', () => {
  const cli = (...args: string[]) =>
    runCli({ IRONCLAW_URL: system.url('gateway') }, ['missions', ...args]);

  test('lists, shows, work packages and history, for people and as JSON', async () => {
    const project = randomUUID();
    const slug = `m-${project.slice(0, 8)}`;
    const more = { project_uuid: project };
    const named = (type: string, payload: Data) =>
      event(type, { ...payload, mission_slug: slug }, more);
    const sent = await send('http', [
      named('MissionCreated', { target_branch: 'main' }),
      named('WPCreated', { wp_id: 'WP01', title: 'One', dependencies: [] }),
      named('WPCreated', { wp_id: 'WP02', title: 'Two', dependencies: ['WP01'] }),
      named('WPStatusChanged', {
        wp_id: 'WP01',
        from_lane: 'planned',
        to_lane: 'claimed',
        actor: 'alice',
      }),
    ]);
    const { project_uuid, mission_slug } = { project_uuid: project, mission_slug: slug };
    const reflected = { project_uuid, mission_slug, at_least: sent.body.seq };
    ok(await system.call('http', 'missions.board', reflected));
    expect(await cli('list', '--project', project)).toMatchObject({
      code: 0,
      out: expect.stringMatching(new RegExp(`${slug} +open +1 planned, 1 claimed`)),
    });
    expect((await cli('show', slug)).out).toMatch(/claimed +WP01/);
    const wps = await cli('wp', slug, '--json');
    expect(JSON.parse(wps.out).work_packages).toHaveLength(2);
    expect((await cli('wp', slug, 'WP02')).out).toMatch(/WP02 +planned .*WP01 +Two/);
    const page = await cli('history', slug, '--limit', '3');
    expect(page.out.split('\n')).toHaveLength(3);
    expect(page.err).toMatch(/^more: --cursor \d+$/);
    const last = await cli('history', slug, '--wp', 'WP01', '--type', 'WPStatusChanged');
    expect(last.out).toMatch(/WPStatusChanged {2}WP01 {2}planned -> claimed {2}alice$/);
    const none = await cli('show', 'no-such-mission');
    expect(none).toMatchObject({ code: 2, out: '' });
    expect(none.err).toContain('no-such-mission');
    expect((await cli('--help')).out).toContain('missions watch 064-my-mission --json');
  });
});
