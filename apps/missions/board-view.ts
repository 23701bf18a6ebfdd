import type { DatabaseSync } from 'node:sqlite';
import { compareOrder, type EventOrder, orderOf, parseLane, RUN_REQUESTED } from '#libs/missions';
import type { View } from '#libs/projections';
import type { MissionEvent } from './events.ts';
import { readSettings } from './run-rules.ts';

const TABLES = `
  CREATE TABLE missions (
    id INTEGER PRIMARY KEY,
    project_uuid TEXT NOT NULL, mission_slug TEXT NOT NULL, mission_number TEXT NOT NULL,
    mission_type TEXT NOT NULL, target_branch TEXT, status TEXT NOT NULL, created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL, events INTEGER NOT NULL, created_order TEXT, closed_order TEXT,
    run_active INTEGER NOT NULL, run_order TEXT, merged TEXT, merge_refused TEXT,
    refused_order TEXT,
    UNIQUE (project_uuid, mission_slug)
  );
  CREATE INDEX missions_slug ON missions (mission_slug, id);
  CREATE TABLE event_ids (
    event_id TEXT NOT NULL, project_uuid TEXT NOT NULL, mission_slug TEXT,
    UNIQUE (event_id, project_uuid, mission_slug)
  );
  CREATE TABLE mission_events (
    seq INTEGER PRIMARY KEY, mission_id INTEGER NOT NULL, event_id TEXT NOT NULL,
    event_type TEXT NOT NULL, wp_id TEXT, actor TEXT, event TEXT NOT NULL,
    UNIQUE (mission_id, event_id)
  );
  CREATE INDEX mission_events_order ON mission_events (mission_id, seq);
  CREATE TABLE work_packages (
    mission_id INTEGER NOT NULL, wp_id TEXT NOT NULL, title TEXT, dependencies TEXT NOT NULL,
    lane TEXT NOT NULL, last_actor TEXT, last_transition_at TEXT, last_event_id TEXT,
    last_reason TEXT, transitions INTEGER NOT NULL, force_count INTEGER NOT NULL, created_order TEXT,
    lane_order TEXT, PRIMARY KEY (mission_id, wp_id)
  ) WITHOUT ROWID;
`;

function statements(db: DatabaseSync) {
  return {
    mission: db.prepare(
      `INSERT INTO missions VALUES (NULL, ?, ?, ?, ?, NULL, 'open', ?, ?, 0, NULL, NULL, 0, NULL, NULL,
         NULL, NULL)
       ON CONFLICT (project_uuid, mission_slug) DO UPDATE SET mission_slug = mission_slug
       RETURNING id, created_order, closed_order, run_order, refused_order`,
    ),
    id: db.prepare('INSERT OR IGNORE INTO event_ids VALUES (?, ?, ?)'),
    event: db.prepare('INSERT OR IGNORE INTO mission_events VALUES (?, ?, ?, ?, ?, ?, ?)'),
    touched: db.prepare('UPDATE missions SET events = events + 1, updated_at = ? WHERE id = ?'),
    created: db.prepare(
      `UPDATE missions SET mission_number = ?, mission_type = ?, target_branch = ?, created_order = ?
       WHERE id = ?`,
    ),
    closed: db.prepare('UPDATE missions SET status = ?, closed_order = ?, merged = ? WHERE id = ?'),
    run: db.prepare('UPDATE missions SET run_active = ?, run_order = ? WHERE id = ?'),
    refused: db.prepare('UPDATE missions SET merge_refused = ?, refused_order = ? WHERE id = ?'),
    wp: db.prepare(
      `INSERT INTO work_packages VALUES (?, ?, NULL, '[]', 'planned', NULL, NULL, NULL, NULL, 0, 0,
         NULL, NULL)
       ON CONFLICT (mission_id, wp_id) DO UPDATE SET wp_id = wp_id
       RETURNING created_order, lane_order`,
    ),
    wpCreated: db.prepare(
      `UPDATE work_packages SET title = ?, dependencies = ?, created_order = ?
       WHERE mission_id = ? AND wp_id = ?`,
    ),
    counted: db.prepare(
      `UPDATE work_packages SET transitions = transitions + 1, force_count = force_count + ?
       WHERE mission_id = ? AND wp_id = ?`,
    ),
    moved: db.prepare(
      `UPDATE work_packages SET lane = ?, last_actor = ?, last_transition_at = ?, last_event_id = ?,
         last_reason = ?, lane_order = ? WHERE mission_id = ? AND wp_id = ?`,
    ),
  };
}
type Statements = ReturnType<typeof statements>;

/** Missions, their work packages and their events, by the same order as the fold of libs/missions. */
export const boardView: View<MissionEvent> = {
  name: 'boards',
  version: 2,
  create: (db) => db.exec(TABLES),
  open(db) {
    const sql = statements(db);
    return {
      apply({ events }) {
        for (const event of events) keep(sql, event);
        return undefined;
      },
      forget: () => undefined,
    };
  },
};

function keep(sql: Statements, event: MissionEvent): void {
  const { seq, event_id, event_type, timestamp, project_uuid, payload } = event;
  const { mission_slug: slug, mission_number: number, mission_type: type } = payload;
  if (project_uuid === undefined) return;
  sql.id.run(event_id, project_uuid, textOf(slug));
  // What belongs to no mission has no board.
  if (typeof slug !== 'string') return;
  if (typeof number !== 'string' || typeof type !== 'string') return;
  const mission = sql.mission.get(project_uuid, slug, number, type, timestamp, timestamp);
  const id = Number(mission?.id);
  const wpId = typeof payload.wp_id === 'string' ? payload.wp_id : null;
  const { seq: _seq, ...envelope } = event;
  const text = JSON.stringify(envelope);
  const inserted = sql.event.run(seq, id, event_id, event_type, wpId, actorOf(event), text);
  // The first event of an id counts.
  if (inserted.changes === 0) return;
  sql.touched.run(timestamp, id);
  if (event_type === 'MissionCreated' && isLater(event, mission?.created_order)) {
    const { target_branch: target = null } = payload;
    sql.created.run(number, type, textOf(target), orderText(event), id);
  }
  if (event_type === 'MissionClosed' && isLater(event, mission?.closed_order)) {
    const { target_branch, strategy, merge_commit: commit, completed_at: at } = payload;
    const merged = payload.closing === 'merged' ? { target_branch, strategy, commit, at } : null;
    const closing = textOf(payload.closing) ?? 'accepted';
    sql.closed.run(closing, orderText(event), merged && JSON.stringify(merged), id);
  }
  if (event_type === RUN_REQUESTED && isLater(event, mission?.run_order)) {
    sql.run.run(readSettings(payload).active ? 1 : 0, orderText(event), id);
  }
  if (event_type === 'ErrorLogged' && isLater(event, mission?.refused_order)) {
    const { merge_refused: refused } = payload;
    const told = JSON.stringify({ ...(refused as object), at: timestamp });
    if (refused !== undefined) sql.refused.run(told, orderText(event), id);
  }
  if (wpId !== null) keepWorkPackage(sql, event, id, wpId);
}

function keepWorkPackage(sql: Statements, event: MissionEvent, id: number, wpId: string): void {
  const { event_type: type, event_id, timestamp, payload } = event;
  const row = sql.wp.get(id, wpId);
  if (type === 'WPCreated' && isLater(event, row?.created_order)) {
    const { title, dependencies } = payload;
    const waits = JSON.stringify(Array.isArray(dependencies) ? dependencies : []);
    sql.wpCreated.run(textOf(title), waits, orderText(event), id, wpId);
  }
  const lane = type === 'WPStatusChanged' ? parseLane(String(payload.to_lane)) : undefined;
  if (lane === undefined) return;
  sql.counted.run(payload.force === true ? 1 : 0, id, wpId);
  if (!isLater(event, row?.lane_order)) return;
  const actor = textOf(payload.actor);
  const reason = textOf(payload.reason);
  sql.moved.run(lane, actor, timestamp, event_id, reason, orderText(event), id, wpId);
}

/** Of others, who name the one who acted in different words. */
export function actorOf({ payload }: Pick<MissionEvent, 'payload'>): string | null {
  const { actor, author, agent_id, accepted_by } = payload;
  return textOf(actor) ?? textOf(author) ?? textOf(agent_id) ?? textOf(accepted_by);
}

function textOf(value: unknown): string | null {
  return typeof value === 'string' ? value : null;
}

function orderText(event: MissionEvent): string {
  return JSON.stringify(orderOf(event));
}

/** Whether the event comes after the one that a row is of. */
function isLater(event: MissionEvent, than: unknown): boolean {
  if (typeof than !== 'string') return true;
  return compareOrder(orderOf(event), JSON.parse(than) as EventOrder) > 0;
}
