import type { Reader } from '#libs/projections';
import type { BoardKey } from './board-read.ts';

const MISSIONS_MAX = 1_000;

/** Missions that are to be executed and are not merged; those that changed last come first. */
export function activeRuns(reader: Reader): BoardKey[] {
  return reader.all<BoardKey>(
    `SELECT project_uuid, mission_slug FROM missions
     WHERE run_active = 1 AND status <> 'merged' ORDER BY updated_at DESC LIMIT ?`,
    MISSIONS_MAX,
  );
}
