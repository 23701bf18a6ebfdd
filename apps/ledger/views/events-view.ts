import type { DatabaseSync } from 'node:sqlite';
import type { StoredEvent } from '#libs/contracts';
import { rowInserter, type View, type ViewBatch, type ViewWriter } from '#libs/projections';
import { ANOMALIES_TABLE, anomalyRecorder } from './anomalies.ts';
import { NAMES_TABLE, openNames } from './names.ts';
import { createSpans, SPANS_TABLE } from './spans.ts';

const encoder = new TextEncoder();

/**
 * Every event with what it is searched by. It comes first of the views: an event whose id is known
 * already is listed as an anomaly and handed on to no other view.
 */
export const eventsView: View<StoredEvent> = {
  name: 'events',
  version: 1,
  create(db) {
    db.exec(`
      ${NAMES_TABLE}
      CREATE TABLE events (
        seq INTEGER PRIMARY KEY, event_id TEXT NOT NULL UNIQUE, type INTEGER NOT NULL,
        theater INTEGER, run INTEGER, "order" INTEGER, ts INTEGER, body BLOB NOT NULL
      );
      CREATE INDEX events_run ON events (run) WHERE run IS NOT NULL;
      CREATE INDEX events_order ON events ("order") WHERE "order" IS NOT NULL;
      ${SPANS_TABLE}
      ${ANOMALIES_TABLE}
    `);
  },
  open: writer,
};

function writer(db: DatabaseSync): ViewWriter<StoredEvent> {
  const names = openNames(db);
  const spans = createSpans(db);
  const recordAnomaly = anomalyRecorder(db, 'events');
  const inserter = rowInserter(db, 8, 'INSERT INTO events', 'ON CONFLICT (event_id) DO NOTHING');
  const stored = db.prepare('SELECT seq FROM events WHERE seq BETWEEN ? AND ?');

  const withoutRepeats = (batch: ViewBatch<StoredEvent>): ViewBatch<StoredEvent> => {
    const { events, raw } = batch;
    const range = [events[0]?.seq ?? 0, events.at(-1)?.seq ?? 0] as const;
    const kept = new Set(stored.all(...range).map((row) => row.seq as number));
    for (const event of events) {
      if (kept.has(event.seq)) continue;
      recordAnomaly(event, 'duplicate_event', `event ${event.event_id} is stored twice`);
    }
    return {
      events: events.filter(({ seq }) => kept.has(seq)),
      ...(raw && { raw: raw.filter((_, index) => kept.has(events[index]?.seq ?? 0)) }),
    };
  };

  return {
    apply(batch) {
      const { events, raw } = batch;
      for (let index = 0; index < events.length; index += 1) {
        const event = events[index] as StoredEvent;
        const type = names.key('type', event.type);
        const theater = event.theater_id === null ? null : names.key('theater', event.theater_id);
        const run = event.run_id === null ? null : names.key('run', event.run_id);
        const order = event.order_id === null ? null : names.key('order', event.order_id);
        const ts = millisOf(event.ts);
        const body = raw?.[index] ?? bodyOf(event);
        inserter.add([event.seq, event.event_id, type, theater, run, order, ts, body]);
        spans.add(event.seq, ts, type, theater);
      }
      spans.flush();
      return inserter.flush() === events.length ? batch : withoutRepeats(batch);
    },
    forget() {
      names.forget();
      spans.forget();
      inserter.clear();
    },
  };
}

/** Milliseconds since 1970; null for a time that is none. */
function millisOf(ts: string): number | null {
  const millis = Date.parse(ts);
  return Number.isNaN(millis) ? null : millis;
}

function bodyOf({ seq: _seq, ...body }: StoredEvent): Uint8Array {
  return encoder.encode(JSON.stringify(body));
}
