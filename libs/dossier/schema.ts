import type { DatabaseSync } from 'node:sqlite';
import { invalid } from '#libs/contracts';
import { inTransaction } from './open-file.ts';

/** The five fields of a namespace, the path and the hash: what one upload is known by. */
export const KEY = [
  'project_uuid',
  'mission_slug',
  'target_branch',
  'mission_type',
  'manifest_version',
  'artifact_path',
  'content_hash',
] as const;

/** Seed, body-sync.md, with `last_error` and the unique key beside it. */
const QUEUE = `
  CREATE TABLE body_upload_queue (
    row_id INTEGER PRIMARY KEY AUTOINCREMENT,
    project_uuid TEXT NOT NULL,
    mission_slug TEXT NOT NULL,
    target_branch TEXT NOT NULL,
    mission_type TEXT NOT NULL,
    manifest_version TEXT NOT NULL,
    artifact_path TEXT NOT NULL,
    content_hash TEXT NOT NULL,
    hash_algorithm TEXT NOT NULL,
    content_body TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    retry_count INTEGER NOT NULL DEFAULT 0,
    next_attempt_at REAL NOT NULL,
    created_at REAL NOT NULL,
    last_error TEXT,
    UNIQUE (${KEY.join(', ')})
  );
`;
const FAILURES = `
  CREATE TABLE IF NOT EXISTS body_upload_failures (
    failure_id INTEGER PRIMARY KEY AUTOINCREMENT,
    project_uuid TEXT, mission_slug TEXT, target_branch TEXT, mission_type TEXT,
    manifest_version TEXT, artifact_path TEXT, content_hash TEXT, hash_algorithm TEXT,
    content_body TEXT, size_bytes INTEGER, retry_count INTEGER, created_at REAL,
    reason TEXT NOT NULL, failed_at REAL NOT NULL
  );
  CREATE INDEX IF NOT EXISTS body_upload_due
    ON body_upload_queue (created_at, row_id, next_attempt_at);
`;

/** What a row carries from one table to the other. */
export const CARRIED = `${KEY.join(', ')}, hash_algorithm, content_body, size_bytes, retry_count,
  created_at`;

const COLUMNS = [
  'row_id',
  ...KEY,
  'hash_algorithm',
  'content_body',
  'size_bytes',
  'retry_count',
  'next_attempt_at',
  'created_at',
  'last_error',
];

/**
 * Makes the tables, or brings those of an older program into this shape, every row kept; all in
 * one transaction, so that a crash leaves the one or the other.
 * @throws {INVALID_REQUEST} a table of that name holds something else
 */
export function prepareSchema(db: DatabaseSync, nowSec: number): void {
  inTransaction(db, () => {
    const known = columnsOf(db, 'body_upload_queue');
    if (known.size === 0) db.exec(QUEUE + FAILURES);
    else if (isCurrent(db, known)) db.exec(FAILURES);
    else migrate(db, known, nowSec);
  });
}

function columnsOf(db: DatabaseSync, table: string): Set<string> {
  const rows = db.prepare('SELECT name FROM pragma_table_info(?)').all(table);
  return new Set(rows.map(({ name }) => String(name)));
}

function isCurrent(db: DatabaseSync, known: ReadonlySet<string>): boolean {
  if (known.size !== COLUMNS.length || COLUMNS.some((name) => !known.has(name))) return false;
  const unique = db
    .prepare(
      `SELECT group_concat(i.name, ',') AS key FROM pragma_index_list('body_upload_queue') l,
         pragma_index_info(l.name) i WHERE l."unique" = 1 GROUP BY l.name`,
    )
    .all();
  return unique.some(({ key }) => key === KEY.join(','));
}

/** Rows that break a rule of the table go to the failures, whole and with the reason. */
function migrate(db: DatabaseSync, known: ReadonlySet<string>, nowSec: number): void {
  const from = (fallback: string, ...names: string[]): string => {
    const there = names.filter((name) => known.has(name)).map((name) => `"${name}"`);
    return [...there, fallback].length === 1
      ? fallback
      : `coalesce(${there.join(', ')}, ${fallback})`;
  };
  for (const name of ['project_uuid', 'artifact_path', 'content_hash', 'content_body']) {
    if (!known.has(name)) throw invalid('queue', `body_upload_queue has no column ${name}`);
  }
  const body = `CAST(${from('NULL', 'content_body')} AS TEXT)`;
  const hash = from('NULL', 'content_hash');
  const prefixed = `CASE WHEN length(${hash}) = 64 THEN 'sha256:' || lower(${hash}) ELSE ${hash} END`;
  const key = from('rowid', 'row_id', 'id');
  db.exec(`
    ALTER TABLE body_upload_queue RENAME TO body_upload_queue_before;
    ${QUEUE}
    ${FAILURES}
    CREATE TEMP TABLE moved AS SELECT
      ${key} AS row_id,
      ${from('NULL', 'project_uuid')} AS project_uuid,
      ${from('NULL', 'mission_slug', 'feature_slug')} AS mission_slug,
      ${from("'main'", 'target_branch')} AS target_branch,
      ${from("'software-dev'", 'mission_type', 'mission_key')} AS mission_type,
      ${from("'1'", 'manifest_version')} AS manifest_version,
      ${from('NULL', 'artifact_path')} AS artifact_path,
      ${prefixed} AS content_hash,
      ${from("'sha256'", 'hash_algorithm')} AS hash_algorithm,
      ${body} AS content_body,
      ${from(`length(CAST(${body} AS BLOB))`, 'size_bytes')} AS size_bytes,
      ${from('0', 'retry_count')} AS retry_count,
      ${from('0', 'next_attempt_at')} AS next_attempt_at,
      ${from(String(nowSec), 'created_at')} AS created_at,
      ${from('NULL', 'last_error')} AS last_error
    FROM body_upload_queue_before;
    INSERT OR IGNORE INTO body_upload_queue (${COLUMNS.join(', ')})
      SELECT ${COLUMNS.join(', ')} FROM moved ORDER BY row_id;
    INSERT INTO body_upload_failures (${CARRIED}, reason, failed_at)
      SELECT ${CARRIED}, 'not taken over from an older queue: a repeated or incomplete row', ${nowSec}
      FROM moved WHERE row_id NOT IN (SELECT row_id FROM body_upload_queue) ORDER BY row_id;
    DROP TABLE moved;
    DROP TABLE body_upload_queue_before;
  `);
}
