import { expect, test } from 'vitest';
import { SMALL_FLEET } from './fleet.ts';
import { formatReport } from './report.ts';
import { planChaos } from './schedule.ts';
import { soak } from './soak.ts';

// The command `npm run chaos` does this for as long as one likes, and with more processes.

test('8.54 chats with model failures while processes and the broker are killed: every run ends, ' +
  'every order has one end, nothing is lost or done twice', { timeout: 420_000 }, async () => {
  const plan = planChaos({ seed: 54, minutes: 1, chatsPerMinute: 60, fleet: SMALL_FLEET });
  const soaked = await soak({
    plan,
    sync: '2m',
    settleMs: 180_000,
    keep: false,
    say: () => undefined,
  });
  const { summary, violations } = soaked;
  const report = formatReport(soaked);
  expect(violations, report).toEqual([]);
  expect(summary.chats).toMatchObject({ sent: 60, acknowledged: 60 });
  // It was a soak: things were killed, units were fenced or their orders given to others.
  expect(summary.faults.kill, report).toBeGreaterThanOrEqual(5);
  expect(summary.faults['kill-broker'], report).toBeGreaterThanOrEqual(1);
  expect(summary.runs.COMPLETE, report).toBeGreaterThanOrEqual(40);
});
