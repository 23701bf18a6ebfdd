import { DatabaseSync } from 'node:sqlite';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { StoredEvent } from '#libs/contracts';
import { evolveOrder, type OrderState } from '#libs/orders';
import type { Reader, Row, SqlValue } from '#libs/projections';
import { arbitraryLedger, eventScript } from '#libs/testing';
import { type Clock, evolveClock, isOver } from './clock.ts';
import { clocksView, findClock, liveClocks, openTheaters } from './clocks-view.ts';

const fold = (events: readonly StoredEvent[]): Clock | undefined =>
  events.reduce<Clock | undefined>(evolveClock, undefined);

describe('the clock of an order', () => {
  test('a unit at work moves the signal, nothing else does', () => {
    const script = eventScript();
    const u1 = { unit_id: 'u1' };
    script.add('ORDER_CREATED', {});
    expect(fold(script.events)?.last_signal_at).toBeNull();
    script.add('ORDER_CLAIMED', { attempt: 1 }, u1);
    script.add('ORDER_STARTED', { attempt: 1 }, u1);
    const call = script.add('MODEL_CALL_STARTED', { attempt: 1 }, u1);
    script.add('ESCALATION_RAISED', { reason: 'late' }, { order_id: 'o1' });
    script.add('WORKTREE_READY', { worktree_path: '/w' });
    script.add('UNIT_SIGNAL', { attempt: 1 }, { unit_id: 'u2' });
    script.add('UNIT_SIGNAL', { attempt: 1 }, { ...u1, run_id: 'r2' });
    expect(fold(script.events)?.last_signal_at).toBe(call.ts);
    const tool = script.add('TOOL_CALLED', { attempt: 1 });
    expect(fold(script.events)?.last_signal_at).toBe(tool.ts);
  });

  test('a new attempt starts afresh, and the old one is not heard any more', () => {
    const script = eventScript();
    script.add('ORDER_STARTED', { attempt: 1 }, { unit_id: 'u1' });
    script.add('ORDER_REISSUED', { attempt: 2 });
    script.add('UNIT_SIGNAL', { attempt: 1 }, { unit_id: 'u1' });
    expect(fold(script.events)).toMatchObject({
      order: { attempt: 2, status: 'QUEUED' },
      last_signal_at: null,
    });
  });

  test('late words about an order that nobody knows begin no clock', () => {
    const script = eventScript();
    script.add('UNIT_SIGNAL', {}, { unit_id: 'u1' });
    script.add('WORKTREE_REMOVED', {});
    script.add('INTEGRATED', {});
    expect(fold(script.events)).toBeUndefined();
  });

  test('it stands where the whole order stands, for any ledger', () => {
    fc.assert(
      fc.property(arbitraryLedger(), (ledger) => {
        const script = eventScript();
        const events = [script.add('ORDER_CREATED'), ...ledger].map((event, index) => ({
          ...event,
          seq: index + 1,
        }));
        const of = events.filter(({ order_id }) => order_id === 'o1');
        const order = of.reduce<OrderState | undefined>(evolveOrder, undefined);
        const clock = of.reduce<Clock | undefined>(
          // As it is kept: through JSON.
          (known, event) => JSON.parse(JSON.stringify(evolveClock(known, event))) as Clock,
          undefined,
        );
        for (const key of [
          'status',
          'attempt',
          'unit_id',
          'started_at',
          'resumed_at',
          'version',
        ] as const) {
          expect(clock?.order[key]).toEqual(order?.[key]);
        }
        expect(clock?.order.worktree).toEqual(order?.worktree);
        expect(clock?.order.integration?.state).toBe(order?.integration?.state);
        expect(clock?.order.recovery).toEqual(order?.recovery);
        expect(clock?.order.escalations).toEqual(order?.escalations);
      }),
    );
  });
});

describe('when an order is over', () => {
  const tree = { worktree_path: '/w', branch: 'b' };

  test('a completed order with a worktree waits for its verdict, one without does not', () => {
    const script = eventScript();
    script.add('ORDER_COMPLETED', {});
    const bare = fold(script.events);
    expect(bare && isOver(bare.order)).toBe(true);
    script.add('WORKTREE_CREATED', tree);
    const held = fold(script.events);
    expect(held && isOver(held.order)).toBe(false);
    script.add('INTEGRATION_READY', {});
    const ready = fold(script.events);
    expect(ready && isOver(ready.order)).toBe(true);
  });

  test.each(['ORDER_FAILED', 'ORDER_CANCELLED'] as const)('%s', (type) => {
    const script = eventScript();
    script.add('WORKTREE_CREATED', tree);
    script.add(type, {});
    const clock = fold(script.events);
    expect(clock && isOver(clock.order)).toBe(true);
  });
});

/** The view on a file in memory. */
function openView(overKept?: number) {
  const db = new DatabaseSync(':memory:');
  const view = clocksView('g', overKept);
  view.create(db);
  const reader: Reader = {
    seq: 0,
    all: <R = Row>(sql: string, ...params: SqlValue[]) => db.prepare(sql).all(...params) as R[],
    get: <R = Row>(sql: string, ...params: SqlValue[]) =>
      db.prepare(sql).get(...params) as R | undefined,
  };
  return { db, reader, writer: view.open(db) };
}

describe('the clocks view', () => {
  test('live orders of one theater; foreign garrisons and theaters stay out', () => {
    const script = eventScript();
    script.add('THEATER_OPENED', {}, { run_id: null });
    script.add('ORDER_STARTED', {}, { order_id: 'a' });
    script.add('ORDER_STARTED', {}, { order_id: 'b' });
    script.add('ORDER_FAILED', {}, { order_id: 'b' });
    script.add('ORDER_STARTED', {}, { order_id: 'a', theater_id: 'other' });
    const foreign = { ...script.add('ORDER_STARTED', {}, { order_id: 'c' }), garrison_id: 'x' };
    const { reader, writer } = openView();
    writer.apply({ events: [...script.events.slice(0, -1), foreign] });
    expect(liveClocks(reader, 'demo').map(({ order }) => order.order_id)).toEqual(['a']);
    expect(liveClocks(reader, 'other').map(({ order }) => order.order_id)).toEqual(['a']);
    expect(findClock(reader, 'demo', 'b')?.order.status).toBe('FAILED');
    expect(findClock(reader, 'demo', 'c')).toBeUndefined();
    expect(openTheaters(reader)).toEqual(['demo']);
  });

  test('orders that are over are kept up to a bound, the newest', () => {
    const script = eventScript();
    for (const order_id of ['a', 'b', 'c', 'd']) script.add('ORDER_FAILED', {}, { order_id });
    script.add('ORDER_REISSUED', { attempt: 2 }, { order_id: 'b' });
    const { db, reader, writer } = openView(3);
    writer.apply({ events: script.events });
    const rows = db.prepare('SELECT order_id FROM clocks ORDER BY order_id').all();
    expect(rows.map(({ order_id }) => order_id)).toEqual(['b', 'c', 'd']);
    expect(liveClocks(reader, 'demo').map(({ order }) => order.order_id)).toEqual(['b']);
  });

  test('the bound counts what is over now, by when it ended', () => {
    const script = eventScript();
    const fail = (order_id: string) => script.add('ORDER_FAILED', {}, { order_id });
    const kept = (overKept: number) => {
      const { db, writer } = openView(overKept);
      writer.apply({ events: script.events });
      return db
        .prepare('SELECT order_id FROM clocks')
        .all()
        .map(({ order_id }) => order_id);
    };
    fail('a');
    fail('b');
    script.add('ESCALATION_RAISED', {}, { order_id: 'a' });
    fail('c');
    expect(kept(2)).toEqual(['b', 'c']);
    script.add('ORDER_REISSUED', { attempt: 2 }, { order_id: 'c' });
    fail('d');
    expect(kept(1)).toEqual(['c', 'd']);
  });

  test('any cut into batches gives the same rows, also after a batch was undone', () => {
    const dump = (db: DatabaseSync) =>
      db.prepare('SELECT * FROM clocks ORDER BY theater_id, order_id').all();
    fc.assert(
      fc.property(arbitraryLedger({ maxLength: 60 }), fc.nat(60), (events, cut) => {
        const whole = openView(1);
        whole.writer.apply({ events });
        const parts = openView(1);
        parts.writer.apply({ events: events.slice(0, cut) });
        parts.db.exec('BEGIN');
        parts.writer.apply({ events: events.slice(cut) });
        parts.db.exec('ROLLBACK');
        parts.writer.forget();
        parts.writer.apply({ events: events.slice(cut) });
        expect(dump(parts.db)).toEqual(dump(whole.db));
        const over = parts.db.prepare('SELECT count(*) n FROM clocks WHERE over_seq > 0').get();
        expect(Number(over?.n)).toBeLessThanOrEqual(1);
      }),
      { numRuns: 50 },
    );
  });
});
