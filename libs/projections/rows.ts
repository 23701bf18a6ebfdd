import type { DatabaseSync, StatementSync } from 'node:sqlite';
import type { SqlValue } from './types.ts';

/** Rows of one INSERT; more of them at once was measured to gain little. */
const ROWS = 32;

/** Collects rows and inserts them many at a time: half the cost of one statement a row. */
export type RowInserter = {
  add(row: readonly SqlValue[]): void;
  /** Inserts what is left. @returns the rows that were inserted since the last flush */
  flush(): number;
  /** Drops what was not inserted. */
  clear(): void;
};

/**
 * @param columns values of one row
 * @param head as `INSERT INTO events`
 * @param tail as `ON CONFLICT (id) DO NOTHING`
 */
export function rowInserter(
  db: DatabaseSync,
  columns: number,
  head: string,
  tail = '',
): RowInserter {
  const one = `(${Array(columns).fill('?').join(', ')})`;
  const many = db.prepare(`${head} VALUES ${Array(ROWS).fill(one).join(', ')} ${tail}`);
  const single = db.prepare(`${head} VALUES ${one} ${tail}`);
  // One array for all statements: rows are many, and what is left behind has to be collected.
  const held: SqlValue[] = Array(ROWS * columns).fill(null);
  let size = 0;
  let inserted = 0;

  const insert = (statement: StatementSync, values: SqlValue[]): void => {
    inserted += Number(statement.run(...values).changes);
  };
  return {
    add(row) {
      for (let column = 0; column < columns; column += 1) held[size + column] = row[column] ?? null;
      size += columns;
      if (size < held.length) return;
      size = 0;
      insert(many, held);
    },
    flush() {
      const end = size;
      size = 0;
      for (let at = 0; at < end; at += columns) insert(single, held.slice(at, at + columns));
      const count = inserted;
      inserted = 0;
      return count;
    },
    clear() {
      size = 0;
      inserted = 0;
    },
  };
}
