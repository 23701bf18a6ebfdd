import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { JetStreamApiError } from '@nats-io/jetstream';
import { pino } from 'pino';
import type { Broker } from '#libs/broker';
import { API, type Role, ROLES } from '#libs/contracts';
import { LEDGER_STREAM } from '#libs/eventlog';
import { createClient, type ServiceClient } from '#libs/service';
import type { Child } from '../child.ts';
import { type Lab, openLab } from '../lab.ts';
import { BENCH_SECRET } from '../ingest/body.ts';
import type { MemoryRow } from '../report.ts';
import { fillLedger } from './fill.ts';
import type { Plan } from './plan.ts';

/** Durable consumers by which roles follow the ledger. */
const DURABLE: Partial<Record<Role, string>> = {
  co: 'co',
  integration: 'integration',
  observer: 'observer',
};
const POLL_MS = 250;
/** After the last work, for what is let go of late. */
const SETTLE_MS = 1_000;
const KIB_A_MIB = 1_024;

/** It has most to do, so it has the machine to itself until it is level. */
const FIRST: Role = 'ledger';
/** What roles are given at least, however long it took to come to them. */
const WAIT_MS_MIN = 5_000;

/** Resident memory of each role, each a process of its own, after many events. */
export async function benchMemory(plan: Plan, say: (text: string) => void): Promise<MemoryRow[]> {
  await using lab = openLab(plan.sync);
  const empty = await lab.broker();
  const idle = await startRoles(lab, empty.url, ROLES);
  await sleep(SETTLE_MS);
  const before = await memoryOfAll(idle, empty.pid);
  await Promise.all([...idle.values()].map((child) => child.close()));

  const server = await lab.broker();
  const broker = await server.connect();
  const fillingAt = performance.now();
  const events = await fillLedger(broker, plan.memoryEvents);
  say(`${events} events stored in ${seconds(fillingAt).toFixed(1)} s`);

  const leftMs = (): number =>
    Math.max(WAIT_MS_MIN, fillingAt + plan.memoryWaitMs - performance.now());
  const roles = await startRoles(lab, server.url, [FIRST]);
  const reached = await waitUntilLevel(broker, roles, events, leftMs());
  const others = await startRoles(
    lab,
    server.url,
    ROLES.filter((role) => role !== FIRST),
  );
  const rest = await waitUntilLevel(broker, others, events, leftMs());
  for (const [role, child] of others) roles.set(role, child);
  for (const [role, one] of rest) reached.set(role, one);
  await sleep(SETTLE_MS);

  const after = await memoryOfAll(roles, server.pid);
  return [...after].map(([role, { rssMib, peakMib }]) => ({
    role,
    empty_mib: before.get(role)?.rssMib ?? null,
    rss_mib: rssMib,
    peak_mib: peakMib,
    events,
    ...(reached.get(role as Role) ?? { handled: null, level_after_s: null }),
  }));
}

async function startRoles(
  lab: Lab,
  NATS_URL: string,
  roles: readonly Role[],
): Promise<Map<Role, Child>> {
  const env = {
    NATS_URL,
    IRONCLAW_STATE: await lab.folder(),
    IRONCLAW_PORT: '0',
    MILESTONE_SIGNING_SECRET: BENCH_SECRET,
  };
  const start = async (role: Role) =>
    [role, await lab.child('role.ts', { ...env, ROLES: role })] as const;
  return new Map(await Promise.all(roles.map(start)));
}

type Memory = { rssMib: number; peakMib: number };

async function memoryOfAll(
  roles: ReadonlyMap<Role, Child>,
  brokerPid: number,
): Promise<Map<string, Memory>> {
  const all = new Map<string, Memory>();
  for (const [role, { pid }] of roles) all.set(role, await memoryOf(pid));
  return all.set('nats-server', await memoryOf(brokerPid));
}

type Reached = Pick<MemoryRow, 'handled' | 'level_after_s'>;

/** Waits until every role that follows the ledger is level with it, or the time is over. */
async function waitUntilLevel(
  broker: Broker,
  roles: ReadonlyMap<Role, Child>,
  events: number,
  waitMs: number,
): Promise<Map<Role, Reached>> {
  const client = createClient(broker, { logger: pino({ level: 'silent' }) });
  const startedAt = performance.now();
  const reached = new Map<Role, Reached>();
  for (;;) {
    for (const role of roles.keys()) {
      if (typeof reached.get(role)?.level_after_s === 'number') continue;
      const handled = await handledBy(broker, client, role, events);
      if (handled === null) continue;
      const level_after_s = handled >= events ? seconds(startedAt) : null;
      reached.set(role, { handled, level_after_s });
    }
    const level = [...reached.values()].every((one) => one.level_after_s !== null);
    if (level || performance.now() - startedAt > waitMs) return reached;
    await sleep(POLL_MS);
  }
}

/** How many of the first `events` events a role has worked through; null: it follows none. */
async function handledBy(
  broker: Broker,
  client: ServiceClient,
  role: Role,
  events: number,
): Promise<number | null> {
  if (role === 'ledger') {
    const { views } = await client.call(API.ledger.views, {});
    return Math.min(events, ...views.map(({ seq }) => seq));
  }
  const durable = DURABLE[role];
  if (durable === undefined) return null;
  try {
    const info = await broker.jsm.consumers.info(LEDGER_STREAM, durable);
    return Math.min(events, info.ack_floor.stream_seq);
  } catch (error) {
    // The role has not made it yet.
    if (error instanceof JetStreamApiError) return 0;
    throw error;
  }
}

/** Resident now and at most, as the kernel counts it. */
async function memoryOf(pid: number): Promise<Memory> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  const kib = (name: string): number => {
    const found = new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1];
    if (found === undefined) throw new Error(`no ${name} for process ${pid}`);
    return Number(found);
  };
  return { rssMib: kib('VmRSS') / KIB_A_MIB, peakMib: kib('VmHWM') / KIB_A_MIB };
}

function seconds(startedAt: number): number {
  return (performance.now() - startedAt) / 1_000;
}
