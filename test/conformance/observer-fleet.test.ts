import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { expect, test } from 'vitest';
import { serve } from './host.ts';
import { startSystem, type System } from './harness.ts';
import { openTheater, openWorktree, write } from './theaters.ts';
import { complete, eventsAbout, MINUTE, patrol, running, untilTold } from './watched.ts';

const startFleet = (period: Record<string, string>): Promise<System> =>
  startSystem({ roles: ['ledger', 'vault'], separateProcesses: ['observer'], env: period });

test('8.40 to 8.42 of three observers each tells a cause once, by endpoint and by timer', async () => {
  const period = { IRONCLAW_PATROL_MS: '1000' };
  await using system = await startFleet(period);
  const env = {
    ...period,
    IRONCLAW_PORT: '0',
    IRONCLAW_STATE: system.stateDir,
    IRONCLAW_GARRISON: 'test',
    NATS_URL: system.testBroker.url,
  };
  const others = [await serve(['observer'], env), await serve(['observer'], env)];
  const urls = [system.url('observer'), ...others.map(({ http }) => http?.url ?? '')];
  try {
    const theater = await openTheater(system);
    const hung: string[] = [];
    for (let i = 0; i < 5; i += 1) hung.push(await running(system, theater, 31 * MINUTE));
    const good = await openWorktree(system, theater);
    const bad = await openWorktree(system, theater);
    await mkdir(path.join(path.dirname(good.tree), 'stray'));
    await complete(system, good, { 'outputs/a.md': 'a' });
    await complete(system, bad, { 'outputs/a.md': 'a' }, () => write(bad.tree, { b: 'b' }));
    const ask = async (url: string): Promise<void> => {
      const where = `${url}/theaters/${theater.theater_id}/patrol`;
      expect((await fetch(where, { method: 'POST' })).status).toBe(200);
    };
    await Promise.all([...urls, ...urls, ...urls].map(ask));
    // The timer goes on without anybody asking.
    const late = await running(system, theater, 31 * MINUTE);
    await untilTold(system, late, 'RECOVERY_REQUIRED');
    await Promise.all(urls.map(ask));
    for (const order_id of [...hung, late, bad.order_id]) {
      expect(await eventsAbout(system, order_id, 'RECOVERY_REQUIRED')).toHaveLength(1);
      expect(await eventsAbout(system, order_id, 'ESCALATION_RAISED')).toHaveLength(1);
    }
    expect(await eventsAbout(system, good.order_id, 'INTEGRATION_READY')).toHaveLength(1);
    const raised = (await system.eventsOf({ theater_id: theater.theater_id })).filter(
      ({ type, order_id }) => type === 'ESCALATION_RAISED' && order_id === null,
    );
    expect(raised).toHaveLength(1);
  } finally {
    for (const other of others) await other.close();
  }
});

test('8.41 what completes while the observer is dead is judged when it is back, once', async () => {
  await using system = await startFleet({ IRONCLAW_PATROL_MS: String(60 * MINUTE) });
  const observer = system.process('observer');
  const theater = await openTheater(system);
  const hung = await running(system, theater, 31 * MINUTE);
  expect((await patrol(system, 'http', theater)).findings).toMatchObject([{ known: false }]);
  await observer.kill();
  const worktree = await openWorktree(system, theater);
  await complete(system, worktree, { 'outputs/a.md': 'a' });
  await observer.restart();
  await untilTold(system, worktree.order_id, 'INTEGRATION_READY');
  const { findings } = await patrol(system, 'http', theater);
  expect(findings).toMatchObject([{ kind: 'stalled', order_id: hung, known: true }]);
  expect(await eventsAbout(system, worktree.order_id, 'INTEGRATION_READY')).toHaveLength(1);
  expect(await eventsAbout(system, hung, 'RECOVERY_REQUIRED')).toHaveLength(1);
});
