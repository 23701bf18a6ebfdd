import type { DatabaseSync } from 'node:sqlite';
import { inTransaction, openFile } from './open-file.ts';

/** Events of envelope 3.0.0 that wait for the server, in the same file as the bodies. */
export type EventQueue = {
  /** A full queue drops its oldest event. @returns false: the id is there already */
  enqueue(event: { readonly event_id: string; readonly event_type: string }): boolean;
  /** The oldest, as they were put in. */
  take(limit: number): QueuedEvent[];
  /** The server has them. */
  done(ids: readonly number[]): void;
  /** Refused by the server: tried again, up to 5 times. */
  refused(id: number, reason: string): void;
  /** Never to be sent: kept aside with the reason. */
  setAside(id: number, reason: string): void;
  status(): { queued: number; set_aside: number; last_error: string | null };
  close(): void;
};

export type QueuedEvent = { id: number; eventId: string; data: string };

export const EVENTS_MAX = 100_000;
const REFUSALS_MAX = 5;
const REASON_CHARS = 500;

const TABLES = `
  CREATE TABLE IF NOT EXISTS queue (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id TEXT UNIQUE NOT NULL, event_type TEXT NOT NULL, data TEXT NOT NULL,
    timestamp INTEGER NOT NULL, retry_count INTEGER DEFAULT 0
  );
  CREATE TABLE IF NOT EXISTS event_failures (
    failure_id INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id TEXT, event_type TEXT, data TEXT, reason TEXT NOT NULL, failed_at REAL NOT NULL
  );
`;

/** Opens the events of a queue file; those of an older program are taken as they are. */
export function openEventQueue(
  file: string,
  { capacity = EVENTS_MAX, nowMs }: { capacity?: number; nowMs: () => number },
): EventQueue {
  const db = openFile(file);
  try {
    db.exec(TABLES);
    return queueOf(db, capacity, () => nowMs() / 1_000);
  } catch (error) {
    db.close();
    throw error;
  }
}

function statements(db: DatabaseSync) {
  return {
    insert: db.prepare(
      `INSERT OR IGNORE INTO queue (event_id, event_type, data, timestamp) VALUES (?, ?, ?, ?)`,
    ),
    queued: db.prepare('SELECT count(*) AS n FROM queue'),
    aside: db.prepare('SELECT count(*) AS n FROM event_failures'),
    lastError: db.prepare('SELECT reason FROM event_failures ORDER BY failure_id DESC LIMIT 1'),
    dropOldest: db.prepare(
      'DELETE FROM queue WHERE id IN (SELECT id FROM queue ORDER BY id LIMIT ?)',
    ),
    take: db.prepare('SELECT id, event_id, data FROM queue ORDER BY timestamp, id LIMIT ?'),
    remove: db.prepare('DELETE FROM queue WHERE id = ?'),
    refuse: db.prepare(
      'UPDATE queue SET retry_count = retry_count + 1 WHERE id = ? RETURNING retry_count AS n',
    ),
    keep: db.prepare(
      `INSERT INTO event_failures (event_id, event_type, data, reason, failed_at)
       SELECT event_id, event_type, data, ?, ? FROM queue WHERE id = ?`,
    ),
  };
}

function queueOf(db: DatabaseSync, capacity: number, nowSec: () => number): EventQueue {
  const sql = statements(db);
  const count = (statement: typeof sql.queued): number => Number(statement.get()?.n);
  const transact = <T>(work: () => T): T => inTransaction(db, work);
  const move = (id: number, reason: string): void => {
    sql.keep.run(reason.slice(0, REASON_CHARS), nowSec(), id);
    sql.remove.run(id);
  };
  return {
    enqueue: (event) =>
      transact(() => {
        const { event_id, event_type } = event;
        const at = Math.floor(nowSec());
        const added = sql.insert.run(event_id, event_type, JSON.stringify(event), at);
        const over = count(sql.queued) - capacity;
        if (over > 0) sql.dropOldest.run(over);
        return added.changes === 1;
      }),
    take: (limit) =>
      sql.take.all(limit).map(({ id, event_id, data }) => ({
        id: Number(id),
        eventId: event_id as string,
        data: data as string,
      })),
    done: (ids) =>
      transact(() => {
        for (const id of ids) sql.remove.run(id);
      }),
    refused: (id, reason) =>
      transact(() => {
        if (Number(sql.refuse.get(id)?.n) >= REFUSALS_MAX) move(id, reason);
      }),
    setAside: (id, reason) => transact(() => move(id, reason)),
    status: () => {
      const reason = sql.lastError.get()?.reason;
      return {
        queued: count(sql.queued),
        set_aside: count(sql.aside),
        last_error: typeof reason === 'string' ? reason : null,
      };
    },
    close: () => db.close(),
  };
}
