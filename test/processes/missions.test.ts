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
import { callNats, type Data, ok } from '../conformance/wire.ts';
import { type Served, serveAlone } from './fleet.ts';

// D.57 for missions that the system executes itself: processes and the broker die at random.

const DIAMOND = { WP01: [], WP02: ['WP01'], WP03: ['WP01'], WP04: ['WP02', 'WP03'] };
const VICTIMS: readonly (Role | 'broker')[] = [
  ...Array.from({ length: 3 }, (): Role => 'missions'),
  'broker',
  'co',
  'worker',
  'broker',
  'co',
  'worker',
];
/** In processes of their own; the rest of the system is in this one. */
const FLEET: readonly Role[] = ['missions', 'missions', 'co', 'worker', 'worker'];

let stateDir: string;
let broker: TestBroker;
let model: ModelServer;
let host: Host;
let env: Record<string, string>;
const fleet: Served[] = [];

beforeAll(async () => {
  stateDir = await mkdtemp(join(tmpdir(), 'ironclaw-missions-'));
  broker = await startTestBroker({ streams: STREAMS, sync: 'always' });
  const text = 'VERDICT: approved\nIt does what it should.';
  model = await startModelServer({ mode: { kind: 'slow', ms: 1_500, text } });
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
  host = await serve(['ledger', 'vault', 'observer', 'integration'], env);
  fleet.push(...(await Promise.all(FLEET.map((role) => serveAlone(role, env)))));
}, 240_000);

afterAll(async () => {
  await Promise.all(fleet.map((served) => served[Symbol.asyncDispose]()));
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

/** One of the processes of a role; it is there again before the next dies. */
async function killOne(role: Role): Promise<void> {
  const those = FLEET.flatMap((other, at) => (other === role ? [at] : []));
  const at = those[randomInt(those.length)] as number;
  await fleet[at]?.kill();
  fleet[at] = await serveAlone(role, env);
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
  await mission.run({ playbook: 'patient' });
  let inTheMiddle = 0;
  for (const victim of shuffled(VICTIMS)) {
    await sleep(randomInt(100, 900));
    const { run } = await waitFor(() => mission.board(), { timeoutMs: 60_000 });
    if (run.standing !== 'running') break;
    inTheMiddle += 1;
    await (victim === 'broker' ? breakBroker() : killOne(victim));
  }
  expect(inTheMiddle, 'it was in the middle').toBeGreaterThan(3);
  const { merged } = await mission.rest('merged');

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
