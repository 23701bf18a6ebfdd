import type { DatabaseSync } from 'node:sqlite';
import { CHANNELS } from '#libs/contracts';
import type { Reader, Recorded, View, ViewWriter } from '#libs/projections';

/** What a list shows of a dead letter. */
export type Rejected = Recorded & {
  channel: string;
  at: string;
  reason: string;
  key: string | null;
};

/** More than are listed: some of them are dealt with and then no longer shown. */
const KEPT = 1_000;

/** Reads a message of DEAD; letters that are not about deliveries count, but are not listed. */
export function decodeRejected(
  data: Uint8Array,
  seq: number,
  subject: string,
): { ok: true; event: Rejected } | { ok: false; reason: string } {
  try {
    const letter = JSON.parse(new TextDecoder().decode(data)) as Record<string, unknown> | null;
    const { at, reason } = letter ?? {};
    const key = (letter?.delivery as { key?: unknown } | undefined)?.key;
    const channel = subject.split('.')[2] ?? '';
    const shown = {
      at: String(at),
      reason: String(reason),
      key: typeof key === 'string' ? key : null,
    };
    return { ok: true, event: { seq, event_id: `dead.${seq}`, channel, ...shown } };
  } catch (error) {
    return { ok: false, reason: `is not JSON: ${(error as Error).message}` };
  }
}

/** The newest rejected deliveries of each channel. */
export const rejectedView: View<Rejected> = {
  name: 'rejected',
  version: 1,
  create(db) {
    db.exec(`
      CREATE TABLE rejected (
        seq INTEGER PRIMARY KEY, channel TEXT NOT NULL, at TEXT NOT NULL, reason TEXT NOT NULL,
        key TEXT
      );
      CREATE INDEX rejected_channel ON rejected (channel, seq);
    `);
  },
  open: writer,
};

function writer(db: DatabaseSync): ViewWriter<Rejected> {
  const insert = db.prepare('INSERT INTO rejected VALUES (?, ?, ?, ?, ?)');
  const prune = db.prepare(
    `DELETE FROM rejected WHERE channel = ?1 AND seq <= (
       SELECT seq FROM rejected WHERE channel = ?1 ORDER BY seq DESC LIMIT 1 OFFSET ${KEPT})`,
  );
  const listed: readonly string[] = CHANNELS;
  return {
    apply({ events }) {
      const touched = new Set<string>();
      for (const { seq, channel, at, reason, key } of events) {
        if (!listed.includes(channel)) continue;
        insert.run(seq, channel, at, reason.toWellFormed(), key?.toWellFormed() ?? null);
        touched.add(channel);
      }
      for (const channel of touched) prune.run(channel);
      return undefined;
    },
    forget: () => undefined,
  };
}

/** The newest letters of a channel that still lie in DEAD. */
export function listRejected(
  reader: Reader,
  channel: string,
  gone: { before: number; seqs: ReadonlySet<number> },
  limit: number,
): Rejected[] {
  const sql = 'SELECT * FROM rejected WHERE channel = ? AND seq >= ? ORDER BY seq DESC';
  const rows = reader.all<Rejected>(sql, channel, gone.before);
  return rows.filter(({ seq }) => !gone.seqs.has(seq)).slice(0, limit);
}
