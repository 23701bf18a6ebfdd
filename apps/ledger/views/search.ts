import type { z } from 'zod';
import { type API, demandEventType, type StoredEvent } from '#libs/contracts';
import type { Reader, SqlValue } from '#libs/projections';
import { formatCursor, parseCursor } from './cursor.ts';
import { type Kind, keyOf } from './names.ts';
import { bitOf, SPAN_EVENTS, spanOf } from './spans.ts';

export type EventSearch = z.output<(typeof API.ledger.events)['input']>;
export type EventPage = {
  events: StoredEvent[];
  next_cursor: string | null;
  prev_cursor: string | null;
  as_of: number;
};

/** Spans of the stream that one page reads at most; a sparse search goes on with its cursor. */
export const SPANS_A_PAGE = 64;

/** Conditions on the rows, as SQL, and on the spans that can hold such rows. */
type Filter = {
  rows: [sql: string, value: SqlValue][];
  spans: [sql: string, value: SqlValue][];
  /** True: an index leads to the rows, so spans need not be asked. */
  indexed: boolean;
};
type Range = { from: number; to: number; ascending: boolean; limit: number };
type EventRow = { seq: number; body: string };
/** `cut`: the reading stopped at this sequence, before it came to the end. */
type Scan = { rows: EventRow[]; cut: number | undefined };

/**
 * Events that match all filters; times and sequences are inclusive. A page can hold fewer events
 * than asked for, or none, and still have a `next_cursor`.
 * @throws {INVALID_REQUEST} a cursor that is none
 */
export function searchEvents(reader: Reader, search: EventSearch): EventPage {
  const { limit } = search;
  const cursor = parseCursor(search.cursor);
  const back = cursor?.side === 'prev';
  const ascending = (search.order === 'asc') !== back;
  let from = search.from_seq ?? 0;
  let to = search.to_seq ?? Number.MAX_SAFE_INTEGER;
  if (cursor !== undefined && ascending) from = Math.max(from, cursor.key + 1);
  if (cursor !== undefined && !ascending) to = Math.min(to, cursor.key - 1);

  const filter = filterOf(reader, search);
  const { rows, cut } = scan(reader, filter, { from, to, ascending, limit: limit + 1 });
  const page = rows.slice(0, limit);
  const far = rows.length > limit ? page.at(-1)?.seq : cut;
  // The way back starts at the first row; without one, at the place where this page began.
  const start = cursor && (page[0]?.seq ?? cursor.key + (ascending ? 1 : -1));
  if (back) page.reverse();
  const next = back ? start : far;
  const prev = back ? far : start;
  return {
    events: page.map(eventOf),
    next_cursor: next === undefined ? null : formatCursor({ side: 'next', key: next }),
    prev_cursor: prev === undefined ? null : formatCursor({ side: 'prev', key: prev }),
    as_of: reader.seq,
  };
}

/** The event with this id, if it is stored. */
export function findEvent(reader: Reader, eventId: string): StoredEvent | undefined {
  const sql = 'SELECT seq, CAST(body AS TEXT) AS body FROM events WHERE event_id = ?';
  const row = reader.get<EventRow>(sql, eventId);
  return row && eventOf(row);
}

function eventOf({ seq, body }: EventRow): StoredEvent {
  return Object.assign(JSON.parse(body), { seq }) as StoredEvent;
}

/** The filter of a search; undefined where nothing can match. */
function filterOf(reader: Reader, search: EventSearch): Filter | undefined {
  const filter: Filter = { rows: [], spans: [], indexed: false };
  const given: [Kind, string | undefined][] = [
    ['order', search.order_id],
    ['run', search.run_id],
    ['theater', search.theater_id],
    ['type', search.type === undefined ? undefined : demandEventType(search.type)],
  ];
  for (const [kind, name] of given) {
    if (name === undefined) continue;
    const key = keyOf(reader, kind, name);
    if (key === undefined) return undefined;
    filter.rows.push([`"${kind}" = ?`, key]);
    if (kind === 'order' || kind === 'run') filter.indexed = true;
    else filter.spans.push([`${kind}s & ?`, bitOf(key)]);
  }
  if (search.since !== undefined) {
    const since = Date.parse(search.since);
    filter.rows.push(['ts >= ?', since]);
    filter.spans.push(['ts_max >= ?', since]);
  }
  if (search.until !== undefined) {
    const until = Date.parse(search.until);
    filter.rows.push(['ts <= ?', until]);
    filter.spans.push(['ts_min <= ?', until]);
  }
  return filter;
}

function scan(reader: Reader, filter: Filter | undefined, range: Range): Scan {
  const { from, to, ascending, limit } = range;
  if (filter === undefined || from > to) return { rows: [], cut: undefined };
  if (filter.indexed || filter.spans.length === 0) {
    return { rows: select(reader, filter, range), cut: undefined };
  }
  const where = ['span BETWEEN ? AND ?', ...filter.spans.map(([sql]) => sql)].join(' AND ');
  const spans = reader.all<{ span: number }>(
    `SELECT span FROM spans WHERE ${where} ORDER BY span ${way(ascending)} LIMIT ?`,
    spanOf(from),
    spanOf(to),
    ...filter.spans.map(([, value]) => value),
    SPANS_A_PAGE + 1,
  );
  const rows: EventRow[] = [];
  for (const [index, { span }] of spans.entries()) {
    const first = span * SPAN_EVENTS;
    const end = first + SPAN_EVENTS;
    if (index === SPANS_A_PAGE) return { rows, cut: ascending ? first - 1 : end };
    rows.push(
      ...select(reader, filter, {
        from: Math.max(from, first),
        to: Math.min(to, end - 1),
        ascending,
        limit: limit - rows.length,
      }),
    );
    if (rows.length === limit) break;
  }
  return { rows, cut: undefined };
}

function select(reader: Reader, filter: Filter, range: Range): EventRow[] {
  const where = ['seq BETWEEN ? AND ?', ...filter.rows.map(([sql]) => sql)].join(' AND ');
  return reader.all<EventRow>(
    `SELECT seq, CAST(body AS TEXT) AS body FROM events WHERE ${where}
     ORDER BY seq ${way(range.ascending)} LIMIT ?`,
    range.from,
    range.to,
    ...filter.rows.map(([, value]) => value),
    range.limit,
  );
}

function way(ascending: boolean): string {
  return ascending ? 'ASC' : 'DESC';
}
