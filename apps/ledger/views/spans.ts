import type { DatabaseSync } from 'node:sqlite';

/** Events in a span of the stream. Stored: a change needs a new version of the events view. */
export const SPAN_EVENTS = 1024;

/**
 * What each span of the stream holds, so that a search by type, theater or time can leave out the
 * spans where there is nothing to find: far smaller than an index of each event. `types` and
 * `theaters` are bit sets of name keys, modulo their 30 bits: a set bit means "perhaps".
 */
export const SPANS_TABLE = `
  CREATE TABLE spans (
    span INTEGER PRIMARY KEY, ts_min INTEGER, ts_max INTEGER,
    types INTEGER NOT NULL, theaters INTEGER NOT NULL
  );
`;

const BITS = 30;

/** The bit that stands for a name key. */
export function bitOf(key: number): number {
  return 1 << (key % BITS);
}

export function spanOf(seq: number): number {
  return Math.floor(seq / SPAN_EVENTS);
}

type Span = { tsMin: number | null; tsMax: number | null; types: number; theaters: number };

export type Spans = {
  add(seq: number, ts: number | null, type: number, theater: number | null): void;
  /** Writes what was added. */
  flush(): void;
  forget(): void;
};

export function createSpans(db: DatabaseSync): Spans {
  const upsert = db.prepare(`
    INSERT INTO spans VALUES (?, ?, ?, ?, ?) ON CONFLICT (span) DO UPDATE SET
      ts_min = min(coalesce(ts_min, excluded.ts_min), coalesce(excluded.ts_min, ts_min)),
      ts_max = max(coalesce(ts_max, excluded.ts_max), coalesce(excluded.ts_max, ts_max)),
      types = types | excluded.types, theaters = theaters | excluded.theaters
  `);
  let touched = new Map<number, Span>();
  return {
    add(seq, ts, type, theater) {
      const number = spanOf(seq);
      let span = touched.get(number);
      if (span === undefined) {
        span = { tsMin: ts, tsMax: ts, types: 0, theaters: 0 };
        touched.set(number, span);
      }
      if (ts !== null) {
        if (span.tsMin === null || ts < span.tsMin) span.tsMin = ts;
        if (span.tsMax === null || ts > span.tsMax) span.tsMax = ts;
      }
      span.types |= bitOf(type);
      if (theater !== null) span.theaters |= bitOf(theater);
    },
    flush() {
      for (const [number, { tsMin, tsMax, types, theaters }] of touched) {
        upsert.run(number, tsMin, tsMax, types, theaters);
      }
      touched = new Map();
    },
    forget() {
      touched = new Map();
    },
  };
}
