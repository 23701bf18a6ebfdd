import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { eventScript } from '#libs/testing';
import {
  alarm,
  causeOf,
  evolveWatch,
  type Limits,
  NO_WATCH,
  SENTINEL,
  sampleOf,
  type Seen,
  tickAgeMs,
  verdictOf,
  type WatchState,
} from './watch.ts';

const limits: Limits = { tickAgeMs: 90_000, rising: 3, mayBeDead: true };

/** A watch whose audits are made one after the other. */
function watch() {
  const script = eventScript({ theater_id: null, run_id: null });
  let state: WatchState = NO_WATCH;
  let lastMs = 0;
  const take = (...events: ReturnType<typeof script.append>) => {
    state = evolveWatch(state, events);
    lastMs = Date.parse(events.at(-1)?.ts ?? '') || lastMs;
  };
  return {
    get state() {
      return state;
    },
    tick: (source = 'timer') => take(script.add('PATROL_TICK', { source })),
    /** Answers the verdict, and whether it raised an escalation. */
    audit(backlog: number | null, options: { progress?: boolean; laterMs?: number } = {}) {
      const { progress = false, laterMs = 0 } = options;
      const seen: Seen = { garrisonId: 'g', nowMs: lastMs + laterMs, backlog, progress };
      const sample = sampleOf(state, seen);
      if (sample !== null) take(...script.append(sample));
      const verdict = verdictOf(state, seen.nowMs, limits);
      const raised = alarm(state, verdict, seen);
      if (raised.ok && raised.events.length > 0) take(...script.append(...raised.events));
      return { verdict, raised: raised.ok && raised.events.length > 0, sampled: sample !== null };
    },
  };
}

describe('dead', () => {
  test('8.50 without any tick, once', () => {
    const one = watch();
    expect(one.audit(0)).toMatchObject({ verdict: 'dead', raised: true });
    expect(one.audit(0)).toMatchObject({ verdict: 'dead', raised: false });
  });

  test('8.50 after the limit; the next outage is told again', () => {
    const one = watch();
    one.tick();
    expect(one.audit(0, { laterMs: 90_000 }).verdict).toBe('ok');
    expect(one.audit(0, { laterMs: 90_001 })).toMatchObject({ verdict: 'dead', raised: true });
    expect(one.audit(0, { laterMs: 200_000 })).toMatchObject({ verdict: 'dead', raised: false });
    one.tick();
    expect(one.audit(0).verdict).toBe('ok');
    expect(one.audit(0, { laterMs: 90_001 })).toMatchObject({ verdict: 'dead', raised: true });
  });

  test('a tick that the sentinel asked for is no sign of life', () => {
    const one = watch();
    one.tick();
    one.tick(SENTINEL);
    expect(one.audit(0, { laterMs: 100_000 }).verdict).toBe('dead');
  });

  test('not while the sentinel has only begun to listen', () => {
    expect(verdictOf(NO_WATCH, 0, { ...limits, mayBeDead: false })).toBe('ok');
  });

  test('a tick of a time to come is as old as one of now', () => {
    const one = watch();
    one.tick();
    expect(tickAgeMs(one.state, 0)).toBe(0);
  });
});

describe('ineffective', () => {
  const verdictsOf = (counts: readonly number[]) => {
    const one = watch();
    return counts.map((count) => {
      one.tick();
      return one.audit(count);
    });
  };

  test('8.50 a steady or falling backlog is well, and a steady one writes nothing', () => {
    expect(verdictsOf([4, 4, 4, 4]).map(({ sampled }) => sampled)).toEqual([
      true,
      false,
      false,
      false,
    ]);
    expect(verdictsOf([9, 7, 5, 3, 1]).every(({ verdict }) => verdict === 'ok')).toBe(true);
    expect(verdictsOf([3, 4, 2, 3, 1]).every(({ verdict }) => verdict === 'ok')).toBe(true);
    expect(verdictsOf([0]).map(({ sampled }) => sampled)).toEqual([false]);
  });

  test('8.50 one that rises over three audits is told once, until it falls', () => {
    const rising = verdictsOf([1, 2, 3, 3, 4, 5, 2, 3, 4]);
    const bad = rising.map(({ verdict }) => verdict === 'ineffective');
    expect(bad).toEqual([false, false, true, true, true, true, false, false, true]);
    expect(rising.map(({ raised }) => raised)).toEqual(bad.map((_, at) => at === 2 || at === 8));
  });

  test('something completed or mended ends a rise, though the backlog stays', () => {
    const one = watch();
    one.tick();
    for (const count of [1, 2, 3]) one.audit(count);
    expect(one.audit(3, { progress: true })).toMatchObject({ verdict: 'ok', sampled: true });
    expect(one.audit(4, { progress: true }).verdict).toBe('ok');
    expect(one.audit(5, { progress: true }).verdict).toBe('ok');
  });

  test('death goes before; what is not known changes nothing', () => {
    const one = watch();
    one.tick();
    for (const count of [1, 2, 3]) one.audit(count);
    expect(one.audit(null)).toMatchObject({ verdict: 'ineffective', sampled: false });
    expect(one.audit(4, { laterMs: 100_000 }).verdict).toBe('dead');
  });

  test('whatever the counts: at most one escalation for each rise, and none without three', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(6), { maxLength: 30 }), (counts) => {
        const one = watch();
        const raisedFor: (string | null)[] = [];
        for (const count of counts) {
          one.tick();
          const { raised, verdict } = one.audit(count);
          if (raised) raisedFor.push(causeOf(one.state, verdict));
          const last = one.state.samples.slice(-3).map((sample) => sample.count);
          const rises =
            last.length === 3 && last.every((n, at) => at === 0 || n > (last[at - 1] ?? 0));
          expect(verdict).toBe(rises ? 'ineffective' : 'ok');
        }
        expect(new Set(raisedFor).size).toBe(raisedFor.length);
      }),
    );
  });
});
