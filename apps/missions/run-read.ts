import type { Reader } from '#libs/projections';
import type { BoardKey } from './board-read.ts';
import type { RunSettings } from './run-rules.ts';

type Row = BoardKey & { run: string };

/** Missions that are to be executed and have work packages that are not settled. */
export function activeRuns(reader: Reader): (BoardKey & { settings: RunSettings })[] {
  const rows = reader.all<Row>(
    `SELECT project_uuid, mission_slug, run FROM missions m WHERE run_active = 1
     AND EXISTS (SELECT 1 FROM work_packages w WHERE w.mission_id = m.id
       AND lane NOT IN ('approved', 'done', 'canceled')) ORDER BY id`,
  );
  return rows.map(({ run, ...key }) => ({ ...key, settings: JSON.parse(run) as RunSettings }));
}

/** How a mission is to be executed; undefined: nobody has asked for it. */
export function settingsOf(reader: Reader, key: BoardKey): RunSettings | undefined {
  const row = reader.get<{ run: string | null }>(
    'SELECT run FROM missions WHERE project_uuid = ? AND mission_slug = ?',
    key.project_uuid,
    key.mission_slug,
  );
  return row?.run == null ? undefined : (JSON.parse(row.run) as RunSettings);
}
