import fc from 'fast-check';
import { expect, test } from 'vitest';
import { retryDelayMs } from './consume.ts';
import { fromNanos, toNanos, toTtl } from './durations.ts';

test('retry delays stay between 125 ms and 30 s and never shrink as attempts grow', () => {
  const attempt = fc.integer({ min: 1, max: 10_000 });
  const random = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
  fc.assert(
    fc.property(attempt, random, (n, r) => {
      const delay = retryDelayMs(n, r);
      expect(delay).toBeGreaterThanOrEqual(125);
      expect(delay).toBeLessThanOrEqual(30_000);
      expect(retryDelayMs(n + 1, r)).toBeGreaterThanOrEqual(delay);
    }),
  );
});

test('milliseconds survive the way to nanoseconds and back', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 9_000_000_000 }), (ms) => {
      expect(fromNanos(toNanos(ms))).toBe(ms);
    }),
  );
});

test('a TTL is never shorter than asked, and at least a second', () => {
  expect(toTtl(0)).toBe('1s');
  expect(toTtl(1_000)).toBe('1s');
  expect(toTtl(1_001)).toBe('2s');
});
