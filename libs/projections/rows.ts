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
  let held: SqlValue[] = [];
  let inserted = 0;

  const insert = (statement: StatementSync, values: SqlValue[]): void => {
    inserted += Number(statement.run(...values).changes);
  };
  return {
    add(row) {
      for (const value of row) held.push(value);
      if (held.length < ROWS * columns) return;
      const values = held;
      held = [];
      insert(many, values);
    },
    flush() {
      const values = held;
      held = [];
      for (let at = 0; at < values.length; at += columns) {
        insert(single, values.slice(at, at + columns));
      }
      const count = inserted;
      inserted = 0;
      return count;
    },
    clear() {
      held = [];
      inserted = 0;
    },
  };
}
