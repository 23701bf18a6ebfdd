import type { z } from 'zod';
import { type API, type DemandSnapshot, invalid, type MilestoneEvent } from '#libs/contracts';
import { demandTrend, type FeedEntry, keyDigest } from '#libs/feeds';
import type { Reader, SqlValue } from '#libs/projections';
import { folded } from './feeds-view.ts';

type EntryRow = { seq: number; at: number; entry: string };
type Where = [sql: string, ...values: SqlValue[]][];
type FeedSearch = z.output<(typeof API.intake.milestones)['input']>;
type HistorySearch = z.output<(typeof API.intake.demandHistory)['input']>;
type Milestone = Extract<FeedEntry, { channel: 'milestones' }>;
type Demand = Extract<FeedEntry, { channel: 'demand' }>;

/** The newest milestones by event time; of one time the later arrival comes first. */
export function latestMilestones(reader: Reader, limit: number): MilestoneEvent[] {
  const rows = select(reader, 'milestones', [], limit);
  return rows.map(({ entry }) => (JSON.parse(entry) as Milestone).item);
}

/** The snapshot that was generated last, whenever it arrived. */
export function latestDemand(reader: Reader): DemandSnapshot | null {
  const [row] = select(reader, 'demand', [], 1);
  return row === undefined ? null : (JSON.parse(row.entry) as Demand).item;
}

/** When a milestone was last accepted, ISO. */
export function lastAcceptedAt(reader: Reader): string | null {
  const sql = 'SELECT received FROM milestones ORDER BY seq DESC LIMIT 1';
  const row = reader.get<{ received: number }>(sql);
  return row === undefined ? null : new Date(row.received).toISOString();
}

export function searchMilestones(reader: Reader, search: FeedSearch) {
  const where: Where = timesOf(search);
  if (search.scope !== undefined) where.push(['scope = ?', folded(search.scope)]);
  if (search.risk !== undefined) where.push(['risk = ?', search.risk]);
  if (search.source !== undefined) where.push(['source = ?', search.source]);
  if (search.evidence !== undefined) where.push(['instr(evidence, ?)', `,${search.evidence},`]);
  if (search.text !== undefined) where.push(['instr(words, ?)', folded(search.text)]);
  const { rows, next_cursor } = pageOf(reader, 'milestones', where, search);
  return { milestones: rows.map(shown<Milestone>), next_cursor };
}

export function demandHistory(reader: Reader, search: HistorySearch) {
  const { rows, next_cursor } = pageOf(reader, 'demand', timesOf(search), search);
  const snapshots = rows.map(shown<Demand>);
  return { snapshots, trend: demandTrend(snapshots.map(({ item }) => item)), next_cursor };
}

function timesOf({ since, until }: { since?: string | undefined; until?: string | undefined }) {
  const where: Where = [];
  if (since !== undefined) where.push(['at >= ?', Date.parse(since)]);
  if (until !== undefined) where.push(['at <= ?', Date.parse(until)]);
  return where;
}

function pageOf(
  reader: Reader,
  table: 'milestones' | 'demand',
  where: Where,
  { limit, cursor }: { limit: number; cursor?: string | undefined },
) {
  const after = cursor === undefined ? [] : afterOf(cursor);
  const rows = select(reader, table, [...where, ...after], limit + 1);
  const page = rows.slice(0, limit);
  const last = page.at(-1);
  const more = rows.length > limit && last !== undefined;
  return { rows: page, next_cursor: more ? `${last.at}.${last.seq}` : null };
}

/** @throws {INVALID_REQUEST} text that no list gave out */
function afterOf(cursor: string): Where {
  const match = /^(-?\d{1,16})\.(\d{1,16})$/.exec(cursor);
  if (match === null) throw invalid('cursor', 'is not a cursor that this list gave');
  const [at, seq] = [Number(match[1]), Number(match[2])];
  return [['(at, seq) < (?, ?)', at, seq]];
}

function select(
  reader: Reader,
  table: 'milestones' | 'demand',
  where: Where,
  limit: number,
): EntryRow[] {
  const conditions = where.length === 0 ? '1' : where.map(([sql]) => sql).join(' AND ');
  return reader.all<EntryRow>(
    `SELECT seq, at, entry FROM ${table} WHERE ${conditions} ORDER BY at DESC, seq DESC LIMIT ?`,
    ...where.flatMap(([, ...values]) => values),
    limit,
  );
}

function shown<E extends FeedEntry>({ seq, entry: text }: EntryRow) {
  return shownEntry(JSON.parse(text) as E, seq);
}

/** An item with its receipt, as readers get it. */
export function shownEntry<E extends FeedEntry>(entry: E, seq: number) {
  const { key, digest, receipt } = entry;
  const { attempt_id: _own, ...told } = receipt;
  const item = entry.item as E['item'];
  return { item, receipt: { key_digest: keyDigest(key), seq, digest, ...told } };
}
