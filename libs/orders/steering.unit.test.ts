import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { arbitraryLedger, eventScript, when } from '#libs/testing';
import {
  ackRaised,
  capReasons,
  checkPlan,
  EMPTY_RUN,
  evolvePauses,
  evolveRaised,
  foldRun,
  giveDecision,
  nextForRun,
  NO_PAUSES,
  pausedBy,
  pauseRun,
  type PlannedStep,
  type RaisedEscalation,
  replanRun,
  resumeRun,
  runDeadlineMs,
  type RunRules,
  type SetPause,
  setPause,
} from './mod.ts';

const step = (key: string, depends_on: string[] = []): PlannedStep => ({
  key,
  type: 'draft',
  objective: `do ${key}`,
  profile: { name: 'executor_default', model: 'default' },
  constraints: { budget_seconds: 60, max_retries: 0 },
  depends_on,
  prompt: { system: 's', files: [], task: 'draft' },
  outputs: [{ path: `outputs/${key}.md`, type: 'text/markdown' }],
  inputs: [],
  gate_profile: 'default',
});
const RULES: RunRules = { held: false, replans: 1, retries: 20, ask: false };

describe('a plan is refused exactly where it must be', () => {
  const graph = fc
    .integer({ min: 1, max: 8 })
    .chain((n) =>
      fc.tuple(fc.constant(n), fc.array(fc.tuple(fc.nat(n - 1), fc.nat(n - 1)), { maxLength: 16 })),
    );
  const stepsFrom = (n: number, edges: [number, number][]) =>
    Array.from({ length: n }, (_, i) =>
      step(`s${i}`, [...new Set(edges.flatMap(([a, b]) => (a === i ? [`s${b}`] : [])))]),
    );

  test('a circle is found if and only if there is one; without one every step gets its turn', () => {
    fc.assert(
      fc.property(graph, ([n, edges]) => {
        const steps = stepsFrom(n, edges);
        const done = new Set<string>();
        for (let round = 0; round < n; round += 1) {
          for (const { key, depends_on } of steps) {
            if (depends_on.every((one) => done.has(one))) done.add(key);
          }
        }
        expect(checkPlan(steps, { reply: [] }) === null).toBe(done.size === n);
      }),
    );
  });

  test('the depth is the longest chain, in whatever sequence the steps stand', () => {
    fc.assert(
      fc.property(graph, fc.integer({ min: 1, max: 9 }), fc.nat(), ([n, edges], cap, turn) => {
        // Edges that lead down only: no circles.
        const steps = stepsFrom(
          n,
          edges.filter(([a, b]) => a > b),
        );
        const depth = (key: string): number => {
          const one = steps.find((s) => s.key === key);
          return 1 + Math.max(0, ...(one?.depends_on ?? []).map(depth));
        };
        const longest = Math.max(...steps.map(({ key }) => depth(key)));
        const turned = steps.map((_, i) => steps[(i + turn) % n] as PlannedStep);
        const reasons = capReasons(turned, { orders: 100, depth: cap });
        expect(reasons).toHaveLength(longest > cap ? 1 : 0);
      }),
    );
  });

  test('orders that the run has count; profiles only where they are given', () => {
    const caps = { orders: 3, depth: 3, profiles: ['other'] };
    expect(capReasons([step('a')], { ...caps, profiles: ['executor_default'] }, 2)).toEqual([]);
    expect(capReasons([step('a')], caps, 3)).toEqual([
      'it comes to 4 orders; 3 are allowed',
      'step a: there is no profile executor_default; known: other',
    ]);
  });
});

/** A dispatched run with one enqueued order, told by events. */
function story(order: Record<string, unknown> = {}) {
  const script = eventScript();
  script.add('RUN_CREATED', { autopilot: true });
  script.add('ORDER_CREATED', { step: 'a', constraints: { max_retries: 0 } as never, ...order });
  script.add('RUN_PLANNED', { order_ids: ['o1'] });
  script.add('ORDER_ENQUEUED', { attempt: 1 });
  script.add('ORDER_STARTED', { attempt: 1 });
  const agg = () => foldRun(script.events);
  return { script, agg, next: (rules = RULES) => nextForRun(agg(), rules) };
}

describe('what is blocked', () => {
  test('fails its run and tells the operator, where nobody can help', () => {
    const { script, next } = story();
    script.add('ORDER_BLOCKED', { attempt: 1, reason: 'shut' });
    expect(next()).toMatchObject([{ do: 'fail', escalate: true }]);
  });

  test('is waited for where it is over by itself', () => {
    const { script, next } = story({ ask: true });
    script.add('ORDER_BLOCKED', { attempt: 1, reason: 'quota', resets_at: '2026-01-14T17:00:00Z' });
    expect(next()).toEqual([]);
  });

  test('is mended, then tried again beyond its cap, once', () => {
    const { script, agg, next } = story({ remedy: 'steps' });
    script.add('ORDER_BLOCKED', { attempt: 1, reason: 'shut' });
    const reason = 'blocked: shut';
    expect(next()).toEqual([{ do: 'replan', orderId: 'o1', reason }]);
    expect(next({ ...RULES, replans: 0 })).toMatchObject([{ do: 'fail' }]);
    const command = { reason, blocked: { orderId: 'o1', attempt: 1 } };
    script.append(
      ...when(agg(), (now) => replanRun(now, [step('fix')], command)).thenEvents(
        'ORDER_CREATED',
        'RUN_REPLANNED',
      ),
    );
    when(agg(), (now) => replanRun(now, [step('fix')], command)).thenNothing();
    const fix = [...agg().orders.keys()].find((id) => id !== 'o1') as string;
    expect(next()).toEqual([{ do: 'enqueue', orderIds: [fix] }]);
    const at = { order_id: fix };
    script.add('ORDER_COMPLETED', { attempt: 1 }, at);
    script.add('INTEGRATED', { attempt: 1, commit_sha: 'a'.repeat(40) }, at);
    const granted = { do: 'reissue', orderId: 'o1', attempt: 1, granted: true };
    // INTEGRATED without what goes before it counts, as a ledger records.
    expect(next()).toMatchObject([granted]);
    script.add('ORDER_REISSUED', { attempt: 2 });
    script.add('ORDER_STARTED', { attempt: 2 });
    script.add('ORDER_BLOCKED', { attempt: 2, reason: 'shut again' });
    expect(next()).toMatchObject([{ do: 'fail' }]);
  });

  test('is asked about where the order or the settings say so, for each attempt anew', () => {
    const { script, next } = story();
    script.add('ORDER_BLOCKED', { attempt: 1, reason: 'shut' });
    expect(next({ ...RULES, ask: true })).toMatchObject([{ do: 'ask', question: 'blocked' }]);
  });
});

describe('pauses', () => {
  test('a paused run does nothing new; both are done once', () => {
    const { script, agg, next } = story();
    script.add('ORDER_FAILED', { attempt: 1, retryable: false });
    expect(next()).toMatchObject([{ do: 'fail' }]);
    expect(next({ ...RULES, held: true })).toEqual([]);
    const paused = when(agg(), (now) => pauseRun(now, { by: 'ana' })).thenEvents('RUN_PAUSED');
    script.append(...paused);
    when(agg(), (now) => pauseRun(now, {})).thenNothing();
    expect(next()).toEqual([]);
    script.append(...when(agg(), (now) => resumeRun(now, {})).thenEvents('RUN_RESUMED'));
    const again = when(agg(), (now) => pauseRun(now, {})).thenEvents('RUN_PAUSED');
    expect(again[0]?.key).not.toBe(paused[0]?.key);
    when(EMPTY_RUN, (now) => pauseRun(now, {})).thenRefused('RUN_NOT_FOUND');
  });

  test('any sequence of pauses: the last word about each target counts', () => {
    const target = fc.constantFrom<[string | null, string | undefined]>(
      ['demo', undefined],
      ['demo', 'gpu'],
      [null, 'gpu'],
      ['else', undefined],
    );
    fc.assert(
      fc.property(fc.array(fc.tuple(target, fc.boolean()), { maxLength: 20 }), (commands) => {
        const script = eventScript({ run_id: null });
        let state = NO_PAUSES;
        const last = new Map<string, boolean>();
        for (const [[theaterId, name], paused] of commands) {
          const asked: SetPause = { garrisonId: 'g', theaterId, class: name, paused };
          const decision = setPause(state, asked);
          if (!decision.ok) throw decision.error;
          state = evolvePauses(state, script.append(...decision.events));
          expect(setPause(state, asked)).toEqual({ ok: true, events: [] });
          last.set(`${theaterId}/${name ?? ''}`, paused);
        }
        const theater = last.get('demo/') ?? false;
        const gpu = (last.get('demo/gpu') ?? false) || (last.get('null/gpu') ?? false);
        const place = { theaterId: 'demo', class: 'gpu' };
        expect(pausedBy(state, place) !== null).toBe(theater || gpu);
        expect(pausedBy(state, { theaterId: 'demo' }) !== null).toBe(theater);
        const ids = new Set(script.events.map(({ event_id }) => event_id));
        expect(ids.size).toBe(script.events.length);
      }),
    );
  });

  test('any cut of a ledger into batches gives the same pauses', () => {
    fc.assert(
      fc.property(arbitraryLedger(), fc.nat(40), (ledger, cut) => {
        const whole = evolvePauses(NO_PAUSES, ledger);
        const first = evolvePauses(NO_PAUSES, ledger.slice(0, cut));
        expect(evolvePauses(first, ledger.slice(cut))).toEqual(whole);
      }),
    );
  });
});

describe('decisions', () => {
  const raised: RaisedEscalation = {
    escalation_id: 'e',
    garrison_id: 'g',
    theater_id: 'demo',
    run_id: 'r1',
    order_id: 'o1',
    decision_by: '2026-01-14T17:00:00Z',
    acked: false,
    decision: null,
  };
  const DUE = Date.parse('2026-01-14T17:00:00Z');
  const give =
    (decision: 'approve' | 'deny' | 'timeout', nowMs = DUE) =>
    (state: RaisedEscalation) =>
      giveDecision(state, { decision, by: 'ana', nowMs });

  test('the first counts; the same again is done, another is refused, a late timer is nothing', () => {
    const script = eventScript();
    const [draft] = when(raised, give('approve')).thenEvents('DECISION_GIVEN');
    if (draft === undefined) throw new Error('no draft');
    const [event] = script.append(draft);
    const decided = evolveRaised(raised, event as never, 'e') as RaisedEscalation;
    expect(decided.decision).toBe('approve');
    when(decided, give('approve')).thenNothing();
    when(decided, give('deny')).thenRefused('ILLEGAL_TRANSITION');
    when(decided, give('timeout')).thenNothing();
  });

  test('time is not over before it is; what asks nothing is not decided', () => {
    when(raised, give('timeout', DUE - 1)).thenNothing();
    when(raised, give('timeout')).thenEvents('DECISION_GIVEN');
    when({ ...raised, decision_by: null }, give('approve')).thenRefused('ILLEGAL_TRANSITION');
    when(raised, (state) => ackRaised(state, { by: 'ana' })).thenEvents('ESCALATION_ACKED');
    when({ ...raised, acked: true }, (state) => ackRaised(state, { by: 'bo' })).thenNothing();
  });
});

test('the clock of a run stands still while it is paused or waits for people, once for both', () => {
  const script = eventScript();
  script.add('RUN_CREATED', { autopilot: true });
  const [created] = script.events;
  const start = Date.parse(created?.ts ?? '');
  const run = () => {
    const { run: state } = foldRun(script.events);
    if (state === undefined) throw new Error('no run');
    return state;
  };
  const deadline = (nowMs: number) => runDeadlineMs(run(), 10_000, nowMs);
  expect(deadline(start)).toBe(start + 10_000);
  script.add('RUN_PAUSED'); // at 1 s
  script.add('ESCALATION_RAISED', { escalation_id: 'e', decision_by: '2027-01-01T00:00:00Z' });
  expect(deadline(start + 5_000)).toBe(start + 14_000);
  script.add('RUN_RESUMED'); // at 3 s
  expect(run().held_since).not.toBeNull();
  script.add('DECISION_GIVEN', { escalation_id: 'e', decision: 'approve' }); // at 4 s
  expect(deadline(start + 60_000)).toBe(start + 13_000);
});

test('a run that nobody let go has no deadline', () => {
  const script = eventScript();
  script.add('RUN_CREATED', { autopilot: false });
  const { run } = foldRun(script.events);
  expect(run && runDeadlineMs(run, 1, Date.now())).toBeNull();
});
