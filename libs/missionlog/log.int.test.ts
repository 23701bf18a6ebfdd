import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { MissionEnvelope } from '#libs/contracts';
import {
  fold,
  initialState,
  parseLog,
  reduceRows,
  register,
  renderRow,
  rowOf,
  startImplementation,
  viewOf,
} from '#libs/missions';
import { startProxy, startTestBroker } from '#libs/testing';
import { MISSIONS } from '#streams';
import type { MissionLog } from './log.ts';
import { missionSubject } from './subjects.ts';
import { startClaimer } from './testdata/claiming.ts';
import { BOARD, openLab, POLICY, PROJECT, SLUG } from './testdata/lab.ts';

async function setUp() {
  const server = await startTestBroker({ streams: [MISSIONS] });
  const folder = await mkdtemp(join(tmpdir(), 'ironclaw-missionlog-'));
  const broker = await server.connect();
  return {
    server,
    folder,
    broker,
    log: openLab(broker, folder),
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
type It = Awaited<ReturnType<typeof setUp>>;

async function all(log: It['log']): Promise<MissionEnvelope[]> {
  const events: MissionEnvelope[] = [];
  for await (const { event } of log.events(SLUG)) events.push(event);
  return events;
}

const claim = (log: It['log'], actor: string) =>
  log.decide(BOARD.identity, (state) =>
    startImplementation(BOARD, state, { wpId: 'WP01', actor, policy: POLICY }),
  );

describe('claims', () => {
  test('D.40 of 20 actors in 4 processes one wins, the others are told', async () => {
    await using it = await setUp();
    const claimers = await Promise.all(
      [0, 5, 10, 15].map((first) => startClaimer(it.server.url, it.folder, 'claim', first, 5)),
    );
    for (const claimer of claimers) claimer.go();
    const answers = (await Promise.all(claimers.map((claimer) => claimer.answers()))).flat();
    expect(answers.filter((answer) => answer === 'won')).toHaveLength(1);
    expect(answers.filter((answer) => answer === 'WP_ALREADY_CLAIMED')).toHaveLength(19);
    const claims = (await all(it.log)).filter(({ payload }) => payload.to_lane === 'claimed');
    expect(claims).toHaveLength(1);
  });

  test('D.40 of 20 history entries at once none is lost', async () => {
    await using it = await setUp();
    const writers = await Promise.all(
      [0, 10].map((first) => startClaimer(it.server.url, it.folder, 'history', first, 10)),
    );
    for (const writer of writers) writer.go();
    const answers = (await Promise.all(writers.map((writer) => writer.answers()))).flat();
    expect(answers).toEqual(Array.from({ length: 20 }, () => 'won'));
    const { state } = await it.log.load(SLUG);
    expect(new Set(state.history.map(({ note }) => note)).size).toBe(20);
    const clocks = (await all(it.log)).map(({ lamport_clock }) => lamport_clock);
    expect(clocks).toEqual([...clocks].sort((a, b) => a - b));
    expect(new Set(clocks).size).toBe(20);
  });

  test('an ack that never came: the retry finds its own events', async () => {
    await using it = await setUp();
    await using proxy = await startProxy(it.server.url);
    const log = openLab(await it.server.connect({ url: proxy.url }), it.folder);
    const swallowed = proxy.swallow('"stream":"MISSIONS"');
    const claiming = claim(log, 'alice');
    await swallowed;
    proxy.cut();
    const claimed = await claiming;
    expect(claimed).toMatchObject({ ok: true, value: { answer: { no_op: false } } });
    expect(await all(it.log)).toHaveLength(3);
  });

  test('kill -9 between publish and ack: the same actor goes on, another is refused', async () => {
    await using it = await setUp();
    await using proxy = await startProxy(it.server.url);
    const swallowed = proxy.swallow('"stream":"MISSIONS"');
    const first = await startClaimer(proxy.url, it.folder, 'claim', 1, 1);
    first.go();
    await swallowed;
    await first.kill();
    expect(await claim(it.log, 'actor-1')).toMatchObject({ value: { answer: { no_op: true } } });
    expect(await claim(it.log, 'bob')).toMatchObject({ error: { code: 'WP_ALREADY_CLAIMED' } });
    expect(await all(it.log)).toHaveLength(3);
  });

  test('the broker is killed and comes back: nothing is lost, nothing doubled', async () => {
    await using it = await setUp();
    await claim(it.log, 'alice');
    await it.server.kill();
    await it.server.restart();
    await expect.poll(() => it.broker.isConnected(), { timeout: 10_000 }).toBe(true);
    expect(await claim(it.log, 'alice')).toMatchObject({ value: { answer: { no_op: true } } });
    expect(await all(it.log)).toHaveLength(3);
  });

  test('a broker that is away is told', async () => {
    await using it = await setUp();
    await it.server.stop();
    await expect.poll(() => it.broker.isConnected(), { timeout: 10_000 }).toBe(false);
    await expect(claim(it.log, 'alice')).rejects.toMatchObject({ code: 'DEPENDENCY_UNAVAILABLE' });
  });
});

test('a mission is registered once, by whoever comes', async () => {
  await using it = await setUp();
  const registering = () =>
    it.log.decide(BOARD.identity, (state) => ({
      ok: true,
      value: { answer: undefined, events: register(BOARD, state) },
    }));
  await Promise.all([registering(), registering(), registering()]);
  expect((await all(it.log)).map(({ event_type }) => event_type)).toEqual([
    'MissionCreated',
    'WPCreated',
    'WPCreated',
  ]);
});

describe('events from elsewhere', () => {
  test('D.46 D.47 each is stored once for ever, with its id in one spelling', async () => {
    await using it = await setUp();
    await claim(it.log, 'alice');
    const [sample] = await all(it.log);
    const event = { ...sample, event_id: '0190F5A2B3C47D8E9F00112233445566', lamport_clock: 40 };
    const other = { ...event, event_id: '01J00000000000000000000ABC', lamport_clock: 41 };
    const id = '0190f5a2-b3c4-7d8e-9f00-112233445566';
    const answers = await it.log.record(
      [event, other, event, { ...event, build_id: '' }],
      'http in',
    );
    expect(answers).toMatchObject([
      { event_id: id, status: 'success' },
      { status: 'success' },
      { event_id: id, status: 'duplicate' },
      { status: 'rejected', field: 'build_id' },
    ]);
    // Another process, which remembers nothing, and a broker that has forgotten its ids.
    await it.server.restart();
    const log = openLab(await it.server.connect(), it.folder, 'other');
    expect(await log.record([event], 'http in')).toMatchObject([{ status: 'duplicate' }]);
    expect(await all(log)).toHaveLength(5);
  });

  test('D.48 the next own event is later than one that was received, after a restart as well', async () => {
    await using it = await setUp();
    await claim(it.log, 'alice');
    const [sample] = await all(it.log);
    const payload = { ...sample?.payload, mission_slug: '065-other' };
    const event = { ...sample, event_id: '01J00000000000000000000ABC', lamport_clock: 40, payload };
    await it.log.record([event], 'http in');
    const log = openLab(it.broker, it.folder);
    const next = await log.decide({ ...BOARD.identity, mission_slug: '066-new' }, (state) =>
      startImplementation(BOARD, state, { wpId: 'WP01', actor: 'a', policy: POLICY }),
    );
    expect(next.ok && next.value.events[0]?.lamport_clock).toBeGreaterThanOrEqual(42);
  });

  test('D.48 what is told in a mission is later than all of it, whatever became of the clock', async () => {
    await using it = await setUp();
    await claim(it.log, 'alice');
    const [sample] = await all(it.log);
    const event = { ...sample, event_id: '01J00000000000000000000ABC', lamport_clock: 40 };
    await it.log.record([event], 'http in');
    const tell = (log: MissionLog, id: string, slug: string) =>
      log.tell({ project_uuid: PROJECT, mission_slug: slug }, (state, next) =>
        state.ids.has(id)
          ? []
          : [
              {
                ...sample,
                event_id: id,
                event_type: 'MissionCreated',
                aggregate_type: 'Mission',
                lamport_clock: next.lamport,
                timestamp: next.timestamp,
                payload: { ...sample?.payload, mission_slug: slug },
              },
            ],
      );
    const clockOf = async (told: ReturnType<typeof tell>) => (await told).events[0]?.lamport_clock;
    const ids = [1, 2, 3].map((n) => `01J0000000000000000000000${n}`);
    const [first = '', second = '', third = ''] = ids;
    expect(await clockOf(tell(it.log, first, SLUG))).toBe(42);
    // The clock is one for all missions, and a new process goes on with it.
    expect(await clockOf(tell(openLab(it.broker, it.folder), second, '065-other'))).toBe(43);
    await writeFile(join(it.folder, 'node.json'), '{"value": ');
    expect(await clockOf(tell(openLab(it.broker, it.folder), third, SLUG))).toBe(43);
    const again = await Promise.all([1, 2, 3].map(() => tell(it.log, third, SLUG)));
    expect(again.map(({ events }) => events)).toEqual([[], [], []]);
  });

  test('D.43 what the contract refuses is left out of reductions, and listed', async () => {
    await using it = await setUp();
    await claim(it.log, 'alice');
    const subject = missionSubject(PROJECT, SLUG);
    const [sample] = await all(it.log);
    await it.broker.js.publish(subject, 'not JSON');
    await it.broker.js.publish(subject, JSON.stringify({ ...sample, feature_slug: 'x' }));
    const { faults, state } = await it.log.load(SLUG);
    expect(faults.map(({ field }) => field)).toEqual(['event', 'feature_slug']);
    expect(state.ids.size).toBe(3);
    expect(await claim(it.log, 'bob')).toMatchObject({ error: { code: 'WP_ALREADY_CLAIMED' } });
  });
});

test('an existing log is imported once and gives the board of its file', async () => {
  await using it = await setUp();
  await claim(it.log, 'alice');
  const events = await all(it.log);
  const text = events
    .flatMap((event) => rowOf(event) ?? [])
    .map(renderRow)
    .join('');
  const { rows } = parseLog(text);
  const identity = { ...BOARD.identity, mission_slug: '070-old' };
  const imports = await Promise.all([1, 2, 3].map(() => it.log.importLog(identity, rows)));
  expect(imports.reduce((sum, count) => sum + count, 0)).toBe(2);
  expect(await it.log.importLog(identity, rows)).toBe(0);
  const { state } = await it.log.load('070-old');
  expect(viewOf(BOARD, state)[0]).toMatchObject({ lane: 'in_progress', last_actor: 'alice' });
  const stored = [];
  for await (const { event } of it.log.events('070-old')) stored.push(event);
  expect(
    reduceRows(
      'm',
      stored.flatMap((event) => rowOf(event) ?? []),
      't',
    ),
  ).toEqual(reduceRows('m', rows, 't'));
  expect(fold(initialState, stored)).toEqual(state);
});
