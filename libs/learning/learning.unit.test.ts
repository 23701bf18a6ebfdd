import type { PolicyDocument, ProfileSettings, StoredEvent } from '#libs/contracts';
import { policyDocument } from '#libs/contracts';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  countCells,
  diffPolicies,
  EMPTY_POLICY,
  evolvePolicy,
  learn,
  type Learned,
  type Outcome,
  percentile,
  routeOrder,
  scoreOf,
} from './mod.ts';

let seq = 0;
const outcome = (more: Partial<Outcome> = {}): Outcome => {
  seq += 1;
  const base = { profile: 'a', model: 'm', task_type: 'draft', attempts: 1, completed: true };
  return { ...base, corrected: false, duration_ms: 100, cost_micro_usd: 5, seq, ...more };
};
/** `completed` of `orders` orders of a profile. */
const orders = (profile: string, completed: number, n: number, more: Partial<Outcome> = {}) =>
  Array.from({ length: n }, (_, i) => outcome({ profile, completed: i < completed, ...more }));
const learned = (outcomes: Outcome[], previous: PolicyDocument | null = null): Learned =>
  learn({ ...countCells(outcomes), theaterId: 't', previous, exploration: 0.1 });

const outcomes = fc.array(
  fc.record({
    profile: fc.constantFrom('a', 'b', 'c'),
    model: fc.constantFrom('m', 'n'),
    task_type: fc.constantFrom('draft', 'verify'),
    attempts: fc.integer({ min: 1, max: 4 }),
    completed: fc.boolean(),
    corrected: fc.boolean(),
    duration_ms: fc.option(fc.nat(10_000)),
    cost_micro_usd: fc.nat(1_000),
  }),
  { maxLength: 60 },
);
const numbered = (list: Omit<Outcome, 'seq'>[]): Outcome[] =>
  list.map((one, i) => ({ ...one, seq: i + 1 }));

describe('score', () => {
  test('lies below the rate, more so with few cases', () => {
    expect(scoreOf(0, 0)).toBe(0);
    expect(scoreOf(9, 10)).toBeCloseTo(0.7175, 4);
    expect(scoreOf(90, 100)).toBeGreaterThan(scoreOf(9, 10));
    expect(scoreOf(1, 1)).toBeLessThan(scoreOf(9, 10));
  });

  test('another success never lowers it, another failure never raises it', () => {
    fc.assert(
      fc.property(fc.nat(500), fc.nat(500), (good, bad) => {
        const score = scoreOf(good, good + bad);
        expect(scoreOf(good + 1, good + bad + 1)).toBeGreaterThanOrEqual(score);
        expect(scoreOf(good, good + bad + 1)).toBeLessThanOrEqual(score);
        expect(score).toBeGreaterThanOrEqual(0);
        expect(score).toBeLessThanOrEqual(good / Math.max(1, good + bad));
      }),
    );
  });
});

test('percentiles are values that occurred', () => {
  expect(percentile([], 0.5)).toBe(0);
  const values = [10, 20, 30, 40, 50, 60, 70, 80, 90, 100];
  expect([0.5, 0.9, 0.99].map((share) => percentile(values, share))).toEqual([50, 90, 100]);
});

describe('counting', () => {
  test('gives rates, latency, retries and cost of each profile and type of task', () => {
    const list = [
      outcome({ attempts: 3, duration_ms: 300 }),
      outcome({ completed: false, duration_ms: null }),
      outcome({ corrected: true, duration_ms: 100 }),
      outcome({ task_type: 'verify' }),
    ];
    const { cells, window } = countCells(list);
    expect(cells).toHaveLength(2);
    expect(cells[0]).toMatchObject({
      profile: 'a',
      task_type: 'draft',
      orders: 3,
      attempts: 5,
      completed: 2,
      failed: 1,
      corrected: 1,
      success_rate: 0.3333,
      retries: 2,
      latency_ms: { p50: 100, p90: 300, p99: 300 },
      cost_micro_usd: 15,
    });
    expect(window).toEqual({ from_seq: list[0]?.seq, to_seq: list[3]?.seq });
    expect(countCells([])).toEqual({ cells: [], window: null });
  });

  test('does not depend on the order of the outcomes, and every order is counted once', () => {
    fc.assert(
      fc.property(
        outcomes.chain((list) => {
          const all = numbered(list);
          return fc.tuple(fc.constant(all), fc.shuffledSubarray(all, { minLength: all.length }));
        }),
        ([list, shuffled]) => {
          const counted = countCells(list);
          expect(countCells(shuffled)).toEqual(counted);
          const total = counted.cells.reduce((sum, { orders }) => sum + orders, 0);
          expect(total).toBe(list.length);
        },
      ),
    );
  });
});

describe('learning', () => {
  test('prefers the profile that does clearly better, and says why with the numbers', () => {
    const { document, changed, reason } = learned([...orders('a', 9, 10), ...orders('b', 2, 10)]);
    expect(changed).toBe(true);
    expect(document).toMatchObject({ version: 1, previous_version: null, theater_id: 't' });
    expect(document?.routes.draft).toMatchObject({ profile: 'a', model: 'm' });
    expect(reason).toMatch(/draft: a completed 9 of 10 .*b completed 2 of 10 .*a is preferred/);
    expect(policyDocument.parse(document)).toEqual(document);
  });

  test('without orders there is nothing; with few or no clear difference no route', () => {
    expect(learned([])).toEqual({
      document: null,
      changed: false,
      reason: 'no order has ended yet',
    });
    const none = [
      [...orders('a', 4, 4), ...orders('b', 0, 4)],
      [...orders('a', 9, 10), ...orders('b', 9, 10)],
      orders('a', 10, 10),
    ];
    for (const list of none) {
      expect(learned(list)).toMatchObject({ changed: true, document: { routes: {} } });
    }
    const five = [...orders('a', 5, 5), ...orders('b', 0, 5)];
    expect(learned(five).document?.routes.draft?.profile).toBe('a');
  });

  test('the same window, or an earlier one, makes no new version', () => {
    const list = [...orders('a', 9, 10), ...orders('b', 2, 10)];
    const { document } = learned(list);
    expect(learned(list, document)).toMatchObject({ document, changed: false });
    expect(learned(list.slice(0, 15), document)).toMatchObject({ document, changed: false });
    const more = learned([...list, outcome()], document);
    expect(more).toMatchObject({ changed: true, document: { version: 2, previous_version: 1 } });
  });

  test('a correction lowers the score; enough of them turn the route', () => {
    const list = [...orders('a', 9, 10), ...orders('b', 7, 10)];
    const before = learned(list).document;
    const scoreIn = (document: PolicyDocument | null | undefined, name: string) =>
      document?.cells.find(({ profile }) => profile === name)?.score ?? Number.NaN;
    expect(before?.routes.draft?.profile).toBe('a');
    const judged = (n: number) =>
      list.map((one, i) => (i < n ? { ...one, corrected: true, seq: 10_000 + i } : one));
    expect(scoreIn(learned(judged(1)).document, 'a')).toBeLessThan(scoreIn(before, 'a'));
    expect(learned(judged(6), before).document?.routes.draft?.profile).toBe('b');
  });

  test('where the difference is gone the route stays; where the profile is gone it goes', () => {
    const { document } = learned([...orders('a', 9, 10), ...orders('b', 2, 10)]);
    const level = learned([...orders('a', 8, 10), ...orders('b', 8, 10)], document).document;
    expect(level?.routes.draft).toMatchObject({
      profile: 'a',
      reason: expect.stringMatching(/stays/),
    });
    const gone = learned([...orders('b', 8, 10), ...orders('c', 8, 10)], document).document;
    expect(gone?.routes).toEqual({});
  });

  test('is the same every time, whatever the order; more successes never unseat the best', () => {
    fc.assert(
      fc.property(outcomes, (given) => {
        const list = numbered(given);
        const once = learned(list);
        expect(learned(list.toReversed())).toEqual(once);
        for (const [type, { profile }] of Object.entries(once.document?.routes ?? {})) {
          const more = outcome({ profile, task_type: type, seq: 1_000 });
          const after = learned([...list, more], once.document).document;
          expect(after?.routes[type]?.profile).toBe(profile);
        }
      }),
    );
  });
});

describe('routing', () => {
  const settings = (task_types: string[] = [], model = 'default'): ProfileSettings => ({
    model,
    task_types,
  });
  const profiles = {
    plain: settings(),
    x: settings(['draft'], 'mx'),
    y: settings(['draft'], 'my'),
  };
  const policy = learned([...orders('x', 9, 10), ...orders('y', 2, 10)]).document;
  const route = (orderId: string, more: object = {}) =>
    routeOrder({
      orderId,
      taskType: 'draft',
      wanted: 'y',
      pinned: false,
      policy,
      profiles,
      exploration: 0.1,
      ...more,
    });
  const many = (more: object = {}) =>
    Array.from({ length: 2_000 }, (_, i) => route(`order_${i}`, more));

  test('follows the policy, and explores the share that it names', () => {
    const routed = many();
    const explored = routed.filter(({ routing }) => routing.explored);
    expect(explored.length / routed.length).toBeGreaterThan(0.07);
    expect(explored.length / routed.length).toBeLessThan(0.13);
    for (const { profile, routing } of routed) {
      expect(profile).toEqual(
        routing.explored ? { name: 'y', model: 'my' } : { name: 'x', model: 'mx' },
      );
      expect(routing).toMatchObject({ profile: profile.name, policy_version: 1 });
    }
    expect(route('order_1')).toEqual(route('order_1'));
  });

  test('a pinned step keeps its profile; another type of task is not touched', () => {
    for (const { profile, routing } of many({ pinned: true })) {
      expect(profile).toEqual({ name: 'y', model: 'my' });
      expect(routing).toMatchObject({ policy_version: null, explored: false });
    }
    const other = many({ taskType: 'verify', wanted: 'plain' });
    expect(other.every(({ profile }) => profile.name === 'plain')).toBe(true);
  });

  test('without a policy the plan is followed, but for exploration among configured profiles', () => {
    const names = (list: ReturnType<typeof many>) =>
      new Set(list.map(({ profile }) => profile.name));
    expect(names(many({ policy: null, exploration: 0 }))).toEqual(new Set(['y']));
    expect(names(many({ policy: null }))).toEqual(new Set(['x', 'y']));
    expect(names(many({ policy: null, profiles: {}, wanted: 'z' }))).toEqual(new Set(['z']));
  });

  test('a profile that is not configured asks the model it was measured with', () => {
    const routed = many({ profiles: {} }).map(({ profile }) => profile);
    expect(new Set(routed.map(({ model }) => model))).toEqual(new Set(['m']));
  });
});

describe('policy history', () => {
  const ref = { sha256: 'a'.repeat(64), bytes: 1 };
  const window = { from_seq: 1, to_seq: 2 };
  const event = (at: number, payload: object) =>
    ({ type: 'POLICY_UPDATED', seq: at, ts: `t${at}`, payload }) as StoredEvent;
  const version = (at: number, n: number | string, more: object = {}) =>
    event(at, { policy_version: n, document: ref, window, reason: `r${n}`, ...more });
  const fold = (...events: StoredEvent[]) => events.reduce(evolvePolicy, EMPTY_POLICY);
  const numbers = (...events: StoredEvent[]) => fold(...events).versions.map((v) => v.version);

  test('versions follow one another; what does not follow changes nothing', () => {
    expect(numbers(version(1, 1), version(2, 2))).toEqual([1, 2]);
    expect(numbers(version(1, 1), version(2, 3), version(3, 'x'), version(4, 1))).toEqual([1]);
    expect(numbers(version(1, 2))).toEqual([]);
    expect(numbers(event(1, { policy_version: 1 }))).toEqual([]);
    expect(fold(version(2, 1), version(1, 2)).versions).toHaveLength(1);
  });

  test('the last version told again pins or unpins it; a new one is not pinned', () => {
    const pinned = fold(version(1, 1), version(2, 1, { pinned: true }));
    expect(pinned).toMatchObject({ pinned: true, seq: 2 });
    expect(evolvePolicy(pinned, version(3, 1, { pinned: false })).pinned).toBe(false);
    expect(evolvePolicy(pinned, version(3, 2)).pinned).toBe(false);
    expect(evolvePolicy(pinned, version(3, 2, { pinned: true })).pinned).toBe(true);
  });

  test('the newest thousand are kept', () => {
    const events = Array.from({ length: 1_001 }, (_, i) => version(i + 1, i + 1));
    const { versions } = fold(...events);
    expect([versions.length, versions[0]?.version]).toEqual([1_000, 2]);
  });
});

test('a diff names what changed, by path', () => {
  const one = learned([...orders('a', 9, 10), ...orders('b', 2, 10)]).document as PolicyDocument;
  const list = [...orders('a', 2, 10), ...orders('b', 9, 10)];
  const two = learned(list, one).document as PolicyDocument;
  expect(diffPolicies(one, one)).toEqual([]);
  const changes = diffPolicies(one, two);
  expect(changes).toContainEqual({ path: 'routes.draft.profile', before: 'a', after: 'b' });
  expect(changes).toContainEqual({ path: 'cells.draft.a.completed', before: 9, after: 2 });
});
