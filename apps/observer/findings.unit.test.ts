import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { StoredEvent } from '#libs/contracts';
import { evolveOrder, type OrderState, recoverOrder } from '#libs/orders';
import { nextBoundary } from '#libs/runtime';
import { arbitraryLedger, eventScript, when } from '#libs/testing';
import { type Clock, evolveClock } from './clock.ts';
import {
  awaitsVerdict,
  ageMs,
  overdue,
  settle,
  stallLimitMs,
  tell,
  tellOverdue,
} from './findings.ts';
import { untilMiddle } from './timer.ts';

const LIMITS = { stallMs: 60_000, heartbeatMs: 20_000, commitMs: 40_000, orphanMs: 1_000 };
const u1 = { unit_id: 'u1' };
const STALLED = { kind: 'stalled', reason: 'stalled: for long' } as const;

function clockOf(events: readonly StoredEvent[]): Clock {
  const clock = events.reduce<Clock | undefined>(evolveClock, undefined);
  if (clock === undefined) throw new Error('no clock');
  return clock;
}

function orderOf(events: readonly StoredEvent[]): OrderState {
  const order = events.reduce<OrderState | undefined>(evolveOrder, undefined);
  if (order === undefined) throw new Error('no order');
  return order;
}

const after = (event: StoredEvent, ms: number): number => Date.parse(event.ts) + ms;

describe('clocks that ran out', () => {
  test('8.40 a hung order is stalled whatever its newest event is', () => {
    const script = eventScript();
    const started = script.add('ORDER_STARTED', {}, u1);
    for (let i = 0; i < 70; i += 1) script.add('MODEL_CALL_STARTED', { attempt: 1 }, u1);
    const clock = clockOf(script.events);
    expect(overdue(clock, after(started, 60_000), LIMITS)).toBeUndefined();
    expect(overdue(clock, after(started, 60_001), LIMITS)?.kind).toBe('stalled');
  });

  test('time in BLOCKED is not time in RUNNING', () => {
    const script = eventScript();
    script.add('ORDER_STARTED', {}, u1);
    script.add('ORDER_BLOCKED', { reason: 'quota' }, u1);
    for (let i = 0; i < 100; i += 1) script.add('UNIT_SIGNAL', { attempt: 1 }, u1);
    const again = script.add('ORDER_STARTED', {}, u1);
    expect(overdue(clockOf(script.events), after(again, 0), LIMITS)).toBeUndefined();
  });

  test('a silent unit has lost its heartbeat, claimed or running', () => {
    const script = eventScript();
    const claimed = script.add('ORDER_CLAIMED', {}, u1);
    expect(overdue(clockOf(script.events), after(claimed, 20_000), LIMITS)).toBeUndefined();
    const lost = overdue(clockOf(script.events), after(claimed, 20_001), LIMITS);
    expect(lost?.kind).toBe('heartbeat-lost');
    script.add('ORDER_STARTED', {}, u1);
    const signal = script.add('UNIT_SIGNAL', { attempt: 1 }, u1);
    expect(overdue(clockOf(script.events), after(signal, 20_000), LIMITS)).toBeUndefined();
    expect(overdue(clockOf(script.events), after(signal, 20_001), LIMITS)?.kind).toBe(
      'heartbeat-lost',
    );
  });

  test('no commit is told only of a worktree, and from the newest commit on', () => {
    const script = eventScript();
    const started = script.add('ORDER_STARTED', {}, u1);
    for (let i = 0; i < 45; i += 1) script.add('UNIT_SIGNAL', { attempt: 1 }, u1);
    const now = after(started, 45_000);
    expect(overdue(clockOf(script.events), now, LIMITS)).toBeUndefined();
    script.add('WORKTREE_CREATED', { worktree_path: '/w', branch: 'b' });
    expect(overdue(clockOf(script.events), now, LIMITS)?.kind).toBe('no-commit');
    expect(overdue(clockOf(script.events), now, LIMITS, now - 40_001)?.kind).toBe('no-commit');
    expect(overdue(clockOf(script.events), now, LIMITS, now - 40_000)).toBeUndefined();
  });

  test('an order is not stalled within its own budget, and sooner beyond it', () => {
    const budget = (budget_seconds: number) =>
      orderOf([
        eventScript().add('ORDER_CREATED', { constraints: { budget_seconds, max_retries: 1 } }),
      ]);
    expect(stallLimitMs(orderOf([eventScript().add('ORDER_CREATED')]), 1_800_000)).toBe(1_800_000);
    expect(stallLimitMs(budget(60), 1_800_000)).toBe(150_000);
    expect(stallLimitMs(budget(60), 100_000)).toBe(100_000);
    expect(stallLimitMs(budget(60), 1_000)).toBe(90_000);
    expect(stallLimitMs(budget(3_600), 1_800_000)).toBe(3_630_000);
  });

  test('a time that is still to come counts as now', () => {
    expect(ageMs('2026-01-01T00:00:10Z', Date.UTC(2026, 0, 1))).toBe(0);
    expect(ageMs('2026-01-01T00:00:00Z', Date.UTC(2026, 0, 1, 0, 0, 10))).toBe(10_000);
  });

  test('only what is at work can be overdue; time alone makes it worse, never better', () => {
    const rank = { 'no-commit': 1, 'heartbeat-lost': 2, stalled: 3 } as Record<string, number>;
    fc.assert(
      fc.property(arbitraryLedger(), fc.nat(200_000), fc.nat(200_000), (ledger, first, further) => {
        const events = [eventScript().add('ORDER_STARTED', {}, u1), ...ledger].map((e, i) => ({
          ...e,
          seq: i + 1,
        }));
        const clock = clockOf(events.filter(({ order_id }) => order_id === 'o1'));
        const now = Date.parse(events[0]?.ts ?? '') + first;
        const before = overdue(clock, now, LIMITS);
        const later = overdue(clock, now + further, LIMITS);
        const live = ['CLAIMED', 'RUNNING'].includes(clock.order.status);
        expect(live || before === undefined).toBe(true);
        const worse = rank[later?.kind ?? ''] ?? 0;
        expect(worse).toBeGreaterThanOrEqual(rank[before?.kind ?? ''] ?? 0);
      }),
    );
  });
});

describe('telling', () => {
  test('once for each cause and attempt, however the causes alternate', () => {
    const script = eventScript();
    script.add('ORDER_STARTED', { attempt: 1 }, u1);
    const take = (finding: Parameters<typeof tell>[1]) => {
      const order = orderOf(script.events);
      const drafts = when(order, (at) => tell(at, finding)).thenEvents(
        'RECOVERY_REQUIRED',
        'ESCALATION_RAISED',
      );
      script.append(...drafts);
    };
    const lost = { kind: 'heartbeat-lost', reason: 'heartbeat lost' } as const;
    take(lost);
    take(STALLED);
    for (const again of [lost, STALLED, { ...lost, reason: 'in other words' }]) {
      when(orderOf(script.events), (order) => tell(order, again)).thenNothing();
    }
    expect(orderOf(script.events).anomalies).toBe(0);
    const more = { severity: 'HIGH', route: 'duty-officer', code: 'X', maxRetries: 3 } as const;
    const again = when(orderOf(script.events), (order) =>
      recoverOrder(order, { ...more, reason: 'stalled' }),
    ).thenEvents('RECOVERY_STARTED', 'ORDER_REISSUED', 'RECOVERY_COMPLETED');
    script.append(...again);
    script.add('ORDER_STARTED', { attempt: 2 }, { unit_id: 'u2' });
    take(STALLED);
  });

  test('severity and route are part of it', () => {
    const script = eventScript();
    script.add('ORDER_STARTED', {}, u1);
    const [, raised] = when(orderOf(script.events), (order) => tell(order, STALLED)).thenEvents(
      'RECOVERY_REQUIRED',
      'ESCALATION_RAISED',
    );
    expect(raised?.payload).toMatchObject({ severity: 'HIGH', route: 'duty-officer' });
  });

  test('an orphan, or a unit that only does not commit, is escalated; its order is left alone', () => {
    const script = eventScript();
    script.add('ORDER_STARTED', {}, u1);
    const idle = { kind: 'no-commit', reason: 'no recent commit' } as const;
    when(orderOf(script.events), (order) => tell(order, idle)).thenEvents('ESCALATION_RAISED');
    script.add('ORDER_FAILED', {});
    const orphan = { kind: 'orphan', reason: 'orphan: x' } as const;
    when(orderOf(script.events), (order) => tell(order, orphan)).thenEvents('ESCALATION_RAISED');
  });

  test('an order that has moved on since it was looked at is left alone', () => {
    const script = eventScript();
    const started = script.add('ORDER_STARTED', { attempt: 1 }, u1);
    const clock = clockOf(script.events);
    const judge = (now: number) => (at: Clock) => overdue(at, now, LIMITS);
    const lost = { clock, kind: 'heartbeat-lost' } as const;
    const late = judge(after(started, 30_000));
    when(orderOf(script.events), (order) => tellOverdue(order, lost, late)).thenEvents(
      'RECOVERY_REQUIRED',
      'ESCALATION_RAISED',
    );
    script.add('UNIT_SIGNAL', { attempt: 1 }, u1);
    when(orderOf(script.events), (order) => tellOverdue(order, lost, late)).thenNothing();
    // What it says does not make a stalled unit less so.
    const stalled = { clock, kind: 'stalled' } as const;
    const later = judge(after(started, 61_000));
    when(orderOf(script.events), (order) => tellOverdue(order, stalled, later)).thenEvents(
      'RECOVERY_REQUIRED',
      'ESCALATION_RAISED',
    );
    script.add('ORDER_COMPLETED', { attempt: 1 }, u1);
    when(orderOf(script.events), (order) => tellOverdue(order, stalled, later)).thenNothing();
  });
});

describe('8.41 the verdict on a completed order', () => {
  const finding = { kind: 'dirty', reason: 'dirty tree: a.md' } as const;

  function completed() {
    const script = eventScript();
    script.add('WORKTREE_CREATED', { worktree_path: '/w', branch: 'b' });
    script.add('ORDER_COMPLETED', { attempt: 1, commit_sha: 'a'.repeat(40) }, u1);
    return script;
  }

  test('ready once', () => {
    const script = completed();
    const good = { attempt: 1, finding: undefined };
    const order = orderOf(script.events);
    expect(awaitsVerdict(order)).toBe(true);
    const ready = when(order, (at) => settle(at, good)).thenEvents('INTEGRATION_READY');
    script.append(...ready);
    when(orderOf(script.events), (at) => settle(at, good)).thenNothing();
    script.add('INTEGRATION_STARTED', { attempt: 1 });
    script.add('INTEGRATION_FAILED', { attempt: 1, gate: 'merge' });
    when(orderOf(script.events), (at) => settle(at, good)).thenNothing();
  });

  test('wanting: told once, and ready after all once it was mended', () => {
    const script = completed();
    const bad = { attempt: 1, finding };
    const events = when(orderOf(script.events), (at) => settle(at, bad)).thenEvents(
      'RECOVERY_REQUIRED',
      'ESCALATION_RAISED',
    );
    script.append(...events);
    when(orderOf(script.events), (at) => settle(at, bad)).thenNothing();
    when(orderOf(script.events), (at) => settle(at, { ...bad, finding: undefined })).thenEvents(
      'INTEGRATION_READY',
    );
  });

  test('a verdict on an earlier attempt counts no more', () => {
    const script = completed();
    script.add('RECOVERY_REQUIRED', { attempt: 1, reason: 'x' }, { order_id: 'o1' });
    script.add('ORDER_REISSUED', { attempt: 2 });
    script.add('ORDER_COMPLETED', { attempt: 2 }, u1);
    const old = { attempt: 1, finding: undefined };
    when(orderOf(script.events), (at) => settle(at, old)).thenNothing();
  });
});

test('the timer is set in the middle of a period, to its end', () => {
  fc.assert(
    fc.property(fc.nat(10_000_000), fc.integer({ min: 1_000, max: 100_000 }), (now, period) => {
      const armed = now + untilMiddle(now, period);
      expect(untilMiddle(now, period)).toBeLessThanOrEqual(period);
      const wait = nextBoundary(armed, period) - armed;
      expect(Math.abs(wait - period / 2)).toBeLessThanOrEqual(1);
    }),
  );
});
