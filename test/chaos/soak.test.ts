import { expect, test } from 'vitest';
import { SMALL_FLEET } from './fleet.ts';
import { formatReport } from './report.ts';
import { planChaos } from './schedule.ts';
import { soak } from './soak.ts';

// The command `npm run chaos` does this for as long as one likes, and with more processes.

test('8.54 200 chats while models fail and processes die: all runs end, orders once, nothing lost', {
  timeout: 600_000,
}, async () => {
  // A seed whose one minute has everything: the broker's death, the death of every process, and all
  // workers at a standstill.
  const plan = planChaos({ seed: 71, minutes: 1, chatsPerMinute: 200, fleet: SMALL_FLEET });
  const soaked = await soak({
    plan,
    sync: '2m',
    settleMs: 300_000,
    keep: false,
    say: () => undefined,
  });
  const { summary, violations } = soaked;
  const report = formatReport(soaked);
  expect(violations, report).toEqual([]);
  expect(summary.chats, report).toMatchObject({ sent: 200, acknowledged: 200 });
  // It was a soak: things were killed, and orders were taken from units that fell silent.
  expect(summary.faults, report).toMatchObject({ 'kill-broker': 1, siege: 1 });
  expect(summary.faults.kill, report).toBeGreaterThanOrEqual(5);
  for (const role of ['worker', 'duty-officer', 'observer'] as const) {
    const names = SMALL_FLEET.flatMap(({ name, roles }) => (roles.includes(role) ? [name] : []));
    const killed = names.filter((name) => (summary.kills_by_process[name] ?? 0) > 0);
    expect(killed.length, `${role} was killed; ${report}`).toBeGreaterThanOrEqual(1);
  }
  for (const kind of ['status', 'truncated', 'disconnect']) {
    expect(summary.model_faults[kind], `models fail; ${report}`).toBeGreaterThanOrEqual(1);
  }
  expect(Object.keys(summary.retries).length, report).toBeGreaterThanOrEqual(1);
  expect(summary.deliveries, report).toMatchObject({
    '200 accepted': expect.any(Number),
    '200 duplicate': expect.any(Number),
    '401 rejected': expect.any(Number),
    queued: expect.any(Number),
  });
  // At least the beginning and the end of each run.
  expect(summary.feed.own, report).toBeGreaterThanOrEqual(400);
  expect(summary.runs.COMPLETE, report).toBeGreaterThanOrEqual(150);
});
