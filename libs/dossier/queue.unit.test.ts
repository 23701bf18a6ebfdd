import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { BodyUpload } from '#libs/contracts';
import fc from 'fast-check';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Answer } from './answers.ts';
import { classify, noAnswer } from './answers.ts';
import { drainQueue, lockDrain } from './drain.ts';
import { FAILURES_MAX, openQueue, type QueueOptions } from './queue.ts';
import { body } from './testdata/bodies.ts';

const START_MS = 1_800_000_000_000;
let folder: string;
let file: string;
let nowMs: number;
const open: { close(): void }[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'ironclaw-dossier-'));
  file = join(folder, 'queue.db');
  nowMs = START_MS;
});
afterEach(() => {
  for (const one of open.splice(0)) one.close();
  rmSync(folder, { recursive: true, force: true });
});

function queueAt(options: Partial<QueueOptions> = {}) {
  const queue = openQueue(file, { nowMs: () => nowMs, ...options });
  open.push(queue);
  return queue;
}
const gate = (): void => undefined;
const clock = () => nowMs;

test('the table has the columns of the seed, with last_error and the unique key', () => {
  queueAt();
  const db = new DatabaseSync(file);
  const columns = db
    .prepare(
      `SELECT name || ' ' || type || iif("notnull", ' NOT NULL', '') AS column
       FROM pragma_table_info('body_upload_queue')`,
    )
    .all()
    .map(({ column }) => column);
  db.close();
  expect(columns).toEqual([
    'row_id INTEGER',
    'project_uuid TEXT NOT NULL',
    'mission_slug TEXT NOT NULL',
    'target_branch TEXT NOT NULL',
    'mission_type TEXT NOT NULL',
    'manifest_version TEXT NOT NULL',
    'artifact_path TEXT NOT NULL',
    'content_hash TEXT NOT NULL',
    'hash_algorithm TEXT NOT NULL',
    'content_body TEXT NOT NULL',
    'size_bytes INTEGER NOT NULL',
    'retry_count INTEGER NOT NULL',
    'next_attempt_at REAL NOT NULL',
    'created_at REAL NOT NULL',
    'last_error TEXT',
  ]);
});

test('D.51 the same upload twice is one row, other content another; full is told, nothing goes', () => {
  const queue = queueAt({ capacity: 3 });
  expect(queue.enqueue(body('spec.md'))).toBe('queued');
  expect(queue.enqueue(body('spec.md'))).toBe('already_exists');
  expect(queue.enqueue(body('spec.md', 'changed'))).toBe('queued');
  expect(queue.enqueue({ ...body('spec.md'), target_branch: 'other' })).toBe('queued');
  expect(queue.enqueue(body('plan.md'))).toBe('queue_full');
  expect(queue.enqueue(body('spec.md')), 'a known one too').toBe('queue_full');
  expect(queue.status()).toMatchObject({ queued: 3, due: 3, capacity: 3, failed: 0 });
  expect(queue.due(10).map(({ upload }) => upload.content_body)).toEqual([
    'text of spec.md',
    'changed',
    'text of spec.md',
  ]);
});

test('an upload comes out as it went in', () => {
  const queue = queueAt();
  let n = 0;
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 50 }), (text) => {
      fc.pre(text.isWellFormed());
      n += 1;
      const upload = body(`research/${n}.md`, text);
      expect(queue.enqueue(upload)).toBe('queued');
      const [row] = queue.due(1);
      expect(row?.upload).toEqual(upload);
      queue.done(row?.rowId ?? 0);
    }),
  );
});

/** Answers by the last part of the path, as `500.md`. */
const byName = async ({ artifact_path }: BodyUpload): Promise<Answer> => {
  const status = Number(/(\d+)\.md$/.exec(artifact_path)?.[1]);
  return status === 0 ? noAnswer('ECONNREFUSED') : classify(status, {});
};

test('D.50 each answer does to its row what the table says', async () => {
  const queue = queueAt();
  const statuses = [201, 200, 400, 401, 403, 404, 429, 500, 413, 0];
  for (const status of statuses) queue.enqueue(body(`research/${status}.md`));
  expect(await drainQueue({ queue, push: byName, gate, nowMs: clock })).toEqual({
    uploaded: 1,
    already_exists: 1,
    retrying: 5,
    failed: 3,
    held: 0,
    exhausted: 0,
    stopped: 'unreachable',
  });
  nowMs += 1_000;
  const waiting = queue.due(20).map(({ upload }) => upload.artifact_path.replace(/.*\//, ''));
  expect(waiting).toEqual(['401.md', '404.md', '429.md', '500.md', '0.md']);
  const { failures, errors } = queue.status();
  expect(failures.map(({ artifact_path }) => artifact_path?.replace(/.*\//, ''))).toEqual([
    '413.md',
    '403.md',
    '400.md',
  ]);
  expect(failures[0]?.reason).toContain('413 unexpected_status');
  expect(errors.map(({ error }) => error)).toContain('ECONNREFUSED');
});

test('D.50 a row waits 1, 2, 4 … 300 s between tries and is given up after 21', async () => {
  const queue = queueAt();
  queue.enqueue(body('research/503.md'));
  const waits: number[] = [];
  for (let tries = 0; tries < 21; tries += 1) {
    expect(queue.due(1)).toHaveLength(1);
    await drainQueue({ queue, push: byName, gate, nowMs: clock });
    const startedMs = nowMs;
    expect(queue.due(1), 'not at once').toEqual([]);
    nowMs = Date.parse(queue.status().next_attempt_at ?? '') - 1;
    expect(queue.due(1), 'not a moment too soon').toEqual([]);
    nowMs += 1;
    waits.push((nowMs - startedMs) / 1_000);
  }
  expect(waits.slice(0, 11)).toEqual([1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
  const push = async (): Promise<Answer> => expect.fail('it is given up');
  expect(await drainQueue({ queue, push, gate, nowMs: clock })).toMatchObject({ exhausted: 1 });
  expect(queue.status()).toMatchObject({ queued: 0, failed: 1 });
  expect(queue.status().failures[0]?.reason).toContain('after 21 tries: 503 server_error');
});

test('retry makes waiting rows due, and puts failures back with all their content', async () => {
  const queue = queueAt();
  for (const status of [500, 400]) queue.enqueue(body(`research/${status}.md`));
  await drainQueue({ queue, push: byName, gate, nowMs: clock });
  expect(queue.due(10)).toEqual([]);
  expect(queue.retry()).toEqual({ due: 1, requeued: 0, kept: 0 });
  expect(queue.retry({ failed: true })).toEqual({ due: 1, requeued: 1, kept: 0 });
  expect(queue.due(10).map(({ upload, retryCount }) => [upload, retryCount])).toEqual([
    [body('research/500.md'), 0],
    [body('research/400.md'), 0],
  ]);
  expect(queue.status()).toMatchObject({ queued: 2, failed: 0 });
});

test('failures that find no room, or whose row is there again, are kept', () => {
  const queue = queueAt({ capacity: 2 });
  for (const name of ['a', 'b']) {
    queue.enqueue(body(`research/${name}.md`));
    queue.fail(queue.due(1)[0]?.rowId ?? 0, 'no');
  }
  queue.enqueue(body('research/a.md'));
  expect(queue.retry({ failed: true })).toEqual({ due: 1, requeued: 1, kept: 1 });
  expect(queue.status()).toMatchObject({ queued: 2, failed: 1 });
});

test(`the newest ${FAILURES_MAX} failures are kept`, () => {
  const queue = queueAt();
  for (let n = 0; n <= FAILURES_MAX; n += 1) {
    queue.enqueue(body(`research/${n}.md`, 'x'));
    queue.fail(queue.due(1)[0]?.rowId ?? 0, `no ${n}`);
  }
  const { failed, failures } = queue.status();
  expect(failed).toBe(FAILURES_MAX);
  expect(failures[0]?.reason).toBe(`no ${FAILURES_MAX}`);
}, 30_000);

test('D.49 what the gate refuses is not sent, is told, and goes once the gate lets it', async () => {
  const queue = queueAt();
  queue.enqueue(body('spec.md'));
  queue.enqueue({ ...body('plan.md'), target_branch: 'other' });
  const { compileGate } = await import('#libs/missions');
  const shipped = join(import.meta.dirname, '../missionlog/upstream-3.0.0-shape.json');
  const shape = JSON.parse(readFileSync(shipped, 'utf8')) as {
    body_sync: { forbidden_fields: string[] };
  };
  shape.body_sync.forbidden_fields.push('target_branch');
  const strict = compileGate(shape);
  const check = (upload: BodyUpload): void => strict.body('body upload', upload);
  const push = async (): Promise<Answer> => expect.fail('it must not be sent');
  // However often: a row that is not sent uses up no try.
  for (let tick = 0; tick < 30; tick += 1) {
    const drained = await drainQueue({ queue, push, gate: check, nowMs: clock });
    expect(drained).toMatchObject({ held: 2, failed: 0, exhausted: 0, stopped: null });
    expect(queue.status()).toMatchObject({ queued: 2, due: 0, retrying: 0, failed: 0 });
    nowMs += 300_000;
  }
  const reason = expect.stringMatching(/^not sent: .* at body upload: target_branch is forbidden$/);
  expect(queue.status().errors).toEqual([{ error: reason as unknown, rows: 2 }]);
  const sent = await drainQueue({ queue, push: async () => classify(201, {}), gate, nowMs: clock });
  expect(sent).toMatchObject({ uploaded: 2, held: 0 });
});

test('a sender that comes again by itself spends no tries where the server lets nobody in', async () => {
  const queue = queueAt();
  queue.enqueue(body('spec.md'));
  queue.enqueue(body('plan.md'));
  let answer = noAnswer('ENOTFOUND');
  let pushes = 0;
  const push = async (): Promise<Answer> => {
    pushes += 1;
    return answer;
  };
  const given = { queue, push, gate, nowMs: clock, keepTries: true };
  for (const down of [answer, classify(401, {}), classify(429, {})]) {
    answer = down;
    pushes = 0;
    for (let tick = 0; tick < 30; tick += 1) {
      nowMs += 1_000;
      expect(await drainQueue(given)).toMatchObject({ retrying: 0, stopped: down.outcome });
    }
    expect(pushes, 'one a tick').toBe(30);
    expect(queue.status()).toMatchObject({ queued: 2, due: 2, retrying: 0 });
    expect(queue.status().errors).toContainEqual({ error: down.detail, rows: 1 });
  }
  // It did arrive there, and may be what breaks the connection.
  answer = noAnswer('ECONNRESET');
  expect(await drainQueue(given)).toMatchObject({ retrying: 1, stopped: 'unreachable' });
  expect(queue.status()).toMatchObject({ queued: 2, due: 1, retrying: 1 });
});

test('who is told to stop cuts off the request, and the row is as it was', async () => {
  const queue = queueAt();
  queue.enqueue(body('spec.md'));
  const stop = new AbortController();
  const push = async (): Promise<Answer> => {
    stop.abort();
    return noAnswer('This operation was aborted');
  };
  const drained = await drainQueue({ queue, push, gate, nowMs: clock, signal: stop.signal });
  expect(drained).toMatchObject({ retrying: 0, stopped: 'aborted' });
  expect(queue.status()).toMatchObject({ queued: 1, due: 1, retrying: 0 });
});

test('bodies wait until the events went through', async () => {
  const queue = queueAt();
  queue.enqueue(body('research/201.md'));
  const order: string[] = [];
  const push = async (upload: BodyUpload): Promise<Answer> => {
    order.push('body');
    return byName(upload);
  };
  const events = (through: boolean) => async (): Promise<boolean> => {
    order.push(through ? 'events' : 'events failed');
    return through;
  };
  const given = { queue, push, gate, nowMs: clock };
  const held = await drainQueue({ ...given, drainEvents: events(false) });
  expect(held).toMatchObject({ stopped: 'events_pending', uploaded: 0 });
  const sent = await drainQueue({ ...given, drainEvents: events(true) });
  expect(sent).toMatchObject({ stopped: null, uploaded: 1 });
  expect(order).toEqual(['events failed', 'events', 'body', 'events']);
});

test('rows go in the order they came, whatever their number; each once in a drain', async () => {
  const queue = queueAt();
  for (let n = 0; n < 130; n += 1) queue.enqueue(body(`research/${n}.md`, 'x'));
  const sent: string[] = [];
  const push = async ({ artifact_path }: BodyUpload): Promise<Answer> => {
    sent.push(artifact_path);
    nowMs += 2_000;
    return classify(sent.length % 2 === 0 ? 500 : 201, {});
  };
  const drained = await drainQueue({ queue, push, gate, nowMs: clock });
  expect(drained).toMatchObject({ uploaded: 65, retrying: 65, stopped: null });
  const wanted = Array.from({ length: 130 }, (_, n) => body(`research/${n}.md`).artifact_path);
  expect(sent).toEqual(wanted);
});

test('a server that refuses again and again is left alone; the other rows keep their tries', async () => {
  const queue = queueAt();
  for (let n = 0; n < 30; n += 1) queue.enqueue(body(`research/${n}.md`, 'x'));
  const push = async (): Promise<Answer> => classify(401, {});
  const drained = await drainQueue({ queue, push, gate, nowMs: clock });
  expect(drained).toMatchObject({ retrying: 10, stopped: 'unauthorized' });
  expect(queue.status()).toMatchObject({ queued: 30, due: 20, retrying: 10 });
});

test('one process drains; a second one is told, and two who tell of one try count it once', () => {
  const lock = lockDrain(file);
  expect(lock).toBeDefined();
  const [one, two] = [queueAt(), queueAt()];
  one.enqueue(body('spec.md'));
  const [row] = one.due(1);
  const [same] = two.due(1);
  if (row === undefined || same === undefined) throw new Error('no row');
  one.retryLater(row, 'first');
  two.retryLater(same, 'second');
  nowMs += 1_000;
  expect(one.due(1)).toMatchObject([{ retryCount: 1 }]);
  one.done(row.rowId);
  two.done(row.rowId);
  expect(two.status()).toMatchObject({ queued: 0, failed: 0 });
  lock?.release();
});

test('D.53 a legacy queue of 1000 rows is migrated and drained, every row', async () => {
  const legacy = new DatabaseSync(file);
  legacy.exec(`
    CREATE TABLE queue (id INTEGER PRIMARY KEY, event_id TEXT UNIQUE, data TEXT);
    INSERT INTO queue (event_id, data) VALUES ('e1', '{}');
    CREATE TABLE body_upload_queue (
      id INTEGER PRIMARY KEY AUTOINCREMENT, project_uuid TEXT NOT NULL,
      feature_slug TEXT NOT NULL, target_branch TEXT NOT NULL, mission_key TEXT NOT NULL,
      manifest_version TEXT NOT NULL, artifact_path TEXT NOT NULL, content_hash TEXT NOT NULL,
      hash_algorithm TEXT NOT NULL DEFAULT 'sha256', content_body TEXT NOT NULL,
      size_bytes INTEGER NOT NULL, retry_count INTEGER NOT NULL DEFAULT 0,
      next_attempt_at REAL NOT NULL DEFAULT 0, created_at REAL NOT NULL, last_error TEXT,
      UNIQUE (project_uuid, feature_slug, target_branch, mission_key, manifest_version,
        artifact_path, content_hash));
  `);
  const insert = legacy.prepare(
    `INSERT INTO body_upload_queue (project_uuid, feature_slug, target_branch, mission_key,
       manifest_version, artifact_path, content_hash, content_body, size_bytes, retry_count,
       created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
  );
  const wanted = Array.from({ length: 1_000 }, (_, n) => body(`research/${n}.md`));
  for (const [n, one] of wanted.entries()) {
    const { project_uuid, mission_slug, target_branch, mission_type, manifest_version } = one;
    const key = [project_uuid, mission_slug, target_branch, mission_type, manifest_version];
    const hash = one.content_hash.slice('sha256:'.length);
    const size = one.content_body.length;
    insert.run(
      ...key,
      one.artifact_path,
      hash,
      one.content_body,
      size,
      n % 3,
      START_MS / 1_000 - n,
    );
  }
  legacy.close();
  const queue = queueAt();
  expect(queue.status()).toMatchObject({ queued: 1_000, due: 1_000, failed: 0 });
  const sent: BodyUpload[] = [];
  const push = async (upload: BodyUpload): Promise<Answer> => {
    sent.push(upload);
    return classify(201, {});
  };
  expect(await drainQueue({ queue, push, gate, nowMs: clock })).toMatchObject({ uploaded: 1_000 });
  expect(sent).toEqual(wanted.toReversed());
  queueAt();
  const db = new DatabaseSync(file);
  const columns = db.prepare('SELECT name FROM pragma_table_info(?)').all('body_upload_queue');
  expect(columns.map(({ name }) => name)).not.toContain('feature_slug');
  expect(db.prepare('SELECT count(*) AS n FROM queue').get()).toEqual({ n: 1 });
  expect(db.prepare("SELECT name FROM sqlite_schema WHERE name LIKE '%before'").all()).toEqual([]);
  db.close();
});

test('D.53 repeated and incomplete legacy rows are kept among the failures', () => {
  const legacy = new DatabaseSync(file);
  legacy.exec(`
    CREATE TABLE body_upload_queue (
      id INTEGER PRIMARY KEY, project_uuid TEXT, feature_slug TEXT, artifact_path TEXT,
      content_hash TEXT, content_body TEXT);
    INSERT INTO body_upload_queue (project_uuid, feature_slug, artifact_path, content_hash, content_body)
      VALUES ('p', 'm', 'a', 'sha256:1', 'text'), ('p', 'm', 'a', 'sha256:1', 'text'),
             ('p', NULL, 'b', 'sha256:2', 'tëxt');
  `);
  legacy.close();
  const queue = queueAt();
  expect(queue.status()).toMatchObject({ queued: 1, failed: 2, bytes: 4 });
  expect(queue.due(1)[0]?.upload).toMatchObject({
    mission_slug: 'm',
    mission_type: 'software-dev',
    target_branch: 'main',
    manifest_version: '1',
    hash_algorithm: 'sha256',
  });
  expect(queue.status().failures[0]).toMatchObject({ artifact_path: 'b', mission_slug: null });
});

test('a table of that name that is no queue is refused and left as it is', () => {
  const other = new DatabaseSync(file);
  other.exec("CREATE TABLE body_upload_queue (x TEXT); INSERT INTO body_upload_queue VALUES ('1')");
  other.close();
  expect(() => queueAt()).toThrow(/has no column project_uuid/);
  const db = new DatabaseSync(file);
  expect(db.prepare('SELECT * FROM body_upload_queue').all()).toEqual([{ x: '1' }]);
  db.close();
});
