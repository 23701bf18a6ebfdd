import { randomInt } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { freemem, tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Role, StoredEvent } from '#libs/contracts';
import { readFrom } from '#libs/eventlog';
import { startTestBroker, type TestBroker, waitFor } from '#libs/testing';
import { STREAMS } from '#streams';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { START_ORDER } from '../../apps/cli/roles.ts';
import { callHttp, type Data, ok } from '../conformance/wire.ts';
import { type Served, serveAlone } from './fleet.ts';

// Issue B 10: three processes of every role, each `ironclaw serve <role>` alone, and one of each killed.

const EACH = 3;
const CHATS_EACH = 2;
const CHATS = CHATS_EACH * START_ORDER.length;
const PATROL_MS = 2_000;
const TIMER_LEASE_MS = 30_000;
const STARTED_AT_ONCE = 4;
const PROCESS_MB = 120;

const neededMb = START_ORDER.length * EACH * PROCESS_MB;
const freeMb = Math.floor(freemem() / 2 ** 20);
const reason = freeMb < neededMb ? `${neededMb} MiB are needed, ${freeMb} are free` : undefined;
test.runIf(reason !== undefined)('three of each role', ({ skip }) => skip(reason));

describe.skipIf(reason !== undefined)('three of each role', () => {
  let stateDir: string;
  let broker: TestBroker;
  const fleet: Served[] = [];

  beforeAll(async () => {
    stateDir = await mkdtemp(path.join(tmpdir(), 'ironclaw-fleet-'));
    broker = await startTestBroker({ streams: STREAMS });
    // In the order of need: a role finds those that it calls.
    const wanted = START_ORDER.flatMap((role) =>
      Array.from({ length: EACH }, (_, i) => ({ role, i })),
    );
    while (wanted.length > 0) {
      const next = wanted.splice(0, STARTED_AT_ONCE);
      fleet.push(
        ...(await Promise.all(next.map(({ role, i }) => serveAlone(role, envOf(role, i))))),
      );
    }
  }, 240_000);

  afterAll(async () => {
    await Promise.all(fleet.map((served) => served[Symbol.asyncDispose]()));
    await broker?.[Symbol.asyncDispose]();
    await rm(stateDir, { recursive: true, force: true, maxRetries: 3 });
  }, 60_000);

  function envOf(role: Role, index: number): Record<string, string> {
    return {
      PATH: process.env.PATH ?? '',
      NATS_URL: broker.url,
      MILESTONE_SIGNING_SECRET: 'a secret of the fleet',
      IRONCLAW_PORT: '0',
      // Each ledger has views of its own; theaters are shared.
      IRONCLAW_STATE: role === 'ledger' ? path.join(stateDir, `ledger-${index}`) : stateDir,
      IRONCLAW_PATROL_MS: String(PATROL_MS),
      IRONCLAW_AUDIT_MS: String(PATROL_MS),
      IRONCLAW_LEARN_MS: String(PATROL_MS),
      IRONCLAW_JOB_LEASE_MS: '3000',
    };
  }

  test('chats end well though one of each role is killed: nothing lost, nothing done twice', async () => {
    const gateways = fleet.filter(({ role }) => role === 'gateway');
    const victims = START_ORDER.map((role) => {
      const same = fleet.filter((served) => served.role === role);
      // The chats go through the first gateway.
      return same[role === 'gateway' ? randomInt(1, EACH) : randomInt(EACH)] as Served;
    });
    const gateway = gateways[0] as Served;
    const asked: Promise<Data>[] = [];
    for (const victim of victims) {
      // Whatever the speed of the machine, each is killed while chats are on their way.
      for (let i = 0; i < CHATS_EACH; i += 1) asked.push(chat(gateway.url, asked.length));
      await sleep(randomInt(100, 700));
      await victim.kill();
    }
    const runs = await Promise.all(asked);
    await sleep(2 * PATROL_MS);

    const connection = await broker.connect();
    const events: StoredEvent[] = [];
    for await (const page of readFrom(connection, 'led.v1.>', 1)) events.push(...page);
    const ofType = (type: string) => events.filter((event) => event.type === type);

    expect(new Set(runs.map(({ run_id }) => run_id)).size).toBe(CHATS);
    expect(new Set(events.map(({ event_id }) => event_id)).size).toBe(events.length);
    for (const type of ['RUN_CREATED', 'RUN_COMPLETED']) {
      const told = ofType(type).map(({ run_id }) => run_id);
      expect(told, type).toHaveLength(CHATS);
      expect(new Set(told), type).toEqual(new Set(runs.map(({ run_id }) => run_id)));
    }
    for (const type of ['ORDER_CREATED', 'ORDER_COMPLETED', 'INTEGRATED']) {
      const orders = ofType(type).map(({ order_id }) => order_id);
      expect(orders, type).toHaveLength(CHATS);
      expect(new Set(orders).size, type).toBe(CHATS);
    }
    // A tick that a sentinel asked for, as it does where the timer is late, is of no period.
    const periods = ofType('PATROL_TICK').flatMap(({ payload }) => {
      const { period } = payload as Data;
      return period === undefined ? [] : [period as number];
    });
    // Never two in one period, however many duty officers there are; and when the one that had the
    // timer in hand dies, the others go on once its lease has ended.
    expect(new Set(periods).size).toBe(periods.length);
    const gaps = periods.slice(1).map((period, i) => period - (periods[i] as number));
    expect(Math.max(...gaps)).toBeLessThanOrEqual(TIMER_LEASE_MS + 2 * PATROL_MS);
    expect(periods.length).toBeGreaterThan(2);
  }, 240_000);
});

/** One chat, asked again with its request_id until the run has ended. */
async function chat(url: string, index: number): Promise<Data> {
  const input = {
    message: `Summarize note ${index}: the relay failed at 06:4${index % 10}. Ana will replace it.`,
    request_id: `fleet-${index}`,
    wait_ms: 5_000,
  };
  return waitFor(
    async () => {
      const answer = ok(await callHttp(url, 'gateway.chat', input, {}));
      expect(answer.status).toBe('COMPLETE');
      return answer;
    },
    { timeoutMs: 150_000, intervalMs: 300 },
  );
}
