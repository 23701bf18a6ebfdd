import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createWakes } from './wakes.ts';

test('a look that went well covers all it has seen, and nothing after', () => {
  const wakes = createWakes();
  expect(wakes.covers('m', 1)).toBe(false);
  wakes.looked('m', 3, 7, 'well');
  expect([6, 7, 8].map((seq) => wakes.covers('m', seq))).toEqual([true, true, false]);
  expect(wakes.covers('other', 1)).toBe(false);
});

test('of what a failed look has seen one message comes again, until a look goes well', () => {
  const wakes = createWakes();
  wakes.looked('m', 3, 7, 'wrong');
  expect([2, 3, 4, 7, 8].map((seq) => wakes.covers('m', seq))).toEqual([
    true,
    false,
    true,
    true,
    false,
  ]);
  wakes.looked('m', 8, 9, 'wrong');
  expect([3, 8, 9].map((seq) => wakes.covers('m', seq))).toEqual([false, true, true]);
  wakes.looked('m', 3, 9, 'well');
  expect([3, 8, 9, 10].map((seq) => wakes.covers('m', seq))).toEqual([true, true, true, false]);
});

test('whatever is forgotten costs looks only', () => {
  const wakes = createWakes(2);
  for (const name of ['a', 'b', 'c']) wakes.looked(name, 1, 1, 'well');
  expect(['a', 'b', 'c'].map((name) => wakes.covers(name, 1))).toEqual([false, true, true]);
});

test('every message that is acked was seen by a look that went well, or one still comes for it', () => {
  const delivery = fc.record({ pick: fc.nat(1_000), fails: fc.boolean(), grows: fc.nat(3) });
  fc.assert(
    fc.property(fc.array(delivery, { maxLength: 60 }), (deliveries) => {
      const wakes = createWakes();
      let [version, wellAt] = [1, 0];
      const waiting = new Set([1]);
      for (const { pick, fails, grows } of deliveries) {
        for (let n = 0; n < grows; n += 1) waiting.add((version += 1));
        const seq = [...waiting][pick % Math.max(1, waiting.size)];
        if (seq === undefined) continue;
        if (wakes.covers('m', seq)) waiting.delete(seq);
        else if (fails) wakes.looked('m', seq, version, 'wrong');
        else {
          wakes.looked('m', seq, version, 'well');
          waiting.delete(seq);
          wellAt = version;
        }
        // Nothing waits any more only where the newest event was seen well.
        if (waiting.size === 0) expect(wellAt).toBe(version);
      }
    }),
  );
});
