import { describe, expect, test } from 'vitest';
import { BLOCK_EVENTS, eventPool, eventText, wholeBlocks } from './events.ts';
import { PARTS, readOptions, UsageError } from './options.ts';
import { pairRow } from './report.ts';
import { inPairs, median, rateFor, ratiosOf } from './stats.ts';
import { ledgerSubject } from '#libs/eventlog';
import { evolveOrder, type OrderState } from '#libs/orders';
import type { StoredEvent } from '#libs/contracts';

describe('pairs', () => {
  test('medians of an odd and an even number', () => {
    expect(median([3, 1, 2])).toBe(2);
    expect(median([4, 1, 3, 2])).toBe(2.5);
    expect(() => median([])).toThrow('no values');
  });

  test('who goes first changes, and the warm-up is not counted', async () => {
    const order: string[] = [];
    const side = (name: string, rate: number) => async () => {
      order.push(name);
      return rate;
    };
    const warmUp = async () => order.push('warm-up');
    const pairs = await inPairs(3, side('raw', 10), side('ours', 5), warmUp);
    expect(order).toEqual(['warm-up', 'raw', 'ours', 'ours', 'raw', 'raw', 'ours']);
    expect(ratiosOf(pairs)).toEqual([0.5, 0.5, 0.5]);
  });

  test('one pair is measured even when the time is over', async () => {
    const pairs = await inPairs(
      9,
      async () => 1,
      async () => 1,
      async () => {},
      -1,
    );
    expect(pairs.raw).toHaveLength(1);
  });

  test('a ratio is the median of the pairs, not the ratio of the medians', () => {
    const text = { id: 'x', what: 'x', unit: 'x/s', goal: 0.6 };
    const row = pairRow(text, { raw: [10, 100, 1000], ours: [9, 50, 400] });
    expect(row).toMatchObject({ raw: 100, ours: 50, ratio: 0.5, met: false });
  });

  test('a rate counts what was done, and no more is begun when the time is over', async () => {
    let done = 0;
    const rate = await rateFor(20, 4, async () => {
      done += 1;
      await new Promise((resolve) => setTimeout(resolve, 1));
    });
    expect(rate).toBeGreaterThan(0);
    expect(rate).toBeLessThanOrEqual(done / 0.02);
  });
});

describe('options', () => {
  test('defaults', () => {
    expect(readOptions(['ledger'])).toMatchObject({ events: 1_000_000, parts: PARTS, sync: '2m' });
    expect(readOptions(['orders', '--quick'])).toMatchObject({ quick: true, events: 44_000 });
    expect(readOptions(['--help'])).toBe('help');
  });

  test.each([
    [[]],
    [['ledger', 'orders']],
    [['speed']],
    [['ledger', '--events', '1.5']],
    [['ledger', '--wait', '0']],
    [['ledger', '--sync', 'never']],
    [['ledger', '--parts', 'append,none']],
    [['ledger', '--fast']],
  ])('%j is refused', (argv) => {
    expect(() => readOptions(argv)).toThrow(UsageError);
  });
});

describe('the history', () => {
  test('every event has an id of its own and lies at its own subject', () => {
    const ids = new Set<string>();
    for (let index = 0; index < 2 * BLOCK_EVENTS; index += 1) {
      const { text, subject, eventId } = eventText('t', index);
      const event = JSON.parse(text) as StoredEvent;
      expect(event.event_id).toBe(eventId);
      expect(ledgerSubject(event)).toBe(subject);
      ids.add(eventId);
    }
    expect(ids.size).toBe(2 * BLOCK_EVENTS);
  });

  test('whole blocks leave every order promoted, without an anomaly', () => {
    const orders = new Map<string, OrderState>();
    for (const [index, event] of eventPool('t').entries()) {
      if (event.order_id === null) continue;
      const before = orders.get(event.order_id);
      orders.set(event.order_id, evolveOrder(before, { ...event, seq: index + 1 }));
    }
    for (const { status, anomalies, integration } of orders.values()) {
      expect({ status, anomalies, state: integration?.state }).toEqual({
        status: 'COMPLETED',
        anomalies: 0,
        state: 'INTEGRATED',
      });
    }
    expect(wholeBlocks(1)).toBe(BLOCK_EVENTS);
    expect(wholeBlocks(BLOCK_EVENTS)).toBe(BLOCK_EVENTS);
  });
});
