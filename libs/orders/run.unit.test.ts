import { describe, expect, test } from 'vitest';
import { type EventType, LIMITS, type StoredEvent } from '#libs/contracts';
import { eventScript } from '#libs/testing';
import { evolveRun, runAnomalyOf, type RunState } from './mod.ts';

const fold = (events: readonly StoredEvent[]): RunState => {
  const state = events.reduce<RunState | undefined>(evolveRun, undefined);
  if (state === undefined) throw new Error('no events');
  return state;
};
const after = (...types: EventType[]): RunState => {
  const script = eventScript();
  for (const type of types) script.add(type);
  return fold(script.events);
};

const INTO: Record<string, EventType[]> = {
  NONE: [],
  OPEN: ['RUN_CREATED'],
  COMPLETE: ['RUN_CREATED', 'RUN_COMPLETED'],
  FAILED: ['RUN_CREATED', 'RUN_FAILED'],
  CANCELLED: ['RUN_CREATED', 'RUN_CANCELLED'],
};
const TABLE: [EventType, string, string][] = [
  ['RUN_CREATED', 'NONE', 'OPEN'],
  ['RUN_UPDATED', 'NONE OPEN', 'OPEN'],
  ['RUN_COMPLETED', 'NONE OPEN', 'COMPLETE'],
  ['RUN_FAILED', 'NONE OPEN', 'FAILED'],
  ['RUN_CANCELLED', 'NONE OPEN', 'CANCELLED'],
];
const ROWS = TABLE.flatMap(([type, from, to]) =>
  Object.keys(INTO).map((status) => ({
    type,
    status,
    to: from.split(' ').includes(status) ? to : null,
  })),
);

describe('run transitions', () => {
  test.each(ROWS)('check 14: $type while $status leads to $to', ({ type, status, to }) => {
    const now = after(...(INTO[status] ?? []), type);
    expect(now.status).toBe(to ?? status);
    expect(now.anomalies).toBe(to === null ? 1 : 0);
  });

  test('check 14: RUN_UPDATED changes the objective; a complete run stays complete', () => {
    const script = eventScript();
    script.add('RUN_CREATED', { objective: 'a' });
    script.add('RUN_UPDATED', { objective: 'b', metadata: { k: 1 }, policy_version: 3 });
    expect(fold(script.events)).toMatchObject({
      status: 'OPEN',
      objective: 'b',
      metadata: { k: 1 },
    });
    script.add('RUN_COMPLETED');
    const late = script.add('RUN_FAILED');
    const state = fold(script.events);
    expect(state).toMatchObject({ status: 'COMPLETE', anomalies: 1, duration_ms: 2_000 });
    expect(state.anomaly_last).toMatchObject({
      kind: 'illegal_transition',
      detail: 'RUN_FAILED is not possible while COMPLETE',
      event_id: late.event_id,
    });
  });

  test('check 2: an event of an order opens the run and lists the order', () => {
    const script = eventScript();
    script.add('ORDER_STARTED', {}, { order_id: 'o7' });
    script.add('ORDER_STARTED', {}, { order_id: 'o3' });
    script.add('ORDER_COMPLETED', {}, { order_id: 'o7' });
    expect(fold(script.events)).toMatchObject({
      status: 'OPEN',
      created: false,
      order_ids: ['o7', 'o3'],
      version: 3,
      subject_seq: 0,
    });
  });

  test('RUN_CREATED after such events defines the run; a second one is told', () => {
    const script = eventScript();
    script.add('ORDER_STARTED');
    script.add('RUN_CREATED', { objective: 'a', autopilot: true });
    const second = script.add('RUN_CREATED', { objective: 'b' });
    const first = fold(script.events.slice(0, 2));
    expect(runAnomalyOf(first, second)?.kind).toBe('duplicate_create');
    expect(fold(script.events)).toMatchObject({ objective: 'a', autopilot: true, subject_seq: 3 });
  });

  test('the list of orders is bounded', () => {
    const script = eventScript();
    for (let n = 0; n < LIMITS.ordersPerRun + 1; n += 1) {
      script.add('ORDER_CREATED', {}, { order_id: `o${n}` });
    }
    expect(fold(script.events).order_ids).toHaveLength(LIMITS.ordersPerRun);
  });

  test('model calls add up until RUN_COMPLETED tells the cost', () => {
    const script = eventScript();
    script.add('MODEL_CALL_COMPLETED', { cost_micro_usd: 3 });
    script.add('MODEL_CALL_FAILED', { cost_micro_usd: 4 });
    expect(fold(script.events).cost.micro_usd).toBe(7);
    script.add('RUN_COMPLETED', { cost_micro_usd: 9 });
    expect(fold(script.events).cost.micro_usd).toBe(9);
  });
});
