import type { DatabaseSync } from 'node:sqlite';
import type { StoredEvent } from '#libs/contracts';

/** Who found the anomaly; one event can be one to several. Stored: never renumber. */
const FOUND_BY = { events: 0, orders: 1, runs: 2 } as const;
const FINDERS = 4;

/** `id` is the event's sequence × 4 + the finder's number: unique, and in stream order. */
export const ANOMALIES_TABLE = `
  CREATE TABLE anomalies (
    id INTEGER PRIMARY KEY, event_id TEXT NOT NULL, type TEXT NOT NULL,
    run_id TEXT, order_id TEXT, kind TEXT NOT NULL, detail TEXT NOT NULL
  );
  CREATE INDEX anomalies_run ON anomalies (run_id) WHERE run_id IS NOT NULL;
  CREATE INDEX anomalies_order ON anomalies (order_id) WHERE order_id IS NOT NULL;
`;

export type RecordAnomaly = (event: StoredEvent, kind: string, detail: string) => void;

/** Prepares the recording of what `finder` finds. */
export function anomalyRecorder(db: DatabaseSync, finder: keyof typeof FOUND_BY): RecordAnomaly {
  const insert = db.prepare('INSERT INTO anomalies VALUES (?, ?, ?, ?, ?, ?, ?)');
  return (event, kind, detail) => {
    const id = event.seq * FINDERS + FOUND_BY[finder];
    insert.run(id, event.event_id, event.type, event.run_id, event.order_id, kind, detail);
  };
}

/** The event sequence in the id of an anomaly. */
export function anomalySeq(id: number): number {
  return Math.floor(id / FINDERS);
}
