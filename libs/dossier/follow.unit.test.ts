import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Drained } from './drain.ts';
import { downMs, followQueue, type Tick, TICK_MS } from './follow.ts';

const NONE: Drained = {
  uploaded: 0,
  already_exists: 0,
  retrying: 0,
  failed: 0,
  held: 0,
  exhausted: 0,
  stopped: null,
};
const away: Tick = { ...NONE, stopped: 'unreachable' };

/** The waits between these ticks; the signal comes in the last of them. */
async function waitsOf(ticks: readonly Tick[], dues: readonly (number | null)[] = []) {
  const stop = new AbortController();
  const [waits, told]: [number[], number[]] = [[], []];
  let n = 0;
  await followQueue({
    tick: async () => ticks[n] ?? expect.fail('one tick too many'),
    nextDueMs: () => dues[n] ?? null,
    sleep: async (ms) => {
      waits.push(ms);
      n += 1;
      if (n === ticks.length) stop.abort();
    },
    signal: stop.signal,
    onTick: (_tick, waitMs) => told.push(waitMs),
  });
  expect(told).toEqual(waits);
  return waits;
}

test('a tick comes every 300 s, or when a row is due before that', async () => {
  expect(TICK_MS).toBe(300_000);
  const waits = await waitsOf([NONE, NONE, NONE, NONE], [null, 4_000, 900_000, -5]);
  expect(waits).toEqual([300_000, 4_000, 300_000, 500]);
});

test('D.50 a server that is down is left alone, 0.5 s doubling to 30 s, until it serves', async () => {
  const ticks: Tick[] = [
    ...Array.from({ length: 8 }, () => away),
    NONE,
    { ...NONE, stopped: 'events_pending' },
    { stopped: 'busy' },
    { ...NONE, stopped: 'unauthorized' },
  ];
  expect(await waitsOf(ticks, [0, 0, 0, 0])).toEqual([
    500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 300_000, 500, 1_000, 2_000,
  ]);
});

test('the wait never leaves its bounds, however long a server is down', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 1_000_000 }), (failures) => {
      expect(downMs(failures)).toBeGreaterThanOrEqual(500);
      expect(downMs(failures)).toBeLessThanOrEqual(30_000);
    }),
  );
});

test('who is told to stop before the first tick sends nothing; an error ends it', async () => {
  const given = { nextDueMs: () => null, sleep: async () => expect.fail('no wait') };
  await followQueue({ ...given, tick: () => expect.fail('no tick'), signal: AbortSignal.abort() });
  const tick = async (): Promise<Tick> => {
    throw new Error('the disk is full');
  };
  const broken = followQueue({ ...given, tick, signal: new AbortController().signal });
  await expect(broken).rejects.toThrow('the disk is full');
});
