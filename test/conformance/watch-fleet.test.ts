import { setTimeout as sleep } from 'node:timers/promises';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { expect, test } from 'vitest';
import type { Role } from '#libs/contracts';
import { waitFor } from '#libs/testing';
import { startSystem, type System } from './harness.ts';
import { serve } from './host.ts';
import * as theaters from './theaters.ts';
import { type Data, ok } from './wire.ts';

const PERIOD_MS = 1_000;
const ENV = {
  IRONCLAW_PATROL_MS: String(PERIOD_MS),
  IRONCLAW_AUDIT_MS: String(PERIOD_MS),
  IRONCLAW_JOB_LEASE_MS: '1000',
  IRONCLAW_OVERDUE_GRACE_MS: '0',
};

/** Further instances of roles, each with a connection of its own. */
async function startMore(system: System, roles: readonly Role[], count: number) {
  const env = {
    ...ENV,
    PATH: process.env.PATH ?? '',
    IRONCLAW_PORT: '0',
    IRONCLAW_STATE: system.stateDir,
    IRONCLAW_GARRISON: 'test',
    NATS_URL: system.testBroker.url,
  };
  const hosts = await Promise.all(Array.from({ length: count }, () => serve(roles, env)));
  const closeAll = async (): Promise<void> => {
    await Promise.all(hosts.splice(0).map((host) => host.close()));
  };
  return { closeAll, [Symbol.asyncDispose]: closeAll };
}

const ofType = async (system: System, type: string): Promise<Data[]> =>
  (await system.eventsOf({})).filter((event) => event.type === type);

test('three duty officers and three sentinels: one tick a period, one reissue, no alarm', async () => {
  await using system = await startSystem({ roles: ['ledger', 'vault'], env: ENV });
  const opened = await theaters.openWorktree(system, await theaters.openTheater(system));
  const { theater_id, order_id, tree } = opened;
  const constraints = { budget_seconds: 1, max_retries: 1 };
  const order = theaters.orderOf(opened, { constraints });
  ok(await system.call('http', 'vault.prepare-worktree', { order_id, order }));
  await writeFile(path.join(tree, 'half.txt'), 'half');
  await using _fleet = await startMore(system, ['duty-officer', 'sentinel'], 3);
  const place = { theater_id, order_id };
  const created = { ...place, type: 'ORDER_CREATED', payload: { constraints } };
  ok(await system.call('http', 'ledger.append', created));
  ok(await system.call('http', 'ledger.append', { ...place, type: 'ORDER_STARTED' }));
  await waitFor(async () => (await ofType(system, 'ORDER_REISSUED')).length > 0, {
    timeoutMs: 15_000,
  });
  await sleep(3 * PERIOD_MS);
  expect(await ofType(system, 'ORDER_REISSUED')).toHaveLength(1);
  expect(await ofType(system, 'WORKTREE_QUARANTINED')).toHaveLength(1);
  expect((await system.broker.jsm.streams.info('JOBS')).state.messages).toBe(1);
  expect(await ofType(system, 'ESCALATION_RAISED')).toEqual([]);
  const ticks = (await ofType(system, 'PATROL_TICK')).map(
    ({ payload }) => payload.period as number,
  );
  expect(new Set(ticks).size).toBe(ticks.length);
  expect(ticks.length).toBeGreaterThan(4);
  expect(ticks.every((period) => period % PERIOD_MS === 0)).toBe(true);
});

test('a fleet that dies is told of once; the one that follows ticks on', async () => {
  await using system = await startSystem({ roles: ['ledger'], env: ENV });
  await using officers = await startMore(system, ['duty-officer'], 2);
  await waitFor(async () => (await ofType(system, 'PATROL_TICK')).length > 0, {
    timeoutMs: 15_000,
  });
  await using _sentinels = await startMore(system, ['sentinel'], 3);
  await officers.closeAll();
  const before = (await ofType(system, 'PATROL_TICK')).length;
  await waitFor(async () => (await ofType(system, 'ESCALATION_RAISED')).length > 0, {
    timeoutMs: 20_000,
  });
  await sleep(3 * PERIOD_MS);
  const [raised, ...more] = await ofType(system, 'ESCALATION_RAISED');
  expect(raised?.payload).toMatchObject({ severity: 'CRITICAL', route: 'operator' });
  expect(more).toEqual([]);
  expect(await ofType(system, 'PATROL_TICK')).toHaveLength(before);
  await using _standby = await startMore(system, ['duty-officer'], 1);
  await waitFor(async () => (await ofType(system, 'PATROL_TICK')).length > before + 1, {
    timeoutMs: 15_000,
  });
});
