import type { DatabaseSync } from 'node:sqlite';
import { type Channel, CHANNELS } from '#libs/contracts';
import type { Reader, View } from '#libs/projections';
import { type Delivery, type DeliveryState, OPEN_STATES, SETTLED_STATES } from './delivery.ts';
import type { OutboxRecord } from './follow.ts';
import { EMPTY_LEDGER, type Ledger } from './health.ts';

/** A delivery as lists show it: without its body. */
export type DeliveryRow = Omit<Delivery, 'body' | 'queued_seq'> & {
  delivery_id: string;
  /** Its place in the queue of its target. */
  queued_seq: number;
  /** Of its newest record. */
  seq: number;
  body_bytes: number;
};

/** What is due at a target: which record to read and send. */
export type DueDelivery = { delivery_id: string; seq: number };

const COLUMNS = [
  'delivery_id',
  'seq',
  'queued_seq',
  'channel',
  'target',
  'state',
  'due_ms',
  'settled_ms',
  'fingerprint',
  'row',
] as const;

/** One row a delivery; those that were delivered go when their record has. */
export function deliveriesView(settledKeepMs: number): View<OutboxRecord> {
  return {
    name: 'deliveries',
    version: 1,
    create: (db) =>
      db.exec(`
        CREATE TABLE deliveries (
          delivery_id TEXT PRIMARY KEY, seq INTEGER NOT NULL, queued_seq INTEGER NOT NULL,
          channel TEXT NOT NULL, target TEXT NOT NULL, state TEXT NOT NULL,
          due_ms INTEGER, settled_ms INTEGER, fingerprint TEXT, row TEXT NOT NULL
        ) WITHOUT ROWID;
        CREATE INDEX deliveries_queue ON deliveries (target, queued_seq) WHERE due_ms IS NOT NULL;
        CREATE INDEX deliveries_state ON deliveries (target, state, queued_seq);
        CREATE INDEX deliveries_newest ON deliveries (queued_seq);
        CREATE INDEX deliveries_settled ON deliveries (settled_ms) WHERE settled_ms IS NOT NULL;
      `),
    open: (db) => writer(db, settledKeepMs),
  };
}

function writer(db: DatabaseSync, settledKeepMs: number) {
  const put = db.prepare(`INSERT OR REPLACE INTO deliveries (${COLUMNS.join(', ')})
    VALUES (${COLUMNS.map(() => '?').join(', ')})`);
  const expire = db.prepare('DELETE FROM deliveries WHERE settled_ms < ?');
  return {
    apply({ events }: { readonly events: readonly OutboxRecord[] }): undefined {
      for (const { seq, delivery_id, delivery } of events) {
        const { body, ...rest } = delivery;
        const queued_seq = delivery.queued_seq ?? seq;
        const row = { ...rest, delivery_id, queued_seq, seq, body_bytes: bytes(body) };
        const open = OPEN_STATES.includes(delivery.state);
        // What is settled goes from the stream by its TTL; the rest stays until a person acts.
        const goes = SETTLED_STATES.includes(delivery.state);
        const settledMs = goes ? Date.parse(delivery.settled_at ?? delivery.queued_at) : null;
        put.run(
          delivery_id,
          seq,
          queued_seq,
          delivery.channel,
          delivery.target,
          delivery.state,
          open ? Date.parse(delivery.next_attempt_at ?? delivery.queued_at) : null,
          settledMs,
          delivery.fingerprint,
          JSON.stringify(row),
        );
        // By the time of the record, so that the rows depend on nothing but the stream.
        if (settledMs !== null) expire.run(settledMs - settledKeepMs);
      }
      return undefined;
    },
    forget() {},
  };
}

function bytes(body: string | null): number {
  return body === null ? 0 : Buffer.byteLength(body);
}

/** What may be sent to a target at `nowMs`, in the order of the queue. */
export function dueDeliveries(
  reader: Reader,
  target: string,
  nowMs: number,
  limit: number,
): DueDelivery[] {
  return reader.all<DueDelivery>(
    `SELECT delivery_id, seq FROM deliveries
     WHERE target = ? AND due_ms IS NOT NULL AND due_ms <= ? ORDER BY queued_seq LIMIT ?`,
    target,
    nowMs,
    limit,
  );
}

/** When the next of a target's deliveries is due, in ms since 1970; undefined: none waits. */
export function nextDueMs(reader: Reader, target: string): number | undefined {
  const sql = 'SELECT MIN(due_ms) AS due FROM deliveries WHERE target = ? AND due_ms IS NOT NULL';
  return reader.get<{ due: number | null }>(sql, target)?.due ?? undefined;
}

export type DeliveryFilter = {
  target?: string | undefined;
  channel?: Channel | undefined;
  state?: DeliveryState | undefined;
  /** Rows queued before this place only. */
  before?: number | undefined;
  limit: number;
};

/** Deliveries, the one that was queued last first. */
export function listDeliveries(reader: Reader, filter: DeliveryFilter): DeliveryRow[] {
  const { target, channel, state, before, limit } = filter;
  const given = { 'target = ?': target, 'channel = ?': channel, 'state = ?': state };
  const wheres = Object.entries({ ...given, 'queued_seq < ?': before }).filter(
    ([, value]) => value !== undefined,
  );
  const where = wheres.length === 0 ? '' : `WHERE ${wheres.map(([sql]) => sql).join(' AND ')}`;
  return reader
    .all<{ row: string }>(
      `SELECT row FROM deliveries ${where} ORDER BY queued_seq DESC LIMIT ?`,
      ...wheres.map(([, value]) => value as string | number),
      limit,
    )
    .map(({ row }) => JSON.parse(row) as DeliveryRow);
}

export function findDelivery(reader: Reader, deliveryId: string): DeliveryRow | undefined {
  const sql = 'SELECT row FROM deliveries WHERE delivery_id = ?';
  const found = reader.get<{ row: string }>(sql, deliveryId);
  return found && (JSON.parse(found.row) as DeliveryRow);
}

/** Digest of the counters of the demand summary that was queued last; undefined: there is none. */
export function lastFingerprint(reader: Reader): string | undefined {
  const sql = `SELECT fingerprint FROM deliveries WHERE fingerprint IS NOT NULL
    ORDER BY queued_seq DESC LIMIT 1`;
  return reader.get<{ fingerprint: string }>(sql)?.fingerprint;
}

export type TargetCounts = {
  target: string;
  channel: Channel;
  ledger: Ledger;
  latest_queued_at: string | null;
  oldest_pending_at: string | null;
  last_attempt_at: string | null;
  last_delivered_at: string | null;
  last_error: string | null;
};

/** The ledger of each target and channel that has one. */
export function countTargets(reader: Reader): TargetCounts[] {
  const rows = reader.all<Record<string, string | number | null>>(`
    SELECT target, channel, state, COUNT(*) AS count,
      MAX(row ->> 'queued_at') AS latest_queued_at,
      MIN(row ->> 'queued_at') AS oldest_queued_at,
      MAX(row ->> 'last_attempt_at') AS last_attempt_at
    FROM deliveries GROUP BY target, channel, state ORDER BY target, channel`);
  const counts = new Map<string, TargetCounts>();
  for (const row of rows) {
    const target = String(row.target);
    const channel = CHANNELS.find((one) => one === row.channel);
    if (channel === undefined) continue;
    const key = `${target}/${channel}`;
    const one = counts.get(key) ?? { ...emptyCounts(target, channel) };
    counts.set(key, one);
    const state = row.state as DeliveryState;
    one.ledger[state] = Number(row.count);
    one.latest_queued_at = later(one.latest_queued_at, row.latest_queued_at);
    one.last_attempt_at = later(one.last_attempt_at, row.last_attempt_at);
    if (state === 'delivered' || state === 'duplicate') {
      one.last_delivered_at = later(one.last_delivered_at, row.last_attempt_at);
    }
    if (state === 'pending' || state === 'retrying') {
      const oldest = row.oldest_queued_at as string;
      const known = one.oldest_pending_at;
      one.oldest_pending_at = known === null || oldest < known ? oldest : known;
    }
  }
  for (const one of counts.values()) one.last_error = lastError(reader, one);
  return [...counts.values()];
}

export function emptyCounts(target: string, channel: Channel): TargetCounts {
  return {
    target,
    channel,
    ledger: { ...EMPTY_LEDGER },
    latest_queued_at: null,
    oldest_pending_at: null,
    last_attempt_at: null,
    last_delivered_at: null,
    last_error: null,
  };
}

function lastError(reader: Reader, { target, channel }: TargetCounts): string | null {
  const sql = `SELECT row ->> 'last_error' AS error FROM deliveries
    WHERE target = ? AND channel = ? AND row ->> 'last_error' IS NOT NULL
    ORDER BY row ->> 'last_attempt_at' DESC LIMIT 1`;
  return reader.get<{ error: string }>(sql, target, channel)?.error ?? null;
}

function later(known: string | null, found: string | number | null | undefined): string | null {
  if (typeof found !== 'string') return known;
  return known === null || found > known ? found : known;
}
