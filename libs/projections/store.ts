import { statSync } from 'node:fs';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { isAboutEvent, isDamage } from './sql-errors.ts';
import type {
  EventBatch,
  PoisonRow,
  Reader,
  Recorded,
  Row,
  SqlValue,
  View,
  ViewBatch,
  ViewWriter,
} from './types.ts';

/** The view name of messages that are no events. */
const NO_EVENT = '*';
const REASON_CHARS = 500;

/** Where the rows stand. */
export type Position = {
  /** Last sequence seen. */
  seq: number;
  /** The last event seen, to notice a stream whose past has changed. */
  eventSeq: number;
  eventId: string;
};

/** Why an existing file cannot be used. */
export type Unusable = 'damaged' | 'other version' | 'other stream';

/** One open SQLite file: the tables of all views, the set-aside events and the position. */
export type Store<E extends Recorded> = {
  readonly position: Readonly<Position>;
  readonly reader: Reader;
  /** Number of events set aside, by view. */
  poisonCount(view: string): number;
  poison(limit: number, afterSeq: number): PoisonRow[];
  /** Writes a batch and the new position in one transaction. */
  commit(batch: EventBatch<E>): void;
  close(): void;
};

export type StoreOptions<E extends Recorded> = {
  file: string;
  views: readonly View<E>[];
  streamId: string;
};

/** Opens or makes the file. */
export function openStore<E extends Recorded>(
  options: StoreOptions<E>,
): { ok: true; store: Store<E> } | { ok: false; reason: Unusable } {
  let db: DatabaseSync | undefined;
  try {
    db = openDatabase(options.file);
    const reason = prepare(db, options);
    if (reason === undefined) return { ok: true, store: storeOf(db, options) };
    db.close();
    return { ok: false, reason };
  } catch (error) {
    db?.close();
    if (isDamage(error)) return { ok: false, reason: 'damaged' };
    throw error;
  }
}

/** 8 KiB pages: rows of events are large; the log may grow before it is folded in; 32 MiB of cache. */
const PRAGMAS = `
  PRAGMA page_size = 8192;
  PRAGMA journal_mode = WAL;
  PRAGMA synchronous = NORMAL;
  PRAGMA wal_autocheckpoint = 2000;
  PRAGMA cache_size = -32768;
  PRAGMA temp_store = MEMORY;
`;

function openDatabase(file: string): DatabaseSync {
  const db = new DatabaseSync(file, { timeout: 1_000 });
  try {
    db.exec(PRAGMAS);
    return db;
  } catch (error) {
    db.close();
    throw error;
  }
}

function prepare<E extends Recorded>(
  db: DatabaseSync,
  { file, views, streamId }: StoreOptions<E>,
): Unusable | undefined {
  const versions = views.map((view) => `${view.name}@${view.version}`).join(' ');
  const known = db.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'position'").get();
  if (known !== undefined) {
    if (isTorn(db, file)) return 'damaged';
    const row = db.prepare('SELECT versions, stream_id FROM position').get();
    if (row === undefined) return 'damaged';
    if (row.versions !== versions) return 'other version';
    return row.stream_id === streamId ? undefined : 'other stream';
  }
  // A crash can leave a file without tables, never one with some of them.
  db.exec('BEGIN IMMEDIATE');
  db.exec(`
    CREATE TABLE position (
      one INTEGER PRIMARY KEY CHECK (one = 1),
      seq INTEGER NOT NULL, event_seq INTEGER NOT NULL, event_id TEXT NOT NULL,
      versions TEXT NOT NULL, stream_id TEXT NOT NULL
    );
    CREATE TABLE poison (
      seq INTEGER NOT NULL, view TEXT NOT NULL, event_id TEXT, subject TEXT,
      reason TEXT NOT NULL, bytes INTEGER, PRIMARY KEY (seq, view)
    ) WITHOUT ROWID;
  `);
  for (const view of views) view.create(db);
  db.prepare("INSERT INTO position VALUES (1, 0, 0, '', ?, ?)").run(versions, streamId);
  db.exec('COMMIT');
  return undefined;
}

/** Finds a file cut short; damage inside it shows when the page is read. */
function isTorn(db: DatabaseSync, file: string): boolean {
  db.exec('PRAGMA wal_checkpoint(TRUNCATE)');
  const pages = Number(db.prepare('PRAGMA page_count').get()?.page_count);
  const bytes = Number(db.prepare('PRAGMA page_size').get()?.page_size);
  return statSync(file).size < pages * bytes;
}

type Opened<E extends Recorded> = { name: string; writer: ViewWriter<E> };

function storeOf<E extends Recorded>(db: DatabaseSync, options: StoreOptions<E>): Store<E> {
  const row = db.prepare('SELECT seq, event_seq, event_id FROM position').get() as {
    seq: number;
    event_seq: number;
    event_id: string;
  };
  let position: Position = { seq: row.seq, eventSeq: row.event_seq, eventId: row.event_id };
  const opened = options.views.map((view) => ({ name: view.name, writer: view.open(db) }));
  const counts = new Map<string, number>();
  for (const { view, n } of db.prepare('SELECT view, count(*) n FROM poison GROUP BY view').all()) {
    counts.set(String(view), Number(n));
  }
  const move = db.prepare('UPDATE position SET seq = ?, event_seq = ?, event_id = ? WHERE seq = ?');
  const setAside = db.prepare('INSERT OR IGNORE INTO poison VALUES (?, ?, ?, ?, ?, ?)');
  const readDb = new DatabaseSync(options.file, { readOnly: true, timeout: 1_000 });
  readDb.exec('PRAGMA cache_size = -16384');
  const reader = readerOf(readDb, () => position.seq);

  const transact = (batch: EventBatch<E>, apply: (aside: SetAside) => void): void => {
    const asides: string[] = [];
    db.exec('BEGIN IMMEDIATE');
    try {
      const aside: SetAside = (seq, view, event_id, subject, reason, bytes) => {
        const cut = reason.slice(0, REASON_CHARS);
        if (setAside.run(seq, view, event_id, subject, cut, bytes).changes === 1) asides.push(view);
      };
      for (const p of batch.poison) aside(p.seq, NO_EVENT, null, p.subject, p.reason, p.bytes);
      apply(aside);
      const last = batch.events.at(-1);
      const next: Position = {
        seq: batch.lastSeq,
        eventSeq: last?.seq ?? position.eventSeq,
        eventId: last?.event_id ?? position.eventId,
      };
      const moved = move.run(next.seq, next.eventSeq, next.eventId, position.seq);
      if (moved.changes !== 1) throw new Error(`another process writes ${options.file}`);
      db.exec('COMMIT');
      position = next;
    } catch (error) {
      if (db.isTransaction) db.exec('ROLLBACK');
      for (const { writer } of opened) writer.forget();
      throw error;
    }
    for (const view of asides) counts.set(view, (counts.get(view) ?? 0) + 1);
  };

  return {
    get position() {
      return position;
    },
    reader,
    poisonCount: (view) => counts.get(view) ?? 0,
    poison: (limit, afterSeq) =>
      reader.all<PoisonRow>(
        'SELECT * FROM poison WHERE seq > ? ORDER BY seq, view LIMIT ?',
        afterSeq,
        limit,
      ),
    commit(batch) {
      try {
        transact(batch, () => applyAll(opened, batch));
      } catch (error) {
        if (!isAboutEvent(error)) throw error;
        transact(batch, (aside) => applyEach(db, opened, batch, aside));
      }
    },
    close() {
      readDb.close();
      db.close();
    },
  };
}

type SetAside = (
  seq: number,
  view: string,
  eventId: string | null,
  subject: string | null,
  reason: string,
  bytes: number | null,
) => void;

function applyAll<E extends Recorded>(opened: Opened<E>[], batch: ViewBatch<E>): void {
  let rest = batch;
  for (const { writer } of opened) rest = writer.apply(rest) ?? rest;
}

/** The slow way, once a batch has failed: each event and view apart, so that one fails alone. */
function applyEach<E extends Recorded>(
  db: DatabaseSync,
  opened: Opened<E>[],
  batch: ViewBatch<E>,
  aside: SetAside,
): void {
  for (const [index, event] of batch.events.entries()) {
    const raw = batch.raw?.[index];
    let rest: ViewBatch<E> = { events: [event], ...(raw !== undefined && { raw: [raw] }) };
    for (const { name, writer } of opened) {
      db.exec('SAVEPOINT one');
      try {
        rest = writer.apply(rest) ?? rest;
        db.exec('RELEASE one');
      } catch (error) {
        if (!isAboutEvent(error)) throw error;
        db.exec('ROLLBACK TO one; RELEASE one');
        writer.forget();
        const reason = error instanceof Error ? error.message : String(error);
        aside(event.seq, name, event.event_id, null, reason, raw?.length ?? null);
      }
    }
  }
}

/** Statements kept prepared. */
const STATEMENTS = 256;

function readerOf(db: DatabaseSync, seq: () => number): Reader {
  const statements = new Map<string, StatementSync>();
  const prepared = (sql: string): StatementSync => {
    let statement = statements.get(sql);
    if (statement === undefined) {
      if (statements.size >= STATEMENTS) statements.clear();
      statement = db.prepare(sql);
      statements.set(sql, statement);
    }
    return statement;
  };
  return {
    get seq() {
      return seq();
    },
    all: <R = Row>(sql: string, ...params: SqlValue[]) => prepared(sql).all(...params) as R[],
    get: <R = Row>(sql: string, ...params: SqlValue[]) =>
      prepared(sql).get(...params) as R | undefined,
  };
}
