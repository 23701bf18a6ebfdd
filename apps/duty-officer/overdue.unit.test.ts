import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { eventScript } from '#libs/testing';
import { evolveOrder, isTerminal, type OrderState } from '#libs/orders';
import type { EventType } from '#libs/contracts';
import { faultOf, type Patience, waitsLong } from './overdue.ts';

const patience: Patience = { leaseMs: 10_000, graceMs: 5_000 };

function after(...types: (EventType | [EventType, object])[]): OrderState {
  const script = eventScript();
  for (const one of types) {
    const [type, payload] = typeof one === 'string' ? [one, {}] : one;
    script.add(type, payload as never, { order_id: 'o1' });
  }
  return script.events.reduce<OrderState | undefined>(evolveOrder, undefined) as OrderState;
}

const at = (order: OrderState, seconds: number): number =>
  Date.parse(order.updated_at) + seconds * 1_000;
const BUDGET = { constraints: { budget_seconds: 30, max_retries: 1 } };

describe('an order is overdue', () => {
  test('after its budget, a lease and the grace, not a moment sooner (check 47)', () => {
    const order = after(['ORDER_CREATED', BUDGET], 'ORDER_CLAIMED', 'ORDER_STARTED');
    expect(faultOf(order, at(order, 45), patience)).toBe(null);
    expect(faultOf(order, at(order, 45) + 1, patience)?.code).toBe('ORDER_OVERDUE');
  });

  test('by the default budget where none is known, or by the one that is given', () => {
    const order = after('ORDER_STARTED');
    expect(faultOf(order, at(order, 75), patience)).toBe(null);
    expect(faultOf(order, at(order, 76), patience)).not.toBe(null);
    const longer = { ...patience, budgetSeconds: 600 };
    expect(faultOf(order, at(order, 76), longer)).toBe(null);
  });

  test('never where its time of start is still to come', () => {
    const order = after('ORDER_STARTED');
    expect(faultOf(order, at(order, -1e6), patience)).toBe(null);
  });

  test('blocked by a quota only when that is over and its budget too', () => {
    const resets_at = '2026-01-14T18:00:00.000Z';
    const order = after('ORDER_STARTED', ['ORDER_BLOCKED', { resets_at }]);
    expect(faultOf(order, Date.parse(resets_at) + 75_000, patience)).toBe(null);
    expect(faultOf(order, Date.parse(resets_at) + 75_001, patience)).not.toBe(null);
  });

  test('counted from when it went on after it was blocked', () => {
    const order = after('ORDER_STARTED', 'ORDER_BLOCKED', 'ORDER_STARTED');
    expect(order.resumed_at).toBe(order.updated_at);
    expect(faultOf(order, at(order, 75), patience)).toBe(null);
  });

  test('at once where its recovery was asked for, with that reason', () => {
    const order = after('ORDER_STARTED', ['RECOVERY_REQUIRED', { reason: 'stalled' }]);
    const fault = faultOf(order, at(order, 0), patience);
    expect(fault).toEqual({ code: 'RECOVERY_REQUIRED', reason: 'stalled' });
  });

  test('never when it waits or has ended, whatever was told of it (check 48)', () => {
    const types = fc.constantFrom<EventType>(
      'ORDER_CREATED',
      'ORDER_ENQUEUED',
      'ORDER_CLAIMED',
      'ORDER_STARTED',
      'ORDER_BLOCKED',
      'ORDER_COMPLETED',
      'ORDER_FAILED',
      'ORDER_CANCELLED',
      'ORDER_REISSUED',
      'RECOVERY_REQUIRED',
    );
    fc.assert(
      fc.property(fc.array(types, { minLength: 1, maxLength: 12 }), (story) => {
        const order = after(...story);
        const rests = order.status === 'QUEUED' || isTerminal(order.status);
        expect(faultOf(order, at(order, 1e6), patience) === null).toBe(rests);
      }),
    );
  });
});

test('an order waits long from when it was put on the queue until it begins', () => {
  const queued = after('ORDER_CREATED', 'ORDER_ENQUEUED');
  expect(waitsLong(queued, at(queued, 10), 10_000)).toBe(false);
  expect(waitsLong(queued, at(queued, 11), 10_000)).toBe(true);
  const created = after('ORDER_CREATED');
  expect(waitsLong(created, at(created, 1e6), 10_000)).toBe(false);
  const begun = after('ORDER_ENQUEUED', 'ORDER_CLAIMED');
  expect(waitsLong(begun, at(begun, 1e6), 10_000)).toBe(false);
});
