import type { DatabaseSync } from 'node:sqlite';
import { createRecent, type Reader } from '#libs/projections';

/** What a name is of. Stored: never renumber. */
export const KINDS = { type: 0, theater: 1, run: 2, order: 3 } as const;
export type Kind = keyof typeof KINDS;

/** Small numbers that stand for ids and event types in the event index. */
export type Names = {
  /** The number of a name; a new one gets the next. */
  key(kind: Kind, name: string): number;
  forget(): void;
};

export const NAMES_TABLE = `
  CREATE TABLE names (
    key INTEGER PRIMARY KEY, kind INTEGER NOT NULL, name TEXT NOT NULL, UNIQUE (kind, name)
  );
`;

/** Weight in characters held of each kind. */
const RECENT_CHARS = 1_000_000;

export function openNames(db: DatabaseSync): Names {
  const select = db.prepare('SELECT key FROM names WHERE kind = ? AND name = ?');
  const insert = db.prepare('INSERT INTO names VALUES (?, ?, ?)');
  const max = db.prepare('SELECT coalesce(max(key), 0) AS key FROM names');
  const held = {
    type: createRecent<string, number>(RECENT_CHARS),
    theater: createRecent<string, number>(RECENT_CHARS),
    run: createRecent<string, number>(RECENT_CHARS),
    order: createRecent<string, number>(RECENT_CHARS),
  };
  let last: number | undefined;

  const find = (kind: Kind, name: string): number => {
    const row = select.get(KINDS[kind], name);
    if (row !== undefined) return row.key as number;
    last = (last ?? (max.get()?.key as number)) + 1;
    insert.run(last, KINDS[kind], name);
    return last;
  };
  return {
    key(kind, name) {
      const known = held[kind].get(name);
      if (known !== undefined) return known;
      const key = find(kind, name);
      held[kind].set(name, key, name.length);
      return key;
    },
    forget() {
      last = undefined;
      for (const recent of Object.values(held)) recent.clear();
    },
  };
}

/** The number of a name that some event carries; undefined if none does. */
export function keyOf(reader: Reader, kind: Kind, name: string): number | undefined {
  return reader.get<{ key: number }>(
    'SELECT key FROM names WHERE kind = ? AND name = ?',
    KINDS[kind],
    name,
  )?.key;
}
