import type { DatabaseSync } from 'node:sqlite';
import { createRecent } from './recent.ts';
import { rowInserter } from './rows.ts';
import type { Recorded, SqlValue, View, ViewBatch, ViewWriter } from './types.ts';

/**
 * A view of one row for each aggregate: `seq` (of its first event, the key), `id`, the columns that
 * lists filter by, and `state`, the folded state as JSON.
 */
export type AggregateViewOptions<E extends Recorded, S> = {
  /** Name of the view and of its table. */
  name: string;
  version: number;
  /** The aggregate that an event belongs to, if any. */
  idOf: (event: E) => string | null;
  /** Pure; may return `state` itself where nothing changes. What it returns must survive JSON. */
  evolve: (state: S | undefined, event: E) => S;
  /** Text columns to filter by, each with an index, and their values. */
  columns: { readonly [name: string]: (state: S) => string | null };
  /** Further tables, and what is written on each step of an aggregate. */
  create?: (db: DatabaseSync) => void;
  observe?: (db: DatabaseSync) => (before: S | undefined, after: S, event: E) => void;
};

/** Weight (characters of JSON) of the states held between batches; twice this at most. */
const RECENT_CHARS = 4_000_000;
/** Weight of the states that are loaded within one batch before they are written back. */
const TOUCHED_CHARS = 16_000_000;

type Entry<S> = {
  /** Key of the row. */
  seq: number;
  state: S;
  /** Filter columns as stored; undefined while there is no row. */
  stored: readonly SqlValue[] | undefined;
};

export function aggregateView<E extends Recorded, S>(options: AggregateViewOptions<E, S>): View<E> {
  const { name, version } = options;
  const columns = Object.keys(options.columns);
  return {
    name,
    version,
    create(db) {
      db.exec(`
        CREATE TABLE "${name}" (
          seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE,
          ${columns.map((column) => `"${column}" TEXT, `).join('')} state TEXT NOT NULL
        );
        ${columns.map((c) => `CREATE INDEX "${name}_${c}" ON "${name}" ("${c}");`).join('\n')}
      `);
      options.create?.(db);
    },
    open: (db) => writer(db, options, columns),
  };
}

function prepare(db: DatabaseSync, table: string, columns: string[]) {
  const read = ['seq', ...columns, 'state'].map((column) => `"${column}"`).join(', ');
  const sets = ['state', ...columns].map((column) => `"${column}" = ?`).join(', ');
  return {
    load: db.prepare(`SELECT ${read} FROM "${table}" WHERE id = ?`),
    inserter: rowInserter(db, columns.length + 3, `INSERT INTO "${table}"`),
    /** Leaves the indexes of the filter columns alone. */
    updateState: db.prepare(`UPDATE "${table}" SET state = ? WHERE seq = ?`),
    updateAll: db.prepare(`UPDATE "${table}" SET ${sets} WHERE seq = ?`),
  };
}

function writer<E extends Recorded, S>(
  db: DatabaseSync,
  options: AggregateViewOptions<E, S>,
  columns: string[],
): ViewWriter<E> {
  const { name, idOf, evolve } = options;
  const observe = options.observe?.(db);
  const values = Object.values(options.columns);
  const { load, inserter, updateState, updateAll } = prepare(db, name, columns);

  const recent = createRecent<string, Entry<S>>(RECENT_CHARS);
  let touched = new Map<string, Entry<S>>();
  let touchedChars = 0;

  const find = (id: string): Entry<S> | undefined => {
    const held = touched.get(id) ?? recent.get(id);
    if (held !== undefined) return held;
    const row = load.get(id);
    if (row === undefined) return undefined;
    const text = row.state as string;
    touchedChars += text.length;
    const stored = columns.map((column) => row[column] as SqlValue);
    return { seq: row.seq as number, state: JSON.parse(text) as S, stored };
  };
  const write = (id: string, entry: Entry<S>): void => {
    const text = JSON.stringify(entry.state);
    const { seq, stored } = entry;
    const now = values.map((value) => value(entry.state));
    if (stored === undefined) inserter.add([seq, id, ...now, text]);
    else if (stored.every((value, index) => value === now[index])) updateState.run(text, seq);
    else updateAll.run(text, ...now, seq);
    entry.stored = now;
    recent.set(id, entry, text.length);
  };
  const flush = (): void => {
    const entries = touched;
    touched = new Map();
    touchedChars = 0;
    for (const [id, entry] of entries) write(id, entry);
    inserter.flush();
  };

  return {
    apply({ events }: ViewBatch<E>) {
      for (const event of events) {
        const id = idOf(event);
        if (id === null) continue;
        const entry = find(id);
        const after = evolve(entry?.state, event);
        observe?.(entry?.state, after, event);
        if (entry === undefined) {
          touched.set(id, { seq: event.seq, state: after, stored: undefined });
        } else if (after !== entry.state) {
          entry.state = after;
          touched.set(id, entry);
        }
        if (touchedChars > TOUCHED_CHARS) flush();
      }
      flush();
      return undefined;
    },
    forget() {
      touched = new Map();
      touchedChars = 0;
      inserter.clear();
      recent.clear();
    },
  };
}
