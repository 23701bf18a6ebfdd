import { expect, test } from 'vitest';
import { FULL_FLEET, SMALL_FLEET } from './fleet.ts';
import { readOptions, UsageError } from './options.ts';
import { formatPlan, planChaos } from './schedule.ts';

const options = { seed: 7, minutes: 10, chatsPerMinute: 30, fleet: FULL_FLEET };

test('the same seed gives the same schedule, another seed another', () => {
  const plan = formatPlan(planChaos(options));
  expect(formatPlan(planChaos({ ...options }))).toBe(plan);
  expect(formatPlan(planChaos({ ...options, seed: 8 }))).not.toBe(plan);
});

test('a schedule is the same on every machine and in every version', () => {
  // Changes only where the planner is changed on purpose.
  const plan = formatPlan(planChaos({ ...options, minutes: 1, fleet: SMALL_FLEET }));
  expect(plan.split('\n').at(-1)).toMatchInlineSnapshot(
    `"168 actions, sha256 78f1cfabc8f507373d0655d434a8e4f917ce3abbacfefc5b34420de6346cc35f"`,
  );
});

test.each([1, 2, 3])('in ten minutes of seed %i everything is done to everybody', (seed) => {
  const { actions, durationMs } = planChaos({ ...options, seed });
  const kinds = Map.groupBy(actions, (action) => action.do);
  expect([...kinds.keys()].sort()).toEqual([
    'append',
    'cancel',
    'chat',
    'cut',
    'delay',
    'deliver',
    'intake',
    'kill',
    'kill-broker',
    'pause',
    'rebuild-views',
    'restart',
    'siege',
    'slow-disk',
  ]);
  expect(kinds.get('chat')).toHaveLength(300);
  expect(kinds.get('kill-broker')?.length).toBeGreaterThanOrEqual(10);
  const killed = actions.flatMap((action) => (action.do === 'kill' ? [action.member] : []));
  for (const { name } of FULL_FLEET) {
    expect(killed.filter((one) => one === name).length, name).toBeGreaterThanOrEqual(3);
  }
  const faults = actions.filter(({ do: deed }) => deed !== 'cancel');
  expect(faults.every(({ atMs }) => atMs >= 0 && atMs < durationMs)).toBe(true);
});

test('the one minute of seed 71, which CI runs, kills every process of the small fleet', () => {
  const { actions } = planChaos({ seed: 71, minutes: 1, chatsPerMinute: 200, fleet: SMALL_FLEET });
  const killed = actions.flatMap((action) => (action.do === 'kill' ? [action.member] : []));
  expect([...new Set(killed)].sort()).toEqual(SMALL_FLEET.map(({ name }) => name).sort());
});

test('chats are sent more than once with one id, and facts too', () => {
  const { actions } = planChaos(options);
  const copied = actions.filter((action) => 'copies' in action && action.copies > 1);
  expect(copied.map((action) => action.do)).toEqual(
    expect.arrayContaining(['chat', 'append', 'intake']),
  );
});

test('milestones are delivered once and twice, by both ways, rightly signed and forged', () => {
  const { actions } = planChaos(options);
  const deliveries = actions.filter((action) => action.do === 'deliver');
  for (const way of ['http', 'queue']) {
    for (const forged of [true, false]) {
      for (const copies of [1, 2]) {
        expect(deliveries).toContainEqual(expect.objectContaining({ way, forged, copies }));
      }
    }
  }
});

test('a wrong command line is told', () => {
  expect(readOptions(['--help'])).toBe('help');
  expect(readOptions([])).toMatchObject({ seed: 1, minutes: 1, fleet: 'full' });
  for (const wrong of [['--seed', 'x'], ['--minutes', '0'], ['--fleet', 'some'], ['--nothing']]) {
    expect(() => readOptions(wrong), wrong.join(' ')).toThrow(UsageError);
  }
});
