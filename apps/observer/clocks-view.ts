import type { DatabaseSync } from 'node:sqlite';
import type { StoredEvent } from '#libs/contracts';
import type { Reader, View, ViewBatch, ViewWriter } from '#libs/projections';
import { type Clock, evolveClock, isOver } from './clock.ts';

/** Orders that are over stay so long that a late event of theirs is known for one: the newest. */
const OVER_KEPT = 10_000;

/**
 * One clock for each live order of a garrison, and for the newest that are over; and the theaters
 * that were opened.
 */
export function clocksView(garrisonId: string, overKept = OVER_KEPT): View<StoredEvent> {
  return {
    name: `clocks-${garrisonId}`,
    version: 1,
    create(db) {
      db.exec(`
        CREATE TABLE clocks (
          theater_id TEXT NOT NULL, order_id TEXT NOT NULL,
          over_seq INTEGER, -- of the event that ended it; null while it lives
          state TEXT NOT NULL,
          PRIMARY KEY (theater_id, order_id)
        ) WITHOUT ROWID;
        CREATE INDEX clocks_live ON clocks (theater_id) WHERE over_seq IS NULL;
        CREATE INDEX clocks_over ON clocks (over_seq) WHERE over_seq IS NOT NULL;
        CREATE TABLE theaters (theater_id TEXT PRIMARY KEY) WITHOUT ROWID;
      `);
    },
    open: (db) => writer(db, garrisonId, overKept),
  };
}

function writer(db: DatabaseSync, garrisonId: string, overKept: number): ViewWriter<StoredEvent> {
  const load = db.prepare(
    'SELECT over_seq, state FROM clocks WHERE theater_id = ? AND order_id = ?',
  );
  const save = db.prepare('INSERT OR REPLACE INTO clocks VALUES (?, ?, ?, ?)');
  const open = db.prepare('INSERT OR IGNORE INTO theaters VALUES (?)');
  const countOver = db.prepare('SELECT count(*) n FROM clocks WHERE over_seq IS NOT NULL');
  const dropOldest = db.prepare(
    'DELETE FROM clocks WHERE over_seq = (SELECT min(over_seq) FROM clocks WHERE over_seq > 0)',
  );
  let over: number | undefined;

  const step = (event: StoredEvent): void => {
    const { theater_id, order_id } = event;
    if (theater_id === null || event.garrison_id !== garrisonId) return;
    if (event.type === 'THEATER_OPENED') open.run(theater_id);
    if (order_id === null) return;
    const row = load.get(theater_id, order_id);
    const clock = row === undefined ? undefined : (JSON.parse(row.state as string) as Clock);
    const after = evolveClock(clock, event);
    if (after === undefined || after === clock) return;
    const before = (row?.over_seq ?? null) as number | null;
    const overSeq = isOver(after.order) ? (before ?? event.seq) : null;
    over ??= Number(countOver.get()?.n);
    save.run(theater_id, order_id, overSeq, JSON.stringify(after));
    over += Number(overSeq !== null) - Number(before !== null);
    if (over <= overKept) return;
    dropOldest.run();
    over -= 1;
  };
  return {
    apply({ events }: ViewBatch<StoredEvent>) {
      for (const event of events) step(event);
      return undefined;
    },
    forget() {
      over = undefined;
    },
  };
}

/** Clocks of the live orders of a theater. */
export function liveClocks(reader: Reader, theaterId: string): Clock[] {
  const rows = reader.all<{ state: string }>(
    'SELECT state FROM clocks WHERE theater_id = ? AND over_seq IS NULL ORDER BY order_id',
    theaterId,
  );
  return rows.map(({ state }) => JSON.parse(state) as Clock);
}

/** The clock of one order, also if it is over; undefined where none is kept. */
export function findClock(reader: Reader, theaterId: string, orderId: string): Clock | undefined {
  const row = reader.get<{ state: string }>(
    'SELECT state FROM clocks WHERE theater_id = ? AND order_id = ?',
    theaterId,
    orderId,
  );
  return row && (JSON.parse(row.state) as Clock);
}

/** All theaters that were opened. */
export function openTheaters(reader: Reader): string[] {
  const rows = reader.all<{ theater_id: string }>(
    'SELECT theater_id FROM theaters ORDER BY theater_id',
  );
  return rows.map(({ theater_id }) => theater_id);
}
