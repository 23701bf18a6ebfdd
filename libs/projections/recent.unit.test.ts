import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createRecent } from './recent.ts';

describe('recent', () => {
  test('never holds more than twice its budget and the entry that went over it', () => {
    const step = fc.record({ key: fc.nat(40), weight: fc.integer({ min: 1, max: 50 }) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
        const recent = createRecent<number, number>(100);
        for (const { key, weight } of steps) {
          recent.set(key, key, weight);
          recent.get(weight);
          expect(recent.weight()).toBeLessThanOrEqual(2 * (100 + 50));
        }
      }),
    );
  });

  test('gives the last value set, or none', () => {
    const step = fc.tuple(fc.nat(20), fc.nat());
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const recent = createRecent<number, number>(10);
        const all = new Map<number, number>();
        for (const [key, value] of steps) {
          recent.set(key, value, 1);
          all.set(key, value);
          for (const [known, last] of all) expect([undefined, last]).toContain(recent.get(known));
        }
      }),
    );
  });

  test('keeps what is in use', () => {
    const recent = createRecent<string, number>(10);
    recent.set('hot', 1, 1);
    for (let i = 0; i < 1_000; i += 1) {
      recent.set(`cold${i}`, i, 1);
      expect(recent.get('hot')).toBe(1);
    }
    recent.clear();
    expect(recent.get('hot')).toBeUndefined();
    expect(recent.weight()).toBe(0);
  });
});
