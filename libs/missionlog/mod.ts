export { buildId, gitFolder, nodeId } from './checkout.ts';
export { type ClockStore, openClock } from './clock-store.ts';
export {
  decodeMissionEvent,
  type LoadedMission,
  type MissionFault,
  type StoredMissionEvent,
} from './load.ts';
export {
  type Committed,
  type MissionLog,
  type MissionLogOptions,
  openMissionLog,
} from './log.ts';
export type { Recorded } from './record.ts';
export { loadGate } from './shape.ts';
export {
  BOARDS_FILTER,
  MISSION_STREAM,
  missionSubject,
  parseMissionSubject,
  projectFilter,
} from './subjects.ts';
