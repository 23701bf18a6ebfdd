import { type API, AppError, invalid } from '#libs/contracts';
import { LANES, parseLane } from '#libs/missions';
import type { Reader, SqlValue } from '#libs/projections';
import type { CallData } from '#libs/service';

type Page = { limit: number; cursor?: string | undefined };
type Board = CallData<typeof API.missions.board>;
export type BoardKey = { project_uuid: string; mission_slug: string };

/** Where an event belongs; null: to no mission of its project. */
export type Place = { project_uuid: string; mission_slug: string | null };

const COLUMNS = `id, project_uuid, mission_slug, mission_number, mission_type, target_branch, status,
  created_at, updated_at, events, merged, merge_refused`;

type MissionRow = BoardKey & {
  id: number;
  mission_number: string;
  mission_type: string;
  target_branch: string | null;
  status: string;
  created_at: string;
  updated_at: string;
  events: number;
  merged: string | null;
  merge_refused: string | null;
};

export function listBoards(
  reader: Reader,
  filter: Page & Partial<Record<'project_uuid' | 'mission_slug' | 'status', string | undefined>>,
) {
  const { limit, cursor } = filter;
  const { sql, values } = conditions([
    ['project_uuid', filter.project_uuid],
    ['mission_slug', filter.mission_slug],
    ['status', filter.status],
  ]);
  const rows = reader.all<MissionRow>(
    `SELECT ${COLUMNS} FROM missions WHERE id > ?${sql} ORDER BY id LIMIT ?`,
    after(cursor),
    ...values,
    limit + 1,
  );
  const page = rows.slice(0, limit);
  const missions = page.map(({ id, ...row }) => ({
    ...shown(row),
    lanes: counted(inLanes(reader, id)),
  }));
  return { missions, next_cursor: nextOf(rows, limit, 'id'), as_of: reader.seq };
}

/** @throws {NAMESPACE_NOT_FOUND} no event has told of it */
export function findBoard(reader: Reader, key: BoardKey) {
  const { id, ...row } = missionOf(reader, key);
  const in_lane = inLanes(reader, id);
  return { ...shown(row), lanes: counted(in_lane), in_lane, as_of: reader.seq };
}

function shown({ merged, merge_refused: refused, ...row }: Omit<MissionRow, 'id'>) {
  return {
    ...row,
    merged: merged === null ? null : (JSON.parse(merged) as Board['merged']),
    merge_refused: refused === null ? null : (JSON.parse(refused) as Board['merge_refused']),
  };
}

type WorkPackageRow = {
  wp_id: string;
  title: string | null;
  dependencies: string;
  lane: string;
  last_actor: string | null;
  last_transition_at: string | null;
  last_event_id: string | null;
  last_reason: string | null;
  transitions: number;
  force_count: number;
};

function laneOf(text: string): string {
  const lane = parseLane(text);
  if (lane === undefined) throw invalid('lane', `is none of ${LANES.join(', ')}`);
  return lane;
}

/** @throws {NAMESPACE_NOT_FOUND} · {INVALID_REQUEST} `lane` names none */
export function listWorkPackages(
  reader: Reader,
  key: BoardKey,
  filter: Page & Partial<Record<'wp_id' | 'lane' | 'actor', string | undefined>>,
) {
  const { id } = missionOf(reader, key);
  const { limit, cursor = '' } = filter;
  const { sql, values } = conditions([
    ['wp_id', filter.wp_id],
    ['lane', filter.lane === undefined ? undefined : laneOf(filter.lane)],
    ['last_actor', filter.actor],
  ]);
  const rows = reader.all<WorkPackageRow>(
    `SELECT wp_id, title, dependencies, lane, last_actor, last_transition_at, last_event_id,
       last_reason, transitions, force_count
     FROM work_packages WHERE mission_id = ? AND wp_id > ?${sql} ORDER BY wp_id LIMIT ?`,
    id,
    cursor,
    ...values,
    limit + 1,
  );
  const work_packages = rows
    .slice(0, limit)
    .map((row) => ({ ...row, dependencies: JSON.parse(row.dependencies) as string[] }));
  return { work_packages, next_cursor: nextOf(rows, limit, 'wp_id'), as_of: reader.seq };
}

type EventRow = {
  seq: number;
  event_id: string;
  event_type: string;
  wp_id: string | null;
  actor: string | null;
  event: string;
};

/** @throws {NAMESPACE_NOT_FOUND} */
export function listHistory(
  reader: Reader,
  key: BoardKey,
  filter: Page & Partial<Record<'wp_id' | 'event_type' | 'actor', string | undefined>>,
) {
  const { id } = missionOf(reader, key);
  const { limit, cursor } = filter;
  const { sql, values } = conditions([
    ['wp_id', filter.wp_id],
    ['event_type', filter.event_type],
    ['actor', filter.actor],
  ]);
  const rows = reader.all<EventRow>(
    `SELECT seq, event_id, event_type, wp_id, actor, event FROM mission_events
     WHERE mission_id = ? AND seq > ?${sql} ORDER BY seq LIMIT ?`,
    id,
    after(cursor),
    ...values,
    limit + 1,
  );
  const history = rows.slice(0, limit).map(({ event: text, ...row }) => {
    const event = JSON.parse(text) as Record<string, unknown>;
    return { ...row, timestamp: String(event.timestamp), event };
  });
  return { history, next_cursor: nextOf(rows, limit, 'seq'), as_of: reader.seq };
}

/** Whether an event of another mission or project has the id. */
export function isOfAnother(reader: Reader, eventId: string, place: Place): boolean {
  const sql = `SELECT 1 FROM event_ids WHERE event_id = ?
    AND (project_uuid <> ? OR mission_slug IS NOT ?)`;
  const { project_uuid, mission_slug } = place;
  return reader.get(sql, eventId, project_uuid, mission_slug) !== undefined;
}

function missionOf(reader: Reader, { project_uuid, mission_slug }: BoardKey): MissionRow {
  const row = reader.get<MissionRow>(
    `SELECT ${COLUMNS} FROM missions WHERE project_uuid = ? AND mission_slug = ?`,
    project_uuid,
    mission_slug,
  );
  if (row !== undefined) return row;
  throw new AppError('NAMESPACE_NOT_FOUND', { mission: mission_slug, project: project_uuid });
}

function inLanes(reader: Reader, id: number): Record<string, string[]> {
  const lanes = Object.fromEntries(LANES.map((lane): [string, string[]] => [lane, []]));
  const rows = reader.all<{ wp_id: string; lane: string }>(
    'SELECT wp_id, lane FROM work_packages WHERE mission_id = ? ORDER BY wp_id',
    id,
  );
  for (const { wp_id, lane } of rows) lanes[lane]?.push(wp_id);
  return lanes;
}

function counted(lanes: Record<string, readonly string[]>): Record<string, number> {
  return Object.fromEntries(Object.entries(lanes).map(([lane, ids]) => [lane, ids.length]));
}

function conditions(given: readonly (readonly [column: string, value: string | undefined])[]) {
  const set = given.filter(([, value]) => value !== undefined);
  return {
    sql: set.map(([column]) => ` AND ${column} = ?`).join(''),
    values: set.map(([, value]): SqlValue => value as string),
  };
}

function after(cursor: string | undefined): number {
  if (cursor === undefined) return 0;
  if (/^[1-9]\d{0,15}$/.test(cursor)) return Number(cursor);
  throw invalid('cursor', 'is none that this list gave');
}

/** One row more than the page was asked for: it tells that there is a next one. */
function nextOf<R>(rows: readonly R[], limit: number, key: keyof R): string | null {
  return rows.length > limit ? String((rows[limit - 1] as R)[key]) : null;
}
