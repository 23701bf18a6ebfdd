import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { LIMITS } from '#libs/contracts';
import { eventScript, when } from '#libs/testing';
import {
  cancelOrder,
  cancelRun,
  claimOrder,
  completeOrder,
  completeRun,
  createRun,
  type Decision,
  dispatchRun,
  EMPTY_RUN,
  enqueueOrder,
  type EventDraft,
  evolveRunAggregate,
  failIntegration,
  failOrder,
  failRun,
  integrated,
  integrationReady,
  nextForRun,
  type OrderState,
  passIntegration,
  type PlannedStep,
  planRun,
  readyOrders,
  recoveryRequired,
  reissueOrder,
  type RunAggregate,
  type RunStep,
  startIntegration,
  startOrder,
} from './mod.ts';

const HEAD = 'a'.repeat(40);

const step = (key: string, depends_on: string[] = [], max_retries = 1): PlannedStep => ({
  key,
  type: 'draft',
  objective: `do ${key}`,
  profile: { name: 'executor_default', model: 'local' },
  constraints: { budget_seconds: 60, max_retries },
  depends_on,
  prompt: { system: 's', files: [], task: 'draft' },
  outputs: [{ path: `outputs/${key}.md`, type: 'text/markdown' }],
  inputs: [],
  gate_profile: 'default',
});
const CHAIN = [step('research'), step('draft', ['research']), step('verify', ['draft'])];
const META = { playbook: 'rdv', playbookVersion: 1, reply: [{ step: 'draft', path: 'outputs/a' }] };
const REPLY = { reply: { sha256: 'c'.repeat(64), bytes: 3 } };
const COMMIT = 'a'.repeat(40);
const create = (autopilot: boolean) => (agg: RunAggregate) =>
  createRun(agg, {
    runId: 'r1',
    theaterId: 'demo',
    garrisonId: 'g',
    userId: 'u',
    objective: 'sum it up',
    requestId: 'q1',
    requestDigest: 'd1',
    autopilot,
  });

/** A run that lives through decisions; no event of a decision may be an anomaly. */
function story(from: RunAggregate = EMPTY_RUN) {
  const script = eventScript();
  let agg = from;
  const take = (drafts: EventDraft[]): void => {
    for (const event of script.append(...drafts)) agg = evolveRunAggregate(agg, event);
    expect(agg.run?.anomaly_last).toBeNull();
    for (const order of agg.orders.values()) expect(order.anomaly_last).toBeNull();
  };
  const decide = (decision: Decision): void => {
    if (!decision.ok) throw decision.error;
    take(decision.events);
  };
  const byStep = (key: string): OrderState => {
    const found = [...agg.orders.values()].find((order) => order.step === key);
    if (found === undefined) throw new Error(`no order ${key}`);
    return found;
  };
  return {
    get agg() {
      return agg;
    },
    script,
    take,
    decide,
    byStep,
    /** From the queue to COMPLETED. */
    work(key: string) {
      decide(enqueueOrder(byStep(key), { worktreePath: `/w/${key}`, class: 'default' }));
      const unit = { attempt: byStep(key).attempt, unitId: `unit_${key}` };
      decide(claimOrder(byStep(key), unit));
      decide(startOrder(byStep(key), unit));
      decide(completeOrder(byStep(key), { ...unit, commitSha: COMMIT }));
    },
    promote(key: string) {
      decide(startIntegration(byStep(key), { gateProfile: 'default' }));
      decide(passIntegration(byStep(key), { headSha: HEAD, gates: [] }));
      decide(integrated(byStep(key), { commitSha: COMMIT, mainline: 'main' }));
    },
    conflict(key: string) {
      decide(startIntegration(byStep(key), { gateProfile: 'default' }));
      decide(passIntegration(byStep(key), { headSha: HEAD, gates: [] }));
      decide(failIntegration(byStep(key), { gate: 'merge', message: 'conflict', files: ['a'] }));
    },
  };
}

function planned(autopilot = true, steps: PlannedStep[] = CHAIN) {
  const run = story();
  run.decide(create(autopilot)(run.agg));
  run.decide(planRun(run.agg, steps, META));
  return run;
}
const does = (agg: RunAggregate): string[] => nextForRun(agg).map((one) => one.do);

describe('opening and planning', () => {
  test('check 32: a run is opened once; a blank objective is refused', () => {
    const run = story();
    when(run.agg, (agg) =>
      createRun(agg, {
        runId: 'r1',
        theaterId: 'demo',
        garrisonId: 'g',
        userId: 'u',
        objective: '  ',
        autopilot: true,
      }),
    ).thenRefused('INVALID_REQUEST');
    run.take(when(run.agg, create(true)).thenEvents('RUN_CREATED'));
    when(run.agg, create(true)).thenNothing();
    when(run.agg, (agg) =>
      createRun(agg, {
        runId: 'r1',
        theaterId: 'demo',
        garrisonId: 'g',
        userId: 'u',
        objective: 'else',
        requestId: 'q1',
        requestDigest: 'd2',
        autopilot: true,
      }),
    ).thenRefused('REQUEST_ID_CONFLICT');
  });

  test('check 33: a plan makes its orders once, with known dependencies', () => {
    const run = story();
    run.decide(create(false)(run.agg));
    const plan = (agg: RunAggregate) => planRun(agg, CHAIN, META);
    const drafts = when(run.agg, plan).thenEvents(
      'ORDER_CREATED',
      'ORDER_CREATED',
      'ORDER_CREATED',
      'RUN_PLANNED',
    );
    run.take(drafts);
    when(run.agg, plan).thenNothing();
    expect(run.agg.run?.order_ids).toEqual(drafts.slice(0, 3).map(({ order_id }) => order_id));
    expect(run.byStep('draft').depends_on).toEqual([run.byStep('research').order_id]);
    expect(run.agg.run?.reply_parts[0]?.order_id).toBe(run.byStep('draft').order_id);
    expect([...run.agg.orders.values()].map(({ status }) => status)).toEqual(
      Array(3).fill('QUEUED'),
    );
  });

  const bad: [string, PlannedStep[], string][] = [
    ['no steps', [], 'INVALID_REQUEST'],
    ['a key twice', [step('draft'), step('draft')], 'INVALID_REQUEST'],
    ['an unknown dependency', [step('draft', ['x'])], 'INVALID_REQUEST'],
    ['itself', [step('draft', ['draft'])], 'INVALID_REQUEST'],
    ['a circle', [step('draft', ['b']), step('b', ['draft'])], 'INVALID_REQUEST'],
    [
      'one order too many',
      Array.from({ length: LIMITS.ordersPerRun + 1 }, (_, n) => step(`s${n}`)),
      'PAYLOAD_TOO_LARGE',
    ],
  ];
  test.each(bad)('a plan with %s is refused', (_name, steps, code) => {
    const run = story();
    run.decide(create(false)(run.agg));
    when(run.agg, (agg) => planRun(agg, steps, META)).thenRefused(code as 'INVALID_REQUEST');
  });

  test('a plan at the limit is taken, whatever the sequence of its steps', () => {
    const steps = Array.from({ length: LIMITS.ordersPerRun }, (_, n) =>
      step(n === 0 ? 'draft' : `s${n}`, n === 0 ? ['s99'] : []),
    );
    expect(planned(false, steps).agg.orders.size).toBe(LIMITS.ordersPerRun);
  });

  test('check 34: dispatch before the plan is refused; twice is once', () => {
    const run = story();
    run.decide(create(false)(run.agg));
    when(run.agg, dispatchRun).thenRefused('PLAN_MISSING');
    run.decide(planRun(run.agg, CHAIN, META));
    run.take(when(run.agg, dispatchRun).thenEvents('RUN_DISPATCHED'));
    when(run.agg, dispatchRun).thenNothing();
  });
});

describe('what is to be done next', () => {
  test('an autopilot run goes from plan to synthesis', () => {
    const run = story();
    expect(does(run.agg)).toEqual([]);
    run.decide(create(true)(run.agg));
    expect(does(run.agg)).toEqual(['plan']);
    run.decide(planRun(run.agg, CHAIN, META));
    for (const key of ['research', 'draft', 'verify']) {
      const orderId = run.byStep(key).order_id;
      expect(nextForRun(run.agg)).toEqual([{ do: 'enqueue', orderIds: [orderId] }]);
      run.work(key);
      expect(nextForRun(run.agg)).toEqual([{ do: 'integrate', orderId, state: null }]);
      run.promote(key);
    }
    expect(does(run.agg)).toEqual(['synthesize']);
    run.take(when(run.agg, (agg) => completeRun(agg, REPLY)).thenEvents('RUN_COMPLETED'));
    when(run.agg, (agg) => completeRun(agg, REPLY)).thenNothing();
    expect(run.agg.run).toMatchObject({ status: 'COMPLETE', reply: REPLY.reply });
    expect(does(run.agg)).toEqual([]);
  });

  test('check 34: a manual run waits for its dispatch and is never synthesized by itself', () => {
    const run = planned(false, [step('draft')]);
    expect(does(run.agg)).toEqual([]);
    run.decide(dispatchRun(run.agg));
    expect(does(run.agg)).toEqual(['enqueue']);
    run.work('draft');
    expect(does(run.agg)).toEqual(['integrate']);
    run.promote('draft');
    expect(does(run.agg)).toEqual([]);
    run.take(when(run.agg, (agg) => completeRun(agg, REPLY)).thenEvents('RUN_COMPLETED'));
  });

  test('check 35: no synthesis while orders run', () => {
    const run = planned();
    run.work('research');
    when(run.agg, (agg) => completeRun(agg, REPLY)).thenRefused('RUN_PENDING');
  });

  test('orders that do not wait for each other are enqueued together', () => {
    const run = planned(true, [step('draft'), step('b'), step('c', ['draft', 'b'])]);
    expect(readyOrders(run.agg).map((order) => order.step)).toEqual(['draft', 'b']);
  });

  const failWork = (run: ReturnType<typeof planned>, retryable: boolean): void => {
    const { attempt } = run.byStep('research');
    const failure = { code: 'MODEL_ERROR', message: 'no', stage: 'model', retryable };
    run.decide(failOrder(run.byStep('research'), { attempt, unitId: null, ...failure }));
  };

  test('check 35: a failed order is retried within its cap, then the run fails', () => {
    const run = planned();
    failWork(run, true);
    const orderId = run.byStep('research').order_id;
    expect(nextForRun(run.agg)).toEqual([
      { do: 'reissue', orderId, attempt: 1, reason: 'MODEL_ERROR: no', granted: false },
    ]);
    run.decide(reissueOrder(run.byStep('research'), { reason: 'again' }));
    expect(does(run.agg)).toEqual(['enqueue']);
    failWork(run, true);
    expect(nextForRun(run.agg)).toMatchObject([{ do: 'fail', orderId }]);
    run.decide(failRun(run.agg, { reason: 'order failed', orderId }));
    expect(run.agg.run?.status).toBe('FAILED');
    expect(run.byStep('draft').status).toBe('CANCELLED');
    expect(does(run.agg)).toEqual([]);
  });

  test('what cannot be retried fails the run at once', () => {
    const run = planned();
    failWork(run, false);
    expect(does(run.agg)).toEqual(['fail']);
  });

  test('a merge conflict is redone from the new mainline within the cap', () => {
    const run = planned();
    run.work('research');
    run.conflict('research');
    expect(nextForRun(run.agg)).toMatchObject([
      { do: 'reissue', reason: 'integration failed at merge: conflict' },
    ]);
    run.decide(reissueOrder(run.byStep('research'), { reason: 'conflict' }));
    run.work('research');
    run.conflict('research');
    expect(does(run.agg)).toEqual(['fail']);
  });

  test('a result found wanting is redone within the cap; what was wrong before it is not', () => {
    const run = planned();
    const wanting = () =>
      run.decide(recoveryRequired(run.byStep('research'), { reason: 'dirty tree' }));
    wanting();
    run.work('research');
    expect(does(run.agg)).toEqual(['integrate']);
    wanting();
    expect(nextForRun(run.agg)).toMatchObject([
      { do: 'reissue', reason: 'the result is wanting: dirty tree' },
    ]);
    run.decide(integrationReady(run.byStep('research')));
    expect(does(run.agg)).toEqual(['integrate']);
    run.decide(startIntegration(run.byStep('research'), { gateProfile: 'default' }));
    run.decide(failIntegration(run.byStep('research'), { gate: 'merge', message: 'conflict' }));
    run.decide(reissueOrder(run.byStep('research'), { reason: 'conflict' }));
    run.work('research');
    wanting();
    expect(does(run.agg)).toEqual(['fail']);
  });

  test('an order cancelled on its own fails the run', () => {
    const run = planned();
    run.decide(cancelOrder(run.byStep('draft'), { reason: 'no' }));
    expect(does(run.agg)).toEqual(['fail']);
  });

  test('a cancelled run takes its live orders along; those told of later too', () => {
    const run = planned();
    run.work('research');
    const cancel = (agg: RunAggregate) => cancelRun(agg, { reason: 'enough' });
    run.take(
      when(run.agg, cancel).thenEvents('RUN_CANCELLED', 'ORDER_CANCELLED', 'ORDER_CANCELLED'),
    );
    when(run.agg, cancel).thenNothing();
    expect(run.byStep('research').status).toBe('COMPLETED');
    expect(does(run.agg)).toEqual([]);
    const stray = run.script.add('ORDER_CREATED', {}, { order_id: 'stray' });
    expect(does(evolveRunAggregate(run.agg, stray))).toEqual(['cancel-orders']);
  });

  test('nothing is done for runs that others report, whatever they report', () => {
    const script = eventScript();
    const agg = [
      script.add('ORDER_CREATED'),
      script.add('ORDER_FAILED'),
      script.add('ORDER_STARTED', {}, { order_id: 'live' }),
      script.add('RUN_DISPATCHED'),
    ].reduce(evolveRunAggregate, EMPTY_RUN);
    expect(nextForRun(agg)).toEqual([]);
    const ended = evolveRunAggregate(agg, script.add('RUN_CANCELLED'));
    expect(nextForRun(ended)).toEqual([]);
  });
});

test('check 43: integration goes step by step, and each step again is done already', () => {
  const run = planned();
  const order = () => run.byStep('research');
  const start = (one: OrderState) => startIntegration(one, { gateProfile: 'default' });
  const pass = (one: OrderState) => passIntegration(one, { headSha: HEAD, gates: [] });
  const promote = (one: OrderState) => integrated(one, { commitSha: COMMIT, mainline: 'main' });
  when(order(), start).thenRefused('ILLEGAL_TRANSITION');
  run.work('research');
  when(order(), pass).thenRefused('ILLEGAL_TRANSITION');
  when(order(), promote).thenRefused('ILLEGAL_TRANSITION');
  run.take(when(order(), integrationReady).thenEvents('INTEGRATION_READY'));
  when(order(), integrationReady).thenNothing();
  run.take(when(order(), start).thenEvents('INTEGRATION_STARTED'));
  when(order(), start).thenNothing();
  when(order(), promote).thenRefused('ILLEGAL_TRANSITION');
  run.take(when(order(), pass).thenEvents('INTEGRATION_PASSED'));
  when(order(), pass).thenNothing();
  run.take(when(order(), promote).thenEvents('INTEGRATED'));
  for (const again of [integrationReady, start, pass, promote]) when(order(), again).thenNothing();
  when(order(), (one) => failIntegration(one, { gate: 'merge', message: '' })).thenRefused(
    'ILLEGAL_TRANSITION',
  );
});

/** Does one step as the roles would; `dice` decides what becomes of the work. */
function perform(run: ReturnType<typeof story>, one: RunStep, dice: number): void {
  const order = 'orderId' in one ? run.agg.orders.get(one.orderId) : undefined;
  switch (one.do) {
    case 'ask':
    case 'extend':
    case 'replan':
      throw new Error(`${one.do} is not part of this story`);
    case 'plan':
      return run.decide(planRun(run.agg, CHAIN, META));
    case 'enqueue':
      for (const id of one.orderIds) {
        const ready = run.agg.orders.get(id);
        if (ready) run.decide(enqueueOrder(ready, { worktreePath: '/w', class: 'default' }));
      }
      return;
    case 'reissue':
      return order && run.decide(reissueOrder(order, { reason: one.reason }));
    case 'integrate':
      return dice % 4 === 0 ? run.conflict(order?.step ?? '') : run.promote(order?.step ?? '');
    case 'synthesize':
      return run.decide(completeRun(run.agg, REPLY));
    case 'fail':
      return run.decide(failRun(run.agg, { reason: one.reason, orderId: one.orderId }));
    case 'cancel-orders':
      throw new Error('nothing is left to cancel');
  }
}

test('reasons and lists that are too long are cut to what an event may hold', () => {
  const run = planned(true, [step('draft')]);
  const path = (n: number) => `outputs/${String(n).padStart(1_000, 'x')}`;
  run.decide(startOrder(run.byStep('draft'), { attempt: 1, unitId: 'u1' }));
  const artifacts = Array.from({ length: LIMITS.artifactsPerOrder }, (_, n) => ({
    path: path(n),
    type: 'text/plain',
  }));
  const report = { attempt: 1, unitId: 'u1', commitSha: COMMIT, artifacts };
  run.decide(completeOrder(run.byStep('draft'), report));
  expect(run.byStep('draft').artifacts).toHaveLength(LIMITS.artifactsPerOrder);
  run.promote('draft');
  run.decide(completeRun(run.agg, REPLY));
  for (const event of run.script.events) {
    expect(JSON.stringify(event).length).toBeLessThan(LIMITS.eventBytes);
  }
  const other = planned();
  other.decide(cancelRun(other.agg, { reason: 'r'.repeat(5_000) }));
  expect(other.agg.run?.reason).toHaveLength(2_000);
});

test('any run ends, and no decision on the way is an anomaly', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(99), { minLength: 60, maxLength: 60 }), (dice) => {
      const run = story();
      run.decide(create(true)(run.agg));
      for (const roll of dice) {
        const [one] = nextForRun(run.agg);
        if (one !== undefined) {
          perform(run, one, roll);
          continue;
        }
        const queued = [...run.agg.orders.values()].find(
          (order) => order.enqueued_at !== null && order.status === 'QUEUED',
        );
        if (queued === undefined) break;
        const unit = { attempt: queued.attempt, unitId: `u${roll}` };
        run.decide(startOrder(queued, unit));
        const started = run.byStep(queued.step ?? '');
        const failure = { code: 'X', message: 'x', stage: 's', retryable: roll % 2 === 0 };
        if (roll % 5 === 0) run.decide(failOrder(started, { ...unit, ...failure }));
        else run.decide(completeOrder(started, { ...unit, commitSha: COMMIT }));
      }
      expect(run.agg.run?.status).toMatch(/COMPLETE|FAILED/);
      for (const order of run.agg.orders.values()) {
        expect(order.status).toMatch(/COMPLETED|FAILED|CANCELLED/);
        expect(order.attempt).toBeLessThanOrEqual(2);
      }
    }),
  );
});
