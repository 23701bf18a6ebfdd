import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { AppError, type Endpoint } from '#libs/contracts';
import { openEventLog } from '#libs/eventlog';
import { loadGate, openClock, openMissionLog } from '#libs/missionlog';
import { type Board, register } from '#libs/missions';
import { runIdFor } from '#libs/orders';
import type { Projection } from '#libs/projections';
import type { RoleContext } from '#libs/runtime';
import { startTestBroker, testLogger, waitFor } from '#libs/testing';
import { STREAMS } from '#streams';
import { readRun, requestRun } from './run-request.ts';
import { startRunner } from './runner.ts';

// The runner alone, without its ticks: what wakes it, and that what fails comes again.

const PROJECT = '5f0c4b52-0000-4000-8000-000000000001';
const SLUG = '064-m';
const IDENTITY = { mission_slug: SLUG, mission_number: '064', mission_type: 'software-dev' };
const HOUR_MS = 3_600_000;
const LONG = { timeoutMs: 60_000 };
const TIMEOUT = { timeout: 180_000 };
type Input = Record<string, unknown>;
type Run = { run_id: string; status: 'OPEN' | 'COMPLETE'; mission: Input };

/** A broker, a mission of one work package, and roles that only remember what they are asked for. */
async function setUp() {
  const server = await startTestBroker({ streams: STREAMS });
  const folder = await mkdtemp(join(tmpdir(), 'ironclaw-runner-'));
  const broker = await server.connect();
  const events = openEventLog({ broker, garrisonId: 'test' });
  const missions = openMissionLog({
    broker,
    gate: loadGate({}),
    emitter: { projectUuid: PROJECT, nodeId: 'test', buildId: PROJECT },
    clock: openClock(join(folder, 'clock.json'), 'test', () => new Date()),
  });
  const wps = [{ wp_id: 'WP01', title: 'One', dependencies: [] }];
  const board: Board = { identity: IDENTITY, targetBranch: 'main', wps };
  await missions.decide(IDENTITY, (state) => ({
    ok: true,
    value: { events: register(board, state), answer: undefined },
  }));

  const runs = new Map<string, Run>();
  const asked: string[] = [];
  let failures: { name: string; left: number } | undefined;
  const place = { theater_id: 'th', garrison_id: 'test', order_id: null, unit_id: null };
  const eventOf = (type: string, run_id: string, payload: Input) => ({
    event_id: `${type}_${run_id}`,
    ts: new Date().toISOString(),
    type,
    ...place,
    run_id,
    payload,
  });
  const append = (type: string, run_id: string, payload: Input = {}) =>
    events.append(eventOf(type, run_id, payload) as Parameters<typeof events.append>[0]);

  const answers: Record<string, (input: Input) => unknown> = {
    'start-lane': () => ({ branch: `kitty/mission-${SLUG}-WP01`, prompt: null, evidence: true }),
    'create-run': async ({ mission, request_id }) => {
      const run_id = runIdFor('test', 'th', String(request_id));
      if (runs.has(run_id)) throw new Error('asked for a run that is there');
      const { seq } = await append('RUN_CREATED', run_id, { mission });
      runs.set(run_id, { run_id, status: 'OPEN', mission: mission as Input });
      return { run_id, seq };
    },
    run: ({ run_id }) => {
      const known = runs.get(String(run_id));
      if (known === undefined) throw new AppError('RUN_NOT_FOUND', { id: String(run_id) });
      return { ...known, theater_id: 'th', order_ids: ['order_1'] };
    },
    orders: () => {
      const integration = { state: 'INTEGRATED', commit_sha: 'c'.repeat(40) };
      return { orders: [{ order_id: 'order_1', artifacts: [], integration }] };
    },
    synthesize: () => ({ reply: 'VERDICT: approved' }),
    'merge-mission': () => ({ target_branch: 'main', commit: 'c'.repeat(40) }),
  };
  const call = async (endpoint: Endpoint, input: Input): Promise<unknown> => {
    asked.push(endpoint.name);
    if (failures?.name === endpoint.name && failures.left > 0) {
      failures.left -= 1;
      throw new AppError('DEPENDENCY_UNAVAILABLE', { dependency: 'It', reason: 'is away' });
    }
    return answers[endpoint.name]?.(input);
  };
  const context = {
    broker,
    log: events,
    client: { call },
    config: { garrisonId: 'test', defaultTheater: 'th' },
    logger: testLogger('runner'),
    version: '1.0.0',
  } as unknown as RoleContext;
  const projection = { read: () => [] } as unknown as Projection;
  const logOf = () => missions;
  const runner = startRunner({ context, projection, logOf, tickMs: HOUR_MS });
  return {
    missions,
    answers,
    runs,
    asked,
    broker,
    fail: (name: string, left: number) => {
      failures = { name, left };
    },
    begin: () => requestRun(missions, { project_uuid: PROJECT, mission_slug: SLUG }),
    standing: async () => (await readRun(missions, SLUG)).run?.standing,
    /** What was said of the last change of a lane. */
    async lastReason(): Promise<string> {
      let reason = '';
      for await (const { event } of missions.events(SLUG)) {
        if (event.event_type === 'WPStatusChanged') reason = String(event.payload.reason);
      }
      return reason;
    },
    /** Ends the newest run, once there are so many. */
    async endRun(count: number): Promise<void> {
      const run = await waitFor(() => [...runs.values()][count - 1], LONG);
      run.status = 'COMPLETE';
      await append('RUN_COMPLETED', run.run_id);
    },
    async [Symbol.asyncDispose]() {
      await runner.stop();
      missions.close();
      events.close();
      await server[Symbol.asyncDispose]();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

const merged = (it: Awaited<ReturnType<typeof setUp>>): Promise<unknown> =>
  waitFor(async () => (await it.standing()) === 'merged', LONG);

test(
  'events of the mission and ends of its runs carry it to its end, each acked',
  TIMEOUT,
  async () => {
    await using it = await setUp();
    await it.begin();
    await it.endRun(1);
    await it.endRun(2);
    await merged(it);
    expect(it.asked.filter((name) => name === 'create-run')).toHaveLength(2);
    for (const stream of ['MISSIONS', 'LEDGER']) {
      await waitFor(async () => {
        const info = await it.broker.jsm.consumers.info(stream, 'missions-runner');
        return info.num_pending === 0 && info.num_ack_pending === 0;
      }, LONG);
    }
  },
);

test.each(['start-lane', 'create-run', 'synthesize', 'merge-mission'])(
  'where %s fails for now, the step comes again and blocks nothing',
  TIMEOUT,
  async (name) => {
    await using it = await setUp();
    it.fail(name, 3);
    await it.begin();
    await it.endRun(1);
    await it.endRun(2);
    await merged(it);
    expect(it.asked.filter((one) => one === name).length).toBeGreaterThan(3);
    const { state } = await it.missions.load(SLUG);
    expect(state.wps.get('WP01')).toMatchObject({ lane: 'done', transitions: 6 });
    expect(state.refusal).toBeUndefined();
  },
);

const LANE = { branch: `kitty/mission-${SLUG}-WP01`, prompt: null, evidence: true };

test.each([
  ['no commit', { evidence: false }, /: nothing of it is on kitty\/mission-064-m-WP01;/],
  ['an open box of nobody', { subtasks: { open: 2, done: 0 } }, /: 2 boxes of tasks\.md are none/],
])('D.29 a run that leaves %s is not sent to review', TIMEOUT, async (_what, lane, reason) => {
  await using it = await setUp();
  it.answers['start-lane'] = () => ({ ...LANE, ...lane });
  await it.begin();
  await it.endRun(1);
  await waitFor(async () => (await it.standing()) === 'blocked', LONG);
  expect(await it.lastReason()).toMatch(reason);
});

test('subtasks that the unit was given are ticked with its result', TIMEOUT, async () => {
  await using it = await setUp();
  const text = '---\nsubtasks: [T001, T002]\n---\n# WP01\n';
  const prompt = { path: 'kitty-specs/064-m/tasks/WP01.md', text };
  it.answers['start-lane'] = () => ({ ...LANE, prompt, subtasks: { open: 2, done: 0 } });
  await it.begin();
  await it.endRun(1);
  await it.endRun(2);
  await merged(it);
  const { subtasks } = (await it.missions.load(SLUG)).state;
  expect([...subtasks].map(([id, { value }]) => [id, value.done])).toEqual([
    ['T001', true],
    ['T002', true],
  ]);
});

test('where no lane can be had the work package is blocked with the reason', TIMEOUT, async () => {
  await using it = await setUp();
  it.answers['start-lane'] = () => {
    throw new AppError('LANE_ALLOCATION_FAILED', { wp_id: 'WP01', reason: 'it has no lane' });
  };
  await it.begin();
  await waitFor(async () => (await it.standing()) === 'blocked', LONG);
  expect(await it.lastReason()).toMatch(/LANE_ALLOCATION_FAILED: .*it has no lane/);
  expect(it.runs.size).toBe(0);
});
