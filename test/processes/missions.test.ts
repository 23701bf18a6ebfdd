import { randomInt } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Role, StoredEvent } from '#libs/contracts';
import { readFrom } from '#libs/eventlog';
import {
  type ModelServer,
  startModelServer,
  startTestBroker,
  type TestBroker,
  waitFor,
} from '#libs/testing';
import { STREAMS } from '#streams';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Host } from '../../apps/cli/host.ts';
import { serve } from '../conformance/host.ts';
import { ALL_WELL, ownMission, type Reached, runsOf } from '../conformance/mission-kit.ts';
import { IRONCLAW, MISSION } from '../conformance/orchestrator-rig.ts';
import { callNats, type Data, ok } from '../conformance/wire.ts';
import { type Served, serveAlone } from './fleet.ts';

// D.57 for missions that the system executes itself: processes and the broker die at random.

const DIAMOND = { WP01: [], WP02: ['WP01'], WP03: ['WP01'], WP04: ['WP02', 'WP03'] };
/** Those of a round are others each time, so that none waits for one that is still starting. */
const ROUNDS: readonly (readonly (number | 'broker')[])[] = [
  [0, 2, 3, 'broker'],
  [1, 4, 'broker', 2, 0],
];
/** In processes of their own, by place; the rest of the system is in this one. */
const FLEET: readonly Role[] = ['missions', 'missions', 'co', 'worker', 'worker'];

let stateDir: string;
let broker: TestBroker;
let model: ModelServer;
let host: Host;
let env: Record<string, string>;
const STARTS_MAX = 10;
const fleet: Promise<Served>[] = [];

beforeAll(async () => {
  stateDir = await mkdtemp(join(tmpdir(), 'ironclaw-missions-'));
  broker = await startTestBroker({ streams: STREAMS, sync: 'always' });
  const text = 'VERDICT: approved\nIt does what it should.';
  model = await startModelServer({ mode: { kind: 'slow', ms: 2_500, text } });
  env = {
    PATH: process.env.PATH ?? '',
    NATS_URL: broker.url,
    IRONCLAW_STATE: stateDir,
    IRONCLAW_GARRISON: 'test',
    IRONCLAW_PORT: '0',
    IRONCLAW_JOB_LEASE_MS: '2000',
    IRONCLAW_PLAYBOOKS: await patientPlaybook(),
    IO_INTELLIGENCE_BASE_URL: model.url,
    IO_INTELLIGENCE_API_KEY: 'a key of the tests',
  };
  host = await serve(['gateway', 'ledger', 'vault', 'observer', 'integration'], env);
  fleet.push(...FLEET.map(begin));
  await Promise.all(fleet);
}, 240_000);

afterAll(async () => {
  await Promise.all(fleet.map(async (served) => (await served)[Symbol.asyncDispose]()));
  await host?.close();
  await broker?.[Symbol.asyncDispose]();
  await model?.[Symbol.asyncDispose]();
  await rm(stateDir, { recursive: true, force: true, maxRetries: 3 });
}, 60_000);

/** Each kill of a worker costs the order that it had in hand an attempt. @returns its folder */
async function patientPlaybook(): Promise<string> {
  const path = join(import.meta.dirname, '../../apps/co/playbooks/default.json');
  const { steps, ...book } = JSON.parse(await readFile(path, 'utf8')) as { steps: Data[] };
  const patient = steps.map((step) => ({ ...step, constraints: { max_retries: 5 } }));
  const folder = join(stateDir, 'playbooks');
  await mkdir(folder);
  const text = JSON.stringify({ ...book, name: 'patient', steps: patient });
  await writeFile(join(folder, 'patient.json'), text);
  return folder;
}

/** The system as a stranger reaches it over NATS. */
async function reach(): Promise<Reached> {
  const { nc } = await broker.connect({ name: 'stranger' });
  const call: Reached['call'] = (_way, name, input) => callNats(nc, name, input);
  return {
    natsUrl: broker.url,
    call,
    eventsOf: async (filter) => {
      const input = { ...filter, order: 'asc', limit: 1000 };
      return ok(await call('nats', 'ledger.events', input)).events as Data[];
    },
  };
}

/** One that finds no broker ends, as it should; then it is started again. */
async function begin(role: Role): Promise<Served> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await serveAlone(role, env);
    } catch (error) {
      if (tries === STARTS_MAX) throw error;
      await sleep(1_000);
    }
  }
}

/** It starts again while others die. */
async function killOne(at: number): Promise<void> {
  const served = (await fleet[at]) as Served;
  await served.kill();
  fleet[at] = begin(served.role);
}

async function breakBroker(): Promise<void> {
  await broker.kill();
  await sleep(randomInt(100, 500));
  await broker.restart();
}

function shuffled<T>(items: readonly T[]): T[] {
  const left = [...items];
  return items.map(() => left.splice(randomInt(left.length), 1)[0] as T);
}

async function stored(): Promise<StoredEvent[]> {
  const connection = await broker.connect();
  const events: StoredEvent[] = [];
  for await (const page of readFrom(connection, 'led.v1.>', 1)) events.push(...page);
  return events;
}

test('D.57 two missions roles, a co, workers and the broker killed: nothing lost, nothing twice', {
  timeout: 600_000,
}, async () => {
  const system = await reach();
  await using mission = await ownMission(system, DIAMOND);
  const words = ['missions', 'run', MISSION, '--playbook', 'patient', '--wait', '--json'];
  const where = ['--repo', mission.rig.root, '--url', host.http?.url ?? ''];
  const command = mission.rig.start([...words, ...where], { program: IRONCLAW });
  await waitFor(async () => (await mission.board()).run, { timeoutMs: 60_000 });
  let inTheMiddle = 0;
  for (const victim of ROUNDS.flatMap(shuffled)) {
    await sleep(randomInt(100, 900));
    const { run } = await waitFor(() => mission.board(), { timeoutMs: 60_000 });
    if (run.standing !== 'running') break;
    inTheMiddle += 1;
    await (victim === 'broker' ? breakBroker() : killOne(victim));
  }
  expect(inTheMiddle, 'it was in the middle').toBeGreaterThan(2);
  const { merged } = await mission.rest('merged');
  const { code, stdout, stderr } = await command.ended;
  expect(code, stderr).toBe(0);
  const { end } = JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as Data;
  expect(end).toMatchObject({ standing: 'merged', merged });

  for (const wp of Object.keys(DIAMOND)) expect(await mission.moves(wp)).toEqual(ALL_WELL);
  const history = await mission.history();
  const ids = history.map(({ event_id }) => event_id as string);
  expect(new Set(ids).size).toBe(ids.length);
  expect(history.filter(({ event_type }) => event_type === 'MissionClosed')).toHaveLength(2);

  const runs = await runsOf(system, mission);
  const events = await stored();
  const created = events.filter(({ type }) => type === 'RUN_CREATED');
  expect(created).toHaveLength(8);
  expect(new Set(created.map(({ run_id }) => run_id as string))).toEqual(
    new Set(runs.map(({ run_id }) => run_id as string)),
  );
  expect(runs).toHaveLength(8);
  const causes = runs.map((run) => (run.created as Data).payload.mission.wp_event_id as string);
  expect(new Set(causes).size).toBe(8);
  expect(causes.every((id) => ids.includes(id))).toBe(true);
  for (const type of ['ORDER_CREATED', 'ORDER_COMPLETED', 'INTEGRATED']) {
    const orders = events.filter((event) => event.type === type).map(({ order_id }) => order_id);
    expect(orders, type).toHaveLength(8);
    expect(new Set(orders).size, type).toBe(8);
  }

  const work = runs.filter(({ event }) => event.payload.author === 'ironclaw');
  const written = mission.rig.git('ls-tree', '-r', '--name-only', 'main', 'outputs/');
  expect(written.trim().split('\n')).toEqual(
    work.map(({ run_id }) => `outputs/${run_id}/model_output.txt`).sort(),
  );
  expect(mission.rig.git('rev-parse', 'main').trim()).toBe(merged.commit);
  mission.rig.git('fsck', '--strict');
});
