import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { isHung, watchBeats } from './liveness.ts';

describe('a process is hung', () => {
  test('once it was silent for longer than its limit', () => {
    const at = (nowMs: number) => isHung({ nowMs, lastBeatMs: 1_000, lateMs: 0, limitMs: 60_000 });
    expect([1_000, 61_000, 61_001].map(at)).toEqual([false, false, true]);
  });

  test('never by what its supervisor missed, nor without a limit', () => {
    const ms = fc.nat({ max: 10_000_000 });
    fc.assert(
      fc.property(ms, ms, ms, (lastBeatMs, heardMs, lateMs) => {
        const silence = { nowMs: lastBeatMs + heardMs + lateMs, lastBeatMs, lateMs };
        expect(isHung({ ...silence, limitMs: 60_000 })).toBe(heardMs > 60_000);
        expect(isHung({ ...silence, limitMs: 0 })).toBe(false);
      }),
    );
  });
});

describe('a watch', () => {
  let clockMs = 0;
  beforeEach(() => {
    clockMs = 0;
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
    vi.spyOn(performance, 'now').mockImplementation(() => clockMs);
  });
  afterEach(() => {
    vi.useRealTimers();
    vi.restoreAllMocks();
  });
  /** Lets checks run on time for so many seconds. */
  const pass = (seconds: number): void => {
    for (let i = 0; i < seconds; i += 1) {
      clockMs += 1_000;
      vi.advanceTimersByTime(1_000);
    }
  };
  /** Machine or supervisor stand still; the check that was due comes late. */
  const standStill = (seconds: number): void => {
    clockMs += seconds * 1_000;
    vi.advanceTimersByTime(1_000);
  };
  const hung = vi.fn<(reason: string) => void>();
  beforeEach(() => void hung.mockReset());

  test('gives five times as long before ready, and tells once', () => {
    const watch = watchBeats(10_000, hung);
    pass(50);
    expect(hung).not.toHaveBeenCalled();
    watch.ready();
    pass(10);
    expect(hung).not.toHaveBeenCalled();
    pass(60);
    expect(hung.mock.calls).toEqual([['it gave no sign of life for 10 s (IRONCLAW_HANG_MS)']]);
  });

  test('does not count a sleep of the machine, before or after its first beat', () => {
    const watch = watchBeats(10_000, hung);
    watch.ready();
    standStill(3_600);
    pass(8);
    watch.beat();
    // The beat is read before the late check: that is no credit for later.
    clockMs += 3_600_000;
    watch.beat();
    vi.advanceTimersByTime(1_000);
    pass(10);
    expect(hung).not.toHaveBeenCalled();
    pass(1);
    expect(hung).toHaveBeenCalledOnce();
  });

  test('that has ended tells nothing', () => {
    watchBeats(10_000, hung).end();
    pass(100);
    expect(hung).not.toHaveBeenCalled();
  });
});
