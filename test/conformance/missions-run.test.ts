import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { type ModelServer, startModelServer, waitFor } from '#libs/testing';
import { freshIds, startSystem, type System } from './harness.ts';
import { type Data, ok } from './wire.ts';

// Missions that the system executes itself: work packages as orders (point 10 of issue D).

const LONG = { timeoutMs: 90_000, intervalMs: 100 };
let model: ModelServer;
let system: System;
beforeAll(async () => {
  model = await startModelServer();
  system = await startSystem({
    roles: ['ledger', 'vault', 'observer', 'integration', 'co', 'worker'],
    separateProcesses: ['missions'],
    env: { IO_INTELLIGENCE_BASE_URL: model.url, IO_INTELLIGENCE_API_KEY: 'a key of the tests' },
  });
});
beforeEach(() => model.setMode({ kind: 'ok', text: 'VERDICT: approved\nIt does what it should.' }));
afterAll(async () => {
  await system?.[Symbol.asyncDispose]();
  await model?.[Symbol.asyncDispose]();
});

const call = async (name: string, input: Data, status = 200): Promise<Data> =>
  ok(await system.call('http', `missions.${name}`, input), status);

/** A mission whose work packages wait for one another as told; answers its key. */
async function mission(dependencies: Record<string, string[]>): Promise<Data> {
  const project_uuid = randomUUID();
  const mission_slug = '064-my-mission';
  const fields = { mission_slug, mission_number: '064', mission_type: 'software-dev' };
  const event = (n: number, event_type: string, wp: string | undefined, payload: Data): Data => ({
    event_id: randomUUID(),
    event_type,
    aggregate_id: wp ?? mission_slug,
    aggregate_type: wp === undefined ? 'Mission' : 'WorkPackage',
    schema_version: '3.0.0',
    build_id: randomUUID(),
    node_id: 'a-checkout',
    lamport_clock: n,
    timestamp: new Date(1_780_000_000_000 + n).toISOString(),
    project_uuid,
    payload: { ...fields, ...payload },
  });
  const events = [
    event(1, 'MissionCreated', undefined, { target_branch: 'main' }),
    ...Object.entries(dependencies).map(([wp_id, waits], n) =>
      event(n + 2, 'WPCreated', wp_id, { wp_id, title: `Do ${wp_id}`, dependencies: waits }),
    ),
  ];
  const answer = await system.call('http', 'missions.record-events', { events });
  expect(answer.status).toBe(200);
  return { project_uuid, mission_slug };
}
const begin = (key: Data, more: Data = {}): Promise<Data> =>
  call('run', { ...key, theater_id: freshIds().theater, ...more }, 202);

async function lanesOf(key: Data): Promise<Record<string, string>> {
  const { work_packages } = await call('work-packages', key);
  return Object.fromEntries(work_packages.map(({ wp_id, lane }: Data) => [wp_id, lane]));
}
const reached = async (key: Data, lanes: Record<string, string>): Promise<void> => {
  try {
    await waitFor(async () => JSON.stringify(await lanesOf(key)) === JSON.stringify(lanes), LONG);
  } finally {
    expect(await lanesOf(key)).toEqual(lanes);
  }
};
const historyOf = async (key: Data): Promise<Data[]> =>
  (await call('history', { ...key, limit: 1_000 })).history as Data[];
const stepsOf = async (key: Data, wp: string): Promise<string[]> =>
  (await historyOf(key))
    .filter(({ event_type, wp_id }) => event_type === 'WPStatusChanged' && wp_id === wp)
    .map(({ actor, event }) => `${actor}: ${event.payload.from_lane} > ${event.payload.to_lane}`);

const tail = async (): Promise<number> =>
  (await system.broker.jsm.streams.info('MISSIONS')).state.last_seq;
const isOver = async (key: Data): Promise<boolean> =>
  Object.values(await lanesOf(key)).every((lane) => lane === 'approved');

const ALL_WELL = [
  'ironclaw: planned > claimed',
  'ironclaw: claimed > in_progress',
  'ironclaw: in_progress > for_review',
  'ironclaw-review: for_review > in_review',
  'ironclaw-review: in_review > approved',
];

test('D.14 a mission runs to approved, dependencies first; both sides know each other', {
  timeout: 120_000,
}, async () => {
  const key = await mission({ WP01: [], WP02: ['WP01'] });
  expect(await begin(key)).toMatchObject({ active: true, next: ['WP01'] });
  await reached(key, { WP01: 'approved', WP02: 'approved' });
  expect([await stepsOf(key, 'WP01'), await stepsOf(key, 'WP02')]).toEqual([ALL_WELL, ALL_WELL]);
  const history = await historyOf(key);
  const ids = history.map(({ event_id }) => event_id as string);
  const approved = history.findIndex(
    ({ wp_id, event }) => wp_id === 'WP01' && event.payload.to_lane === 'approved',
  );
  const started = history.findIndex(
    ({ wp_id, event }) => wp_id === 'WP02' && event.payload.to_lane === 'claimed',
  );
  expect(approved).toBeLessThan(started);
  const notes = history.filter(({ event }) => event.payload.run_id !== undefined);
  expect(notes).toHaveLength(4);
  for (const { event } of notes) {
    const { run_id, order_ids } = event.payload;
    expect(order_ids).toHaveLength(1);
    expect(event.correlation_id).toBe(run_id);
    const [created] = await system.eventsOf({ run_id });
    const [plane, laneEvent] = String(created?.payload.request_id).split('/');
    expect([plane, ids.includes(laneEvent ?? '')]).toEqual(['wp-event', true]);
    const types = (await system.eventsOf({ order_id: order_ids[0] })).map(({ type }) => type);
    expect(types.filter((type) => type === 'ORDER_COMPLETED')).toHaveLength(1);
  }
});

test('D.31 what a review sends back is done again, then blocked for a person', {
  timeout: 180_000,
}, async () => {
  model.setMode({ kind: 'ok', text: 'VERDICT: changes_requested\nNot yet.' });
  const key = await mission({ WP01: [] });
  await begin(key);
  await reached(key, { WP01: 'blocked' });
  const steps = await stepsOf(key, 'WP01');
  expect(
    steps.filter((step) => step === 'ironclaw-review: in_review > in_progress').length,
  ).toBeGreaterThan(1);
  expect(steps.at(-1)).toBe('ironclaw-review: in_review > blocked');
});

test('reviews are left to people where that is asked; what others claimed is theirs', {
  timeout: 120_000,
}, async () => {
  const key = await mission({ WP01: [] });
  await begin(key, { review: 'person' });
  await reached(key, { WP01: 'for_review' });
  const stop = { ...key, stop: true };
  const stopped = ok(await system.call('nats', 'missions.run', stop), 202);
  expect(stopped).toMatchObject({ active: false, duplicate: false, next: [] });
  const again = ok(await system.call('nats', 'missions.run', stop), 202);
  expect(again).toMatchObject({ active: false, duplicate: true });
  const next = await call('board', key);
  expect(next.lanes).toMatchObject({ for_review: 1, in_review: 0 });
});

test('D.40 killed again and again, it claims and orders each work package once', {
  timeout: 240_000,
}, async () => {
  const wps = { WP01: [], WP02: [], WP03: ['WP01'], WP04: ['WP02', 'WP03'] };
  const key = await mission(wps);
  await begin(key);
  for (let kills = 0; kills < 4; kills += 1) {
    const before = await tail();
    await waitFor(async () => (await tail()) > before + kills || (await isOver(key)), LONG);
    await system.process('missions').kill();
    await system.process('missions').restart();
  }
  await reached(key, { WP01: 'approved', WP02: 'approved', WP03: 'approved', WP04: 'approved' });
  for (const wp of Object.keys(wps)) expect(await stepsOf(key, wp)).toEqual(ALL_WELL);
  const runs = (await historyOf(key)).flatMap(({ event }) => event.payload.run_id ?? []);
  expect([runs.length, new Set(runs).size]).toEqual([8, 8]);
});
