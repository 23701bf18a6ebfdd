import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { JetStreamApiError } from '@nats-io/jetstream';
import { pino } from 'pino';
import type { Broker } from '#libs/broker';
import { API, type Role, ROLES } from '#libs/contracts';
import { LEDGER_STREAM } from '#libs/eventlog';
import { createClient, type ServiceClient } from '#libs/service';
import type { Child } from '../child.ts';
import { openLab } from '../lab.ts';
import type { MemoryRow } from '../report.ts';
import { fillLedger } from './fill.ts';
import type { Plan } from './plan.ts';

/** Durable consumers by which roles follow the ledger. */
const DURABLE: Partial<Record<Role, string>> = { co: 'co', integration: 'integration' };
const POLL_MS = 250;
/** After the last work, for what is let go of late. */
const SETTLE_MS = 1_000;
const KIB_A_MIB = 1_024;

/** Resident memory of each role, each a process of its own, after many events. */
export async function benchMemory(plan: Plan, say: (text: string) => void): Promise<MemoryRow[]> {
  await using lab = openLab(plan.sync);
  const empty = await lab.broker();
  const idle = await startRoles(empty.url);
  await sleep(SETTLE_MS);
  const emptyMib = new Map<Role, number>();
  for (const [role, { pid }] of idle) emptyMib.set(role, (await memoryOf(pid)).rssMib);
  await Promise.all([...idle.values()].map((child) => child.close()));

  const server = await lab.broker();
  const broker = await server.connect();
  const startedAt = performance.now();
  const events = await fillLedger(broker, plan.memoryEvents);
  say(`${events} events stored after ${seconds(startedAt).toFixed(1)} s`);
  const roles = await startRoles(server.url);
  const rows = await waitUntilLevel(broker, roles, events, plan.memoryWaitMs);
  await sleep(SETTLE_MS);
  const measured: MemoryRow[] = [];
  for (const [role, child] of roles) {
    const { rssMib, peakMib } = await memoryOf(child.pid);
    const reached = rows.get(role) ?? { handled: null, level_after_s: null };
    const empty_mib = emptyMib.get(role) ?? null;
    measured.push({ role, empty_mib, rss_mib: rssMib, peak_mib: peakMib, events, ...reached });
  }
  const { rssMib, peakMib } = await memoryOf(server.pid);
  measured.push({
    role: 'nats-server',
    empty_mib: (await memoryOf(empty.pid)).rssMib,
    rss_mib: rssMib,
    peak_mib: peakMib,
    handled: null,
    events,
    level_after_s: null,
  });
  return measured;

  async function startRoles(NATS_URL: string): Promise<Map<Role, Child>> {
    const IRONCLAW_STATE = await lab.folder();
    const env = { NATS_URL, IRONCLAW_STATE, IRONCLAW_PORT: '0' };
    const children = new Map<Role, Child>();
    for (const role of ROLES) {
      children.set(role, await lab.child('role.ts', { ...env, ROLES: role }));
    }
    return children;
  }
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
async function memoryOf(pid: number): Promise<{ rssMib: number; peakMib: number }> {
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
