import type { StoredEvent } from '#libs/contracts';
import type { Projection } from '#libs/projections';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type EventPage, type EventSearch, SPANS_A_PAGE, searchEvents } from './search.ts';
import { SPAN_EVENTS } from './spans.ts';
import { eventOf, messyHistory } from './testdata/history.ts';
import { testFolder, viewsOf } from './testdata/open.ts';

const messy = [...messyHistory(3_000, 11)];
const seen = new Set<string>();
const facts = messy.filter(({ event_id }) => !seen.has(event_id) && seen.add(event_id));

let folder: Awaited<ReturnType<typeof testFolder>>;
let views: Projection;
beforeAll(async () => {
  folder = await testFolder();
  views = await viewsOf(folder.path, messy);
});
afterAll(async () => {
  await views.close();
  await folder[Symbol.asyncDispose]();
});

type Search = Partial<EventSearch>;

function page(search: Search, projection = views): EventPage {
  return projection.read((db) => searchEvents(db, { order: 'desc', limit: 100, ...search }));
}

/** All pages from a first one on, by `next` or `prev`. */
function walk(search: Search, side: 'next' | 'prev', projection = views): EventPage[] {
  const pages = [page(search, projection)];
  for (;;) {
    const cursor = pages.at(-1)?.[`${side}_cursor`];
    if (cursor === null || cursor === undefined) return pages;
    pages.push(page({ ...search, cursor }, projection));
    if (pages.length > 10_000) throw new Error('the pages do not end');
  }
}

function matching(search: Search): StoredEvent[] {
  const found = facts.filter(
    (event) =>
      (search.theater_id === undefined || event.theater_id === search.theater_id) &&
      (search.run_id === undefined || event.run_id === search.run_id) &&
      (search.order_id === undefined || event.order_id === search.order_id) &&
      (search.type === undefined || event.type === search.type) &&
      (search.since === undefined || event.ts >= search.since) &&
      (search.until === undefined || event.ts <= search.until) &&
      (search.from_seq === undefined || event.seq >= search.from_seq) &&
      (search.to_seq === undefined || event.seq <= search.to_seq),
  );
  return search.order === 'asc' ? found : found.reverse();
}

const maybe = <T>(values: readonly T[]) =>
  fc.option(fc.constantFrom(...values), { nil: undefined, freq: 2 });
const seqs = facts.map(({ seq }) => seq);
const searches = fc.record({
  theater_id: maybe(['theater-0', 'theater-1', 'theater-9']),
  run_id: maybe(['run-1', 'run-17', 'run-40', 'nobody']),
  order_id: maybe(['order-3', 'order-77']),
  type: maybe(['ORDER_FAILED', 'RUN_CREATED', 'THEATER_OPENED', 'INTEGRATED', 'AAR_WRITTEN']),
  since: maybe(facts.slice(0, 50).map(({ ts }) => ts)),
  until: maybe(facts.slice(50, 100).map(({ ts }) => ts)),
  from_seq: maybe(seqs),
  to_seq: maybe(seqs),
  order: fc.constantFrom('asc' as const, 'desc' as const),
  limit: fc.integer({ min: 1, max: 400 }),
});

describe('search', () => {
  test('pages forward hold every match once, in order', () => {
    fc.assert(
      fc.property(searches, (search) => {
        const pages = walk(search, 'next');
        expect(pages.flatMap(({ events }) => events)).toEqual(matching(search));
        expect(pages[0]?.prev_cursor).toBeNull();
        for (const { events } of pages) expect(events.length).toBeLessThanOrEqual(search.limit);
      }),
      { numRuns: 150 },
    );
  });

  test('pages backward from anywhere hold every match before it, in order', () => {
    fc.assert(
      fc.property(searches, fc.nat(), (search, pick) => {
        const forward = walk(search, 'next');
        const at = pick % forward.length;
        const cursor = forward[at]?.prev_cursor;
        if (cursor === null || cursor === undefined) return;
        const back = walk({ ...search, cursor }, 'prev').reverse();
        const before = forward.slice(0, at).flatMap(({ events }) => events);
        expect(back.flatMap(({ events }) => events)).toEqual(before);
      }),
      { numRuns: 150 },
    );
  });

  test('forward again from a page reached backward', () => {
    const forward = walk({ limit: 50, type: 'ORDER_FAILED' }, 'next');
    const second = forward[1] as EventPage;
    const first = page({ limit: 50, type: 'ORDER_FAILED', cursor: second.prev_cursor ?? '' });
    expect(first.events).toEqual(forward[0]?.events);
    const again = page({ limit: 50, type: 'ORDER_FAILED', cursor: first.next_cursor ?? '' });
    expect(again.events).toEqual(second.events);
  });

  test('an event is given as it was stored', () => {
    const [event] = page({ limit: 1 }).events;
    expect(event).toEqual(facts.at(-1));
  });

  test.each(['x', 'n', 'p-1', 'n1.5', 'n99999999999999999', "n1' OR 1"])(
    'refuses the cursor %j',
    (cursor) => {
      expect(() => page({ cursor })).toThrow(
        expect.objectContaining({ code: 'INVALID_REQUEST', field: 'cursor' }),
      );
    },
  );
});

test('a search for something rare reads no more than its share and goes on by cursor', async () => {
  // Two events of one type at the ends of a long stretch whose spans all claim to hold that type:
  // the 31st type has the same bit as the first.
  const spans = 2 * SPANS_A_PAGE + 3;
  const place = { theater_id: 'demo', order_id: 'o' };
  const events = Array.from({ length: spans }, (_, i) =>
    eventOf((i + 1) * SPAN_EVENTS, 'UNIT_SIGNAL', place),
  );
  const rare = { ...eventOf(spans * SPAN_EVENTS + 5, 'UNIT_SIGNAL', place), ts: events[0]?.ts };
  const other = eventOf(spans * SPAN_EVENTS + 9, 'UNIT_SIGNAL', { ...place, theater_id: 'rare' });
  await using own = await testFolder();
  const projection = await viewsOf(own.path, [...events, rare as StoredEvent, other]);
  try {
    const search = { type: 'UNIT_SIGNAL', until: events[0]?.ts ?? '', order: 'asc' as const };
    expect(walk(search, 'next', projection).flatMap((p) => p.events)).toHaveLength(2);
    const all = walk({ type: 'UNIT_SIGNAL', limit: 1_000 }, 'next', projection);
    expect(all.length).toBe(Math.ceil((spans + 1) / SPANS_A_PAGE));
    expect(all.flatMap((p) => p.events)).toHaveLength(spans + 2);
    const found = page({ theater_id: 'rare', type: 'UNIT_SIGNAL' }, projection);
    expect(found.events).toEqual([other]);
  } finally {
    await projection.close();
  }
});
