import type { DatabaseSync, SQLOutputValue } from 'node:sqlite';
import type { BodyUpload } from '#libs/contracts';
import { inTransaction, openFile } from './open-file.ts';
import { backoffMs, RETRIES_MAX } from './rules.ts';
import { CARRIED, KEY, prepareSchema } from './schema.ts';

/** Rows that a queue takes unless told otherwise. */
export const QUEUE_ROWS_MAX = 100_000;
/** Failed rows that are kept, bodies included; the oldest go first. */
export const FAILURES_MAX = 1_000;

export type QueuedUpload = {
  rowId: number;
  upload: BodyUpload;
  /** Failed tries so far. */
  retryCount: number;
};

export type QueueStatus = {
  /** Rows that wait to be sent. */
  queued: number;
  /** Of those, due now. */
  due: number;
  /** Of those, with failed tries. */
  retrying: number;
  bytes: number;
  capacity: number;
  /** When the next row is due (ISO 8601); null: none waits. */
  next_attempt_at: string | null;
  oldest_at: string | null;
  /** Newest errors of waiting rows, most frequent first. */
  errors: { error: string; rows: number }[];
  failed: number;
  /** Newest first, without bodies. */
  failures: {
    mission_slug: string | null;
    artifact_path: string | null;
    content_hash: string | null;
    reason: string;
    failed_at: string;
  }[];
};

export type Enqueued = 'queued' | 'already_exists' | 'queue_full';

/** Uploads that wait for the server, in SQLite; several processes may share one. */
export type BodyQueue = {
  /** A full queue takes nothing, not even what it holds already, and drops nothing. */
  enqueue(upload: BodyUpload): Enqueued;
  /** Rows that were due at that time (now, unless another is named), oldest first. */
  due(limit: number, atMs?: number): QueuedUpload[];
  /** Moves rows with more than 20 failed tries to the failures. @returns how many */
  dropExhausted(): number;
  /** The server has it. */
  done(rowId: number): void;
  /** Waits and is sent again; counted once however many processes tell of the same try. */
  retryLater(row: QueuedUpload, error: string): void;
  /** Told why it is not there yet; due again after the time, with as many tries left. */
  hold(row: QueuedUpload, reason: string, waitMs: number): void;
  /** Given up: kept among the failures. */
  fail(rowId: number, reason: string): void;
  status(): QueueStatus;
  /**
   * Makes every waiting row due now; with `failed`, puts the failures back too.
   * @returns rows made due, failures put back, failures that found no room or were there already
   */
  retry(options?: { failed?: boolean }): { due: number; requeued: number; kept: number };
  close(): void;
};

export type QueueOptions = { capacity?: number; nowMs: () => number };

const ERROR_CHARS = 500;
const LISTED = 20;

/**
 * Opens the queue, making or migrating it.
 * @throws {INVALID_REQUEST} the file holds another table of that name
 */
export function openQueue(file: string, options: QueueOptions): BodyQueue {
  const db = openFile(file);
  try {
    prepareSchema(db, options.nowMs() / 1_000);
    return queueOf(db, options);
  } catch (error) {
    db.close();
    throw error;
  }
}

function statements(db: DatabaseSync) {
  const columns = `${KEY.join(', ')}, hash_algorithm, content_body`;
  const marks = Array(KEY.length + 5).fill('?');
  return {
    count: db.prepare('SELECT count(*) AS n FROM body_upload_queue'),
    insert: db.prepare(
      `INSERT OR IGNORE INTO body_upload_queue
         (${columns}, size_bytes, next_attempt_at, created_at) VALUES (${marks.join(', ')})`,
    ),
    due: db.prepare(
      `SELECT row_id, retry_count, ${columns} FROM body_upload_queue
       WHERE next_attempt_at <= ? AND retry_count <= ${RETRIES_MAX}
       ORDER BY created_at, row_id LIMIT ?`,
    ),
    exhausted: db.prepare('SELECT row_id, last_error FROM body_upload_queue WHERE retry_count > ?'),
    remove: db.prepare('DELETE FROM body_upload_queue WHERE row_id = ?'),
    later: db.prepare(
      `UPDATE body_upload_queue SET retry_count = retry_count + 1, next_attempt_at = ?,
         last_error = ? WHERE row_id = ? AND retry_count = ?`,
    ),
    hold: db.prepare(
      'UPDATE body_upload_queue SET next_attempt_at = ?, last_error = ? WHERE row_id = ?',
    ),
    keep: db.prepare(
      `INSERT INTO body_upload_failures (${CARRIED}, reason, failed_at)
       SELECT ${CARRIED}, ?, ? FROM body_upload_queue WHERE row_id = ?`,
    ),
    trim: db.prepare(
      `DELETE FROM body_upload_failures WHERE failure_id <=
         (SELECT max(failure_id) FROM body_upload_failures) - ${FAILURES_MAX}`,
    ),
    makeDue: db.prepare('UPDATE body_upload_queue SET next_attempt_at = 0, retry_count = 0'),
    failures: db.prepare('SELECT failure_id FROM body_upload_failures ORDER BY failure_id'),
    putBack: db.prepare(
      `INSERT OR IGNORE INTO body_upload_queue (${CARRIED}, next_attempt_at)
       SELECT ${CARRIED.replace('retry_count', '0')}, 0 FROM body_upload_failures
       WHERE failure_id = ?`,
    ),
    forget: db.prepare('DELETE FROM body_upload_failures WHERE failure_id = ?'),
  };
}

function queueOf(db: DatabaseSync, { capacity = QUEUE_ROWS_MAX, nowMs }: QueueOptions): BodyQueue {
  const sql = statements(db);
  const nowSec = (): number => nowMs() / 1_000;
  const isFull = (): boolean => Number(sql.count.get()?.n) >= capacity;
  const transact = <T>(work: () => T): T => inTransaction(db, work);
  const giveUp = (rowId: number, reason: string): void => {
    sql.keep.run(reason.slice(0, ERROR_CHARS), nowSec(), rowId);
    sql.remove.run(rowId);
    sql.trim.run();
  };

  return {
    enqueue: (upload) =>
      transact(() => {
        if (isFull()) return 'queue_full';
        const { hash_algorithm, content_body } = upload;
        const key = KEY.map((name) => upload[name]);
        const size = Buffer.byteLength(content_body);
        const { changes } = sql.insert.run(...key, hash_algorithm, content_body, size, 0, nowSec());
        return changes === 1 ? 'queued' : 'already_exists';
      }),
    due: (limit, atMs = nowMs()) => sql.due.all(atMs / 1_000, limit).map(queuedOf),
    dropExhausted: () =>
      transact(() => {
        const rows = sql.exhausted.all(RETRIES_MAX);
        for (const { row_id, last_error } of rows) {
          const last = typeof last_error === 'string' ? last_error : 'unknown';
          giveUp(Number(row_id), `given up after ${RETRIES_MAX + 1} tries: ${last}`);
        }
        return rows.length;
      }),
    done: (rowId) => void sql.remove.run(rowId),
    retryLater({ rowId, retryCount }, error) {
      const at = nowSec() + backoffMs(retryCount) / 1_000;
      sql.later.run(at, error.slice(0, ERROR_CHARS), rowId, retryCount);
    },
    hold({ rowId }, reason, waitMs) {
      sql.hold.run(nowSec() + waitMs / 1_000, reason.slice(0, ERROR_CHARS), rowId);
    },
    fail: (rowId, reason) => transact(() => giveUp(rowId, reason)),
    status: () => statusOf(db, nowSec(), capacity),
    retry: ({ failed = false } = {}) =>
      transact(() => {
        const result = { due: Number(sql.makeDue.run().changes), requeued: 0, kept: 0 };
        for (const { failure_id } of failed ? sql.failures.all() : []) {
          const took = !isFull() && sql.putBack.run(failure_id as number).changes === 1;
          if (took) sql.forget.run(failure_id as number);
          result[took ? 'requeued' : 'kept'] += 1;
        }
        return result;
      }),
    close: () => db.close(),
  };
}

function queuedOf(row: Record<string, SQLOutputValue>): QueuedUpload {
  const { row_id, retry_count, ...upload } = row;
  return {
    rowId: Number(row_id),
    retryCount: Number(retry_count),
    upload: upload as BodyUpload,
  };
}

function statusOf(db: DatabaseSync, nowSec: number, capacity: number): QueueStatus {
  const all = db
    .prepare(
      `SELECT count(*) AS queued, coalesce(sum(next_attempt_at <= ?), 0) AS due,
         coalesce(sum(retry_count > 0), 0) AS retrying, coalesce(sum(size_bytes), 0) AS bytes,
         min(next_attempt_at) AS next, min(created_at) AS oldest FROM body_upload_queue`,
    )
    .get(nowSec) as Record<'queued' | 'due' | 'retrying' | 'bytes', number> &
    Record<'next' | 'oldest', number | null>;
  const { queued, due, retrying, bytes, next, oldest } = all;
  const errors = db
    .prepare(
      `SELECT last_error AS error, count(*) AS rows FROM body_upload_queue
       WHERE last_error IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT ?`,
    )
    .all(LISTED);
  const failures = db
    .prepare(
      `SELECT mission_slug, artifact_path, content_hash, reason, failed_at
       FROM body_upload_failures ORDER BY failure_id DESC LIMIT ?`,
    )
    .all(LISTED);
  const failed = db.prepare('SELECT count(*) AS n FROM body_upload_failures').get();
  return {
    queued,
    due,
    retrying,
    bytes,
    capacity,
    next_attempt_at: next === null ? null : iso(Math.max(next, oldest ?? 0)),
    oldest_at: oldest === null ? null : iso(oldest),
    errors: errors.map(({ error, rows }) => ({ error: String(error), rows: Number(rows) })),
    failed: Number(failed?.n),
    failures: failures.map((row) => ({
      ...(row as QueueStatus['failures'][number]),
      failed_at: iso(Number(row.failed_at)),
    })),
  };
}

function iso(seconds: number): string {
  return new Date(seconds * 1_000).toISOString();
}
