import type { MissionEnvelope } from '#libs/contracts';
import type { EventDraft } from './envelope.ts';
import { isRollback, LANES, type Lane, type Origin, parseLane } from './lanes.ts';
import { isFilled, isObject } from './result.ts';
import { compareText, type MissionState } from './state.ts';

/** A line of status.events.jsonl. Source: reference §1.5. */
export type StatusRow = {
  event_id: string;
  mission_slug: string;
  wp_id: string;
  from_lane: string;
  to_lane: string;
  at: string;
  actor: string;
  force: boolean;
  execution_mode: string;
  reason: string | null;
  review_ref: string | null;
  evidence: Record<string, unknown> | null;
  policy_metadata: Record<string, unknown> | null;
  review_result?: Record<string, unknown>;
};

const PLAIN = [
  'wp_id',
  'from_lane',
  'to_lane',
  'actor',
  'force',
  'execution_mode',
  'reason',
  'review_ref',
  'evidence',
  'policy_metadata',
] as const;

/** The line that mirrors an event; undefined: it is no transition. */
export function rowOf(event: MissionEnvelope): StatusRow | undefined {
  if (event.event_type !== 'WPStatusChanged') return undefined;
  const { payload, event_id, timestamp: at } = event;
  const plain = Object.fromEntries(PLAIN.map((key) => [key, payload[key] ?? null]));
  const { review_result } = payload;
  const base = { event_id, mission_slug: payload.mission_slug, at, ...plain };
  const forced = { force: payload.force === true };
  return { ...base, ...forced, ...(isObject(review_result) && { review_result }) } as StatusRow;
}

/** One line, keys sorted on every level, with its line break. */
export function renderRow(row: StatusRow): string {
  return `${JSON.stringify(sorted(row))}\n`;
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (!isObject(value)) return value;
  const entries = Object.entries(value).sort(([a], [b]) => compareText(a, b));
  return Object.fromEntries(entries.map(([key, item]) => [key, sorted(item)]));
}

export type ParsedLog = {
  rows: StatusRow[];
  /** Lines that are no transition, counted from 1, with the reason; a torn last line is one. */
  faults: { line: number; reason: string }[];
};

/** Reads status.events.jsonl; a bad line does not hide the others. */
export function parseLog(text: string): ParsedLog {
  const parsed: ParsedLog = { rows: [], faults: [] };
  for (const [i, line] of text.split('\n').entries()) {
    if (line.trim() === '') continue;
    const row = parseRow(line);
    if (typeof row === 'string') parsed.faults.push({ line: i + 1, reason: row });
    else parsed.rows.push(row);
  }
  return parsed;
}

function parseRow(line: string): StatusRow | string {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (error) {
    return `not JSON: ${(error as Error).message}`;
  }
  if (!isObject(value)) return 'not an object';
  for (const name of ['event_id', 'wp_id', 'to_lane', 'at', 'actor']) {
    if (!isFilled(value[name])) return `${name} is missing`;
  }
  if (Number.isNaN(Date.parse(String(value.at)))) return 'at is no time';
  if (parseLane(String(value.to_lane)) === undefined)
    return `unknown lane ${String(value.to_lane)}`;
  const nulls = { reason: null, review_ref: null, evidence: null, policy_metadata: null };
  const defaults = { ...nulls, from_lane: 'planned', execution_mode: 'worktree', mission_slug: '' };
  return { ...defaults, ...value, force: value.force === true } as StatusRow;
}

/** status.json. */
export type StatusSnapshot = {
  mission_slug: string;
  materialized_at: string;
  event_count: number;
  last_event_id: string | null;
  work_packages: Record<string, SnapshotEntry>;
  summary: Record<Lane, number>;
};

type SnapshotEntry = {
  lane: Lane;
  actor: string;
  last_transition_at: string;
  last_event_id: string;
  force_count: number;
};

/**
 * Materialises the log as the original does: repeated ids once (first wins), sorted by time, a step
 * back out of review after a forward step of the same time, then id; the last one counts.
 */
export function reduceRows(
  missionSlug: string,
  rows: readonly StatusRow[],
  materializedAt: string,
): StatusSnapshot {
  const unique = sortRows(rows);
  const work_packages: Record<string, SnapshotEntry> = {};
  for (const row of unique) {
    const lane = parseLane(row.to_lane);
    if (lane === undefined) continue;
    const before = work_packages[row.wp_id]?.force_count ?? 0;
    work_packages[row.wp_id] = {
      lane,
      actor: row.actor,
      last_transition_at: row.at,
      last_event_id: row.event_id,
      force_count: before + (row.force ? 1 : 0),
    };
  }
  const summary = Object.fromEntries(LANES.map((lane) => [lane, 0])) as Record<Lane, number>;
  for (const { lane } of Object.values(work_packages)) summary[lane] += 1;
  return {
    mission_slug: missionSlug,
    materialized_at: materializedAt,
    event_count: unique.length,
    last_event_id: unique.at(-1)?.event_id ?? null,
    work_packages: sorted(work_packages) as Record<string, SnapshotEntry>,
    summary,
  };
}

/** The rows in the order of the reduction, each id once. */
export function sortRows(rows: readonly StatusRow[]): StatusRow[] {
  const unique = new Map<string, StatusRow>();
  for (const row of rows) if (!unique.has(row.event_id)) unique.set(row.event_id, row);
  return [...unique.values()].sort(
    (a, b) =>
      Date.parse(a.at) - Date.parse(b.at) ||
      rank(a) - rank(b) ||
      compareText(a.event_id, b.event_id),
  );
}

function rank({ from_lane, to_lane }: StatusRow): number {
  const to = parseLane(to_lane);
  return to !== undefined && isRollback((parseLane(from_lane) ?? from_lane) as Origin, to) ? 1 : 0;
}

/** Adds the rows that `text` lacks, in their order; what is there stays byte for byte. */
export function appendRows(text: string, rows: readonly StatusRow[]): string {
  const known = new Set(parseLog(text).rows.map(({ event_id }) => event_id));
  const missing = sortRows(rows).filter(({ event_id }) => !known.has(event_id));
  const start = text === '' || text.endsWith('\n') ? text : `${text}\n`;
  return start + missing.map(renderRow).join('');
}

export type ImportedRow = { draft: EventDraft; eventId: string; at: string; lamport: number };

/**
 * The transitions of an existing log that the stream does not know, as drafts with ids, times and
 * clocks of their own. Rows older than the stream's last event are placed before it.
 * @param idOf the id of a row in its one spelling; undefined: it has none that is valid
 */
export function importRows(
  rows: readonly StatusRow[],
  state: MissionState,
  idOf: (text: string) => string | undefined,
): ImportedRow[] {
  let lamport = 0;
  const imported: ImportedRow[] = [];
  for (const row of sortRows(rows)) {
    const eventId = idOf(row.event_id);
    if (eventId === undefined || state.ids.has(eventId)) continue;
    const isNewer = Date.parse(row.at) >= state.lastMs;
    lamport = Math.max(lamport, isNewer ? state.lamport : 0) + 1;
    imported.push({ draft: draftOf(row), eventId, at: new Date(row.at).toISOString(), lamport });
  }
  return imported;
}

function draftOf(row: StatusRow): EventDraft {
  const { event_id: _id, mission_slug: _slug, at: _at, ...rest } = row;
  const from = parseLane(row.from_lane) ?? row.from_lane;
  const forced = row.force && !isFilled(row.reason) ? { reason: 'imported' } : {};
  const payload = { ...rest, ...forced, from_lane: from, to_lane: parseLane(row.to_lane) };
  return { type: 'WPStatusChanged', wpId: row.wp_id, payload };
}
