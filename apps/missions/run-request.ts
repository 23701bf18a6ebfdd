import { isDeepStrictEqual } from 'node:util';
import { type API, AppError, LIMITS } from '#libs/contracts';
import type { MissionLog } from '#libs/missionlog';
import { derivedId } from '#libs/missions';
import type { Projection } from '#libs/projections';
import type { CallInput } from '#libs/service';
import { settingsOf } from './run-read.ts';
import { boardOfState, RUN_REQUESTED, type RunSettings, stepsOf } from './run-rules.ts';

/**
 * Records that a mission is to be executed by the system, or no longer. The same again is done.
 * @throws {NAMESPACE_NOT_FOUND} no event has told of the mission
 */
export async function requestRun(
  log: MissionLog,
  projection: Projection,
  input: CallInput<typeof API.missions.run>,
): Promise<{ active: boolean; duplicate: boolean; next: string[] }> {
  const { project_uuid, mission_slug, stop = false } = input;
  const { state, version } = await log.load(mission_slug);
  const board = boardOfState(state);
  if (board === undefined) {
    throw new AppError('NAMESPACE_NOT_FOUND', { mission: mission_slug, project: project_uuid });
  }
  const settings: RunSettings = {
    active: !stop,
    review: input.review ?? 'unit',
    theater_id: input.theater_id ?? null,
    playbook: input.playbook ?? null,
  };
  const next = stepsOf(board, state, settings).map(({ wpId }) => wpId);
  const known = { timeoutMs: LIMITS.atLeastWaitMs };
  await projection.waitFor(version, known);
  const before = projection.read((reader) => settingsOf(reader, { project_uuid, mission_slug }));
  if (isDeepStrictEqual(before, settings)) return { active: !stop, duplicate: true, next };
  const { emitter } = log;
  const event = {
    event_id: derivedId(project_uuid, mission_slug, RUN_REQUESTED, String(version)),
    event_type: RUN_REQUESTED,
    aggregate_id: mission_slug,
    aggregate_type: 'Build',
    schema_version: '3.0.0',
    build_id: emitter.buildId,
    node_id: emitter.nodeId,
    lamport_clock: state.lamport + 1,
    timestamp: new Date(Math.max(Date.now(), state.lastMs + 1)).toISOString(),
    causation_id: null,
    project_uuid,
    payload: { ...board.identity, ...settings },
  };
  const [told] = await log.record([event], 'emit');
  if (told?.status !== 'success') {
    // Another asked at the very same version of the mission.
    throw new AppError('VERSION_CONFLICT', {
      subject: mission_slug,
      actual: 'a later one',
      expected: version,
    });
  }
  return { active: !stop, duplicate: false, next };
}
