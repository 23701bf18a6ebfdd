import { describe, expect, test } from 'vitest';
import { type EventType, LIMITS, type PayloadOf, type StoredEvent } from '#libs/contracts';
import { eventScript } from '#libs/testing';
import { type AnomalyKind, anomalyOf, evolveOrder, type OrderState, STATE_LIMITS } from './mod.ts';

const fold = (events: readonly StoredEvent[]): OrderState => {
  const state = events.reduce<OrderState | undefined>(evolveOrder, undefined);
  if (state === undefined) throw new Error('no events');
  return state;
};

/** Folds a story told as types, with a payload where one is needed. */
const after = (...story: (EventType | [EventType, object])[]): OrderState => {
  const script = eventScript();
  for (const one of story) {
    const [type, payload] = typeof one === 'string' ? [one, {}] : one;
    const place = { order_id: 'o1', unit_id: 'u1' };
    script.add(type, payload as PayloadOf<EventType>, place);
  }
  return fold(script.events);
};

/** Ways into each status; NONE is an order that only side facts have named. */
const INTO: Record<string, EventType[]> = {
  NONE: ['UNIT_SIGNAL'],
  QUEUED: ['ORDER_CREATED'],
  CLAIMED: ['ORDER_CREATED', 'ORDER_CLAIMED'],
  RUNNING: ['ORDER_CREATED', 'ORDER_CLAIMED', 'ORDER_STARTED'],
  BLOCKED: ['ORDER_CREATED', 'ORDER_STARTED', 'ORDER_BLOCKED'],
  COMPLETED: ['ORDER_CREATED', 'ORDER_STARTED', 'ORDER_COMPLETED'],
  FAILED: ['ORDER_CREATED', 'ORDER_STARTED', 'ORDER_FAILED'],
  CANCELLED: ['ORDER_CREATED', 'ORDER_CANCELLED'],
};

/** Section 3 of the reference, row by row: legal sources, and where they lead. */
const TABLE: [EventType, string, string][] = [
  ['ORDER_CREATED', 'NONE', 'QUEUED'],
  ['ORDER_ENQUEUED', 'NONE QUEUED', 'QUEUED'],
  ['ORDER_CLAIMED', 'NONE QUEUED', 'CLAIMED'],
  ['ORDER_STARTED', 'NONE QUEUED CLAIMED BLOCKED', 'RUNNING'],
  ['ORDER_BLOCKED', 'CLAIMED RUNNING', 'BLOCKED'],
  ['ORDER_COMPLETED', 'NONE QUEUED CLAIMED RUNNING BLOCKED', 'COMPLETED'],
  ['ORDER_FAILED', 'NONE QUEUED CLAIMED RUNNING BLOCKED', 'FAILED'],
  ['ORDER_REISSUED', 'CLAIMED RUNNING BLOCKED FAILED', 'QUEUED'],
  ['ORDER_CANCELLED', 'NONE QUEUED CLAIMED RUNNING BLOCKED', 'CANCELLED'],
];
const ROWS = TABLE.flatMap(([type, from, to]) =>
  Object.keys(INTO).map((status) => ({
    type,
    status,
    to: from.split(' ').includes(status) ? to : null,
  })),
);

describe('order transitions', () => {
  test.each(ROWS)('$type while $status leads to $to', ({ type, status, to }) => {
    const before = after(...(INTO[status] ?? []));
    const now = after(...(INTO[status] ?? []), type);
    expect(now.status).toBe(to ?? before.status);
    expect(now.anomalies).toBe(to === null ? 1 : 0);
    expect(now.version).toBe(before.version + 1);
  });

  test('section 3 (b): a batch without ORDER_CLAIMED is legal', () => {
    expect(after('ORDER_CREATED', 'ORDER_STARTED', 'ORDER_COMPLETED').anomalies).toBe(0);
  });

  test('COMPLETED is redone after a failed integration or recovery, not once INTEGRATED', () => {
    const done = INTO.COMPLETED ?? [];
    const failed = after(...done, 'INTEGRATION_STARTED', 'INTEGRATION_FAILED', 'ORDER_REISSUED');
    expect(failed).toMatchObject({ status: 'QUEUED', attempt: 2, integration: null, anomalies: 0 });
    const found = after(...done, 'RECOVERY_REQUIRED', 'ORDER_REISSUED');
    expect(found).toMatchObject({ status: 'QUEUED', attempt: 2, recovery: null, anomalies: 0 });
    const promoted = after(...done, 'INTEGRATED', 'RECOVERY_REQUIRED', 'ORDER_REISSUED');
    expect(promoted).toMatchObject({ status: 'COMPLETED', attempt: 1, anomalies: 1 });
  });

  test('the next attempt begins with nothing of the one before', () => {
    const state = after(
      ['ORDER_ENQUEUED', { attempt: 1 }],
      'ORDER_STARTED',
      ['ARTIFACT_WRITTEN', { path: 'outputs/a.md' }],
      ['AAR_WRITTEN', { path: 'aar.json' }],
      'ORDER_BLOCKED',
      'ORDER_REISSUED',
    );
    expect(state).toMatchObject({
      artifacts: [],
      aar: null,
      unit_id: null,
      enqueued_at: null,
      started_at: null,
      blocked_at: null,
      labels: [],
      attempts: [{ attempt: 1, status: 'BLOCKED' }],
    });
  });

  test('side facts never move the status', () => {
    const state = after('ORDER_CREATED', 'ARTIFACT_WRITTEN', 'AAR_WRITTEN', 'WORKTREE_CREATED', [
      'MODEL_CALL_COMPLETED',
      { status: 'completed', cost_micro_usd: 7 },
    ]);
    expect(state).toMatchObject({ status: 'QUEUED', anomalies: 0, cost: { micro_usd: 7 } });
  });

  test('a first ORDER_CREATED that comes late defines the order and moves nothing', () => {
    const late = after('ORDER_STARTED', ['ORDER_CREATED', { objective: 'sum it up' }]);
    expect(late).toMatchObject({ status: 'RUNNING', created: true, objective: 'sum it up' });
    expect(late.anomalies).toBe(1);
  });
});

describe('acceptance checks', () => {
  test('check 2: a lone ORDER_STARTED is RUNNING in attempt 1 with its unit', () => {
    const script = eventScript();
    script.add('ORDER_STARTED', { attempt: 1 }, { unit_id: 'assault_abc123' });
    expect(fold(script.events)).toMatchObject({
      status: 'RUNNING',
      attempt: 1,
      unit_id: 'assault_abc123',
      created: false,
      anomalies: 0,
    });
  });

  test('check 3: the same event again changes nothing but the version', () => {
    const script = eventScript();
    script.add('ARTIFACT_WRITTEN', { path: 'outputs/a.md' });
    const once = script.add('ORDER_FAILED', { attempt: 1 });
    const before = fold(script.events);
    expect(evolveOrder(before, once)).toBe(before);
    const again = { ...once, seq: 9 };
    expect(evolveOrder(before, again)).toEqual({ ...before, version: 9, subject_seq: 9 });
    expect(anomalyOf(before, again)?.kind).toBe('duplicate_event');
  });

  test('check 5: started, artifact, AAR, completed', () => {
    const state = after(
      'ORDER_STARTED',
      ['ARTIFACT_WRITTEN', { path: 'outputs/a.md', type: 'text/markdown', bytes: 3 }],
      ['AAR_WRITTEN', { path: 'aar.json' }],
      ['ORDER_COMPLETED', { artifacts: [{ path: 'outputs/a.md', type: 'text/markdown' }] }],
    );
    expect(state).toMatchObject({
      status: 'COMPLETED',
      artifacts: [{ path: 'outputs/a.md', type: 'text/markdown', bytes: 3 }],
      aar: { path: 'aar.json' },
      duration_ms: 3_000,
    });
  });

  test('check 11: a late ORDER_STARTED leaves COMPLETED', () => {
    const state = after('ORDER_COMPLETED', ['ORDER_STARTED', { attempt: 1 }]);
    expect(state).toMatchObject({ status: 'COMPLETED', anomalies: 1 });
  });

  test('check 12: FAILED stays until it is reissued; the old attempt is fenced', () => {
    const story: (EventType | [EventType, object])[] = ['ORDER_STARTED', 'ORDER_FAILED'];
    expect(after(...story, 'ORDER_COMPLETED').status).toBe('FAILED');
    expect(after(...story, 'ORDER_REISSUED')).toMatchObject({ status: 'QUEUED', attempt: 2 });
    const zombie = after(
      ...story,
      'ORDER_REISSUED',
      ['ORDER_STARTED', { attempt: 2 }],
      ['ORDER_FAILED', { attempt: 1 }],
    );
    expect(zombie).toMatchObject({ status: 'RUNNING', attempt: 2, anomalies: 1 });
    expect(zombie.anomaly_last?.kind).toBe('fenced_attempt');
    expect(zombie.attempts).toMatchObject([{ attempt: 1, status: 'FAILED', unit_id: 'u1' }]);
  });
});

describe('what does not fit is told', () => {
  const cases: [string, (EventType | [EventType, object])[], EventType, object, AnomalyKind][] = [
    ['second create', ['ORDER_CREATED'], 'ORDER_CREATED', {}, 'duplicate_create'],
    [
      'zombie artifact',
      ['ORDER_STARTED', 'ORDER_REISSUED'],
      'ARTIFACT_WRITTEN',
      { attempt: 1 },
      'fenced_attempt',
    ],
    [
      'second reissue of one attempt',
      ['ORDER_STARTED', 'ORDER_REISSUED', 'ORDER_STARTED'],
      'ORDER_REISSUED',
      { attempt: 2 },
      'fenced_attempt',
    ],
    [
      'side fact of the future',
      ['ORDER_STARTED'],
      'AAR_WRITTEN',
      { attempt: 2 },
      'illegal_transition',
    ],
    ['worktree made twice', ['WORKTREE_CREATED'], 'WORKTREE_CREATED', {}, 'illegal_transition'],
    ['promoted before it passed', ['INTEGRATION_STARTED'], 'INTEGRATED', {}, 'illegal_transition'],
    [
      'recovery ended unbegun',
      ['RECOVERY_REQUIRED'],
      'RECOVERY_COMPLETED',
      {},
      'illegal_transition',
    ],
  ];
  test.each(cases)('%s', (_name, story, type, payload, kind) => {
    const state = after(...story);
    const script = eventScript({ unit_id: 'u1' });
    const place = { order_id: 'o1', event_id: 'x' };
    const event = { ...script.add(type, payload as PayloadOf<EventType>, place), seq: 99 };
    expect(anomalyOf(state, event)?.kind).toBe(kind);
    const next = evolveOrder(state, event);
    expect(next).toEqual({
      ...state,
      anomalies: 1,
      anomaly_last: { ...anomalyOf(state, event), event_id: 'x', seq: 99 },
      last_event_id: 'x',
      version: 99,
      subject_seq: 99,
    });
  });

  test('a claim by another unit', () => {
    const script = eventScript();
    script.add('ORDER_CLAIMED', {}, { unit_id: 'u1' });
    const other = script.add('ORDER_CLAIMED', {}, { unit_id: 'u2' });
    const state = fold(script.events);
    expect(state).toMatchObject({ unit_id: 'u1', anomaly_last: { kind: 'claimed_by_other' } });
    expect(state.anomaly_last?.detail).toBe('u2 claims what u1 holds');
    expect(anomalyOf(state, other)).toBeNull();
  });

  test('a second claim by the same unit is no claim by another', () => {
    expect(after('ORDER_CLAIMED', 'ORDER_CLAIMED').anomaly_last?.kind).toBe('illegal_transition');
  });

  test('an event without the run is applied, but stands at another subject', () => {
    const script = eventScript();
    script.add('ORDER_CREATED');
    script.add('WORKTREE_CREATED', {}, { run_id: null });
    expect(fold(script.events)).toMatchObject({
      worktree: { state: 'CREATED' },
      anomalies: 0,
      version: 2,
      subject_seq: 1,
    });
  });

  test('an event of another run changes nothing and does not count for the subject', () => {
    const script = eventScript();
    script.add('ORDER_CREATED');
    script.add('ORDER_CANCELLED', {}, { run_id: 'r2' });
    expect(fold(script.events)).toMatchObject({
      status: 'QUEUED',
      run_id: 'r1',
      anomaly_last: { kind: 'run_mismatch' },
      version: 2,
      subject_seq: 1,
    });
  });

  test('an event of another order is not looked at', () => {
    const script = eventScript();
    script.add('ORDER_CREATED');
    const state = fold(script.events);
    expect(evolveOrder(state, script.add('ORDER_CANCELLED', {}, { order_id: 'o2' }))).toBe(state);
  });
});

describe('what is kept is bounded', () => {
  test('attempts, artifacts, escalations', () => {
    const script = eventScript();
    for (let n = 0; n < STATE_LIMITS.attempts + 1; n += 1) {
      script.add('ORDER_STARTED');
      script.add('ORDER_REISSUED');
    }
    for (let n = 0; n < LIMITS.artifactsPerOrder + 1; n += 1) {
      script.add('ARTIFACT_WRITTEN', { path: `outputs/${n}` });
      script.add('ESCALATION_RAISED', { escalation_id: `x${n}` }, { order_id: 'o1' });
    }
    const state = fold(script.events);
    expect(state.attempts).toHaveLength(STATE_LIMITS.attempts);
    expect(state.attempts.at(-1)?.attempt).toBe(STATE_LIMITS.attempts + 1);
    expect(state.artifacts).toHaveLength(LIMITS.artifactsPerOrder);
    expect(state.escalations).toHaveLength(STATE_LIMITS.escalations);
  });

  test("an attempt's reported total does not count its model calls twice", () => {
    const call = (n: number) => ({
      cost_micro_usd: n,
      usage: { input_tokens: n, output_tokens: 1 },
    });
    const state = after(
      'ORDER_STARTED',
      ['MODEL_CALL_COMPLETED', call(3)],
      ['ORDER_FAILED', call(5)],
      'ORDER_REISSUED',
      ['MODEL_CALL_COMPLETED', call(2)],
    );
    expect(state.cost).toEqual({ micro_usd: 7, input_tokens: 7, output_tokens: 2 });
  });
});
