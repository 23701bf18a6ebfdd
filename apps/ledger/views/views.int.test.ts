import { join } from 'node:path';
import type { StoredEvent } from '#libs/contracts';
import { evolveOrder, evolveRun, type OrderState, type RunState } from '#libs/orders';
import type { Projection } from '#libs/projections';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  findOrder,
  findRun,
  findTheater,
  listAnomalies,
  listOrders,
  listRuns,
  listTheaters,
} from './lists.ts';
import { findEvent } from './search.ts';
import { eventOf, history, messyHistory, random } from './testdata/history.ts';
import { testFolder, viewsOf } from './testdata/open.ts';
import { eventIndex } from './views.ts';

/** The events that count: of those with one id, the first. */
function accepted(events: readonly StoredEvent[]): StoredEvent[] {
  const seen = new Set<string>();
  return events.filter(({ event_id }) => !seen.has(event_id) && seen.add(event_id));
}

function foldBy<S>(
  events: readonly StoredEvent[],
  idOf: (event: StoredEvent) => string | null,
  evolve: (state: S | undefined, event: StoredEvent) => S,
): Map<string, S> {
  const states = new Map<string, S>();
  for (const event of events) {
    const id = idOf(event);
    if (id !== null) states.set(id, evolve(states.get(id), event));
  }
  return states;
}

test('any cut into batches and lives gives the rows of one go', async () => {
  await using folder = await testFolder();
  let number = 0;
  await fc.assert(
    fc.asyncProperty(fc.nat(), fc.integer({ min: 1, max: 4 }), async (seed, lives) => {
      number += 1;
      const next = random(seed);
      const events = [...messyHistory(600, seed)];
      const path = join(folder.path, String(number));
      const whole = await viewsOf(`${path}-whole`, events);
      const wanted = await whole.digest();
      await whole.close();
      let got: unknown;
      const ends = Array.from({ length: lives - 1 }, () => Math.floor(next() * 599) + 1);
      for (const end of [...ends.sort((x, y) => x - y), events.length]) {
        const batchSize = () => 1 + Math.floor(next() * 80);
        const views = await viewsOf(`${path}-cut`, events.slice(0, end), batchSize);
        got = await views.digest();
        await views.close();
      }
      expect(got).toEqual(wanted);
    }),
    { numRuns: 12 },
  );
}, 60_000);

describe('a messy history', () => {
  const events = [...messyHistory(3_000, 7)];
  const facts = accepted(events);
  const withViews = async (check: (views: Projection) => Promise<void> | void): Promise<void> => {
    await using folder = await testFolder();
    const views = await viewsOf(folder.path, events, () => 97);
    try {
      await check(views);
    } finally {
      await views.close();
    }
  };

  test('orders and runs are what the domain folds them to, repeats left out', () =>
    withViews((views) => {
      expect(facts.length).toBeLessThan(events.length);
      const orders = foldBy<OrderState>(facts, ({ order_id }) => order_id, evolveOrder);
      for (const [id, state] of orders) {
        expect(views.read((db) => findOrder(db, id))).toEqual(state);
      }
      const runs = foldBy<RunState>(facts, ({ run_id }) => run_id, evolveRun);
      for (const [id, state] of runs) {
        const row = views.read((db) => findRun(db, id));
        expect(row).toMatchObject(state);
        const mine = [...orders.values()].filter(({ run_id }) => run_id === id);
        const completed = mine.filter(({ status }) => status === 'COMPLETED').length;
        expect(row?.order_counts.COMPLETED).toBe(completed);
      }
      const total = views.read((db) => db.get<{ n: number }>('SELECT count(*) n FROM orders')?.n);
      expect(total).toBe(orders.size);
    }));

  test('every anomaly is listed, repeated events among them', () =>
    withViews((views) => {
      const all = [];
      let cursor: string | undefined;
      do {
        const page = views.read((db) => listAnomalies(db, { limit: 300, cursor }));
        all.push(...page.anomalies);
        cursor = page.next_cursor ?? undefined;
      } while (cursor !== undefined);
      const repeats = all.filter(({ kind }) => kind === 'duplicate_event');
      expect(repeats).toHaveLength(events.length - facts.length);
      const counted = (states: Iterable<{ anomalies: number }>) =>
        [...states].reduce((sum, { anomalies }) => sum + anomalies, 0);
      const orders = foldBy<OrderState>(facts, ({ order_id }) => order_id, evolveOrder);
      const runs = foldBy<RunState>(facts, ({ run_id }) => run_id, evolveRun);
      expect(all.length - repeats.length).toBe(counted(orders.values()) + counted(runs.values()));
      expect(all.map(({ seq }) => seq)).toEqual(all.map(({ seq }) => seq).sort((a, b) => b - a));
      const one = all.find(({ order_id }) => order_id !== null)?.order_id ?? '';
      const ofOne = views.read((db) => listAnomalies(db, { limit: 1_000, order_id: one }));
      expect(ofOne.anomalies).toEqual(all.filter(({ order_id }) => order_id === one));
    }));

  test('lists page through everything, newest first, by any filter', () =>
    withViews((views) => {
      const orders = [...foldBy<OrderState>(facts, ({ order_id }) => order_id, evolveOrder)];
      const newest = orders.map(([, state]) => state).reverse();
      const filters = [
        {},
        { theater_id: 'theater-1' },
        { status: 'QUEUED' as const },
        { status: 'COMPLETED' as const },
        { theater_id: 'theater-1', status: 'QUEUED' as const },
        { theater_id: 'theater-1', status: 'COMPLETED' as const },
        { run_id: 'run-3' },
        { run_id: 'run-3', status: 'FAILED' as const, theater_id: 'theater-2' },
      ];
      for (const filter of filters) {
        const ids: string[] = [];
        let cursor: string | undefined;
        do {
          const page = views.read((db) => listOrders(db, { ...filter, limit: 7, cursor }));
          ids.push(...page.orders.map(({ order_id }) => order_id));
          expect(page.as_of).toBe(events.at(-1)?.seq);
          cursor = page.next_cursor ?? undefined;
        } while (cursor !== undefined);
        const wanted = newest.filter((order) =>
          Object.entries(filter).every(([key, value]) => order[key as keyof OrderState] === value),
        );
        expect(ids).toEqual(wanted.map(({ order_id }) => order_id));
      }
      const runs = views.read((db) => listRuns(db, { limit: 1_000, status: 'OPEN' })).runs;
      expect(runs.length).toBeGreaterThan(0);
      expect(new Set(runs.map(({ status }) => status))).toEqual(new Set(['OPEN']));
    }));

  test('an event is found by its id, the first of those that share it', () =>
    withViews(async (views) => {
      const index = eventIndex(views);
      await index.catchUp();
      expect(index.behindMs()).toBeLessThan(60_000);
      for (const event of facts.slice(0, 300)) {
        expect(index.findById(event.event_id)).toEqual(event);
      }
      expect(views.read((db) => findEvent(db, 'nobody'))).toBeUndefined();
    }));
});

test('theaters tell where they are and how much they hold', async () => {
  await using folder = await testFolder();
  const events = [...history(1_000)];
  events.push(
    eventOf(1_001, 'THEATER_OPENED', { theater_id: 'theater-1' }, { repo_path: '/srv/one' }),
    eventOf(1_002, 'THEATER_OPENED', { theater_id: 'late' }, { repo_path: '/srv/late' }),
  );
  const views = await viewsOf(folder.path, events);
  const { theaters } = views.read((db) => listTheaters(db, { limit: 10 }));
  expect(theaters.map(({ theater_id }) => theater_id)[0]).toBe('late');
  expect(theaters).toHaveLength(4);
  const one = views.read((db) => findTheater(db, 'theater-1'));
  const mine = events.filter(({ theater_id }) => theater_id === 'theater-1');
  expect(one).toMatchObject({
    repo_path: '/srv/one',
    events: mine.length,
    runs: new Set(mine.flatMap(({ run_id }) => run_id ?? [])).size,
    orders: new Set(mine.flatMap(({ order_id }) => order_id ?? [])).size,
  });
  expect(views.read((db) => findTheater(db, 'none'))).toBeUndefined();
  await views.close();
});
