import { createHash } from 'node:crypto';
import { DatabaseSync } from 'node:sqlite';
import { setImmediate as turn } from 'node:timers/promises';

export type TableDigest = { name: string; rows: number; sha256: string };

/** What all rows of a view file come to, table by table. */
export type Digest = { seq: number; sha256: string; tables: TableDigest[] };

/** Rows between two turns of the event loop. */
const ROWS_A_TURN = 2_000;

/**
 * Digests every row of a view file as it is now, in the order of the primary keys; the file may be
 * served and written meanwhile. Two files of one version that hold the same are equal in it.
 */
export async function digestFile(file: string): Promise<Digest> {
  const db = new DatabaseSync(file, { readOnly: true, timeout: 1_000 });
  try {
    // One transaction: the rows of all tables are of one sequence.
    db.exec('BEGIN');
    const { seq } = db.prepare('SELECT seq FROM position').get() as { seq: number };
    const whole = createHash('sha256').update(String(seq));
    const tables: TableDigest[] = [];
    for (const name of tableNames(db)) {
      const hash = createHash('sha256');
      let rows = 0;
      for (const line of tableLines(db, name)) {
        hash.update(line);
        rows += 1;
        if (rows % ROWS_A_TURN === 0) await turn();
      }
      const table = { name, rows, sha256: hash.digest('hex') };
      whole.update(JSON.stringify(table));
      tables.push(table);
    }
    return { seq, sha256: whole.digest('hex'), tables };
  } finally {
    db.close();
  }
}

/** Every row as a line of text, for people and tests who look for a difference. */
export function* dumpLines(file: string): Generator<string> {
  const db = new DatabaseSync(file, { readOnly: true, timeout: 1_000 });
  try {
    db.exec('BEGIN');
    for (const name of tableNames(db)) {
      for (const line of tableLines(db, name)) yield `${name} ${line}`;
    }
  } finally {
    db.close();
  }
}

function tableNames(db: DatabaseSync): string[] {
  const tables = db.prepare(`
    SELECT name FROM sqlite_schema WHERE type = 'table'
    AND name NOT LIKE 'sqlite_%' AND name <> 'position' ORDER BY name
  `);
  return tables.all().map((row) => String(row.name));
}

function* tableLines(db: DatabaseSync, table: string): Generator<string> {
  const columns = db.prepare(`PRAGMA table_info("${table}")`).all();
  const keys = columns
    .filter((column) => Number(column.pk) > 0)
    .sort((a, b) => Number(a.pk) - Number(b.pk))
    .map((column) => `"${String(column.name)}"`);
  const order = keys.length === 0 ? 'rowid' : keys.join(', ');
  for (const row of db.prepare(`SELECT * FROM "${table}" ORDER BY ${order}`).iterate()) {
    yield `${JSON.stringify(row, (_key, value) =>
      value instanceof Uint8Array ? Buffer.from(value).toString('latin1') : value,
    )}\n`;
  }
}
