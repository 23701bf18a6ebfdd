import { type API, AppError } from '#libs/contracts';
import { uuidOf } from '#libs/dossier';
import type { MissionLog } from '#libs/missionlog';
import type { CallInput } from '#libs/service';

type Origin = CallInput<typeof API.missions.recordOrigin>;

/**
 * Records, once, which issue of a tracker a mission came from.
 * @throws {ILLEGAL_TRANSITION} it came from another
 */
export async function recordOrigin(
  log: MissionLog,
  origin: Origin,
): Promise<{ event_id: string; duplicate: boolean; seq: number }> {
  const { project_uuid, build_id, node_id, ...payload } = origin;
  const { mission_slug, provider, external_issue_id } = origin;
  const event_id = uuidOf(
    JSON.stringify([project_uuid, mission_slug, provider, external_issue_id]),
  );
  const { events, seq } = await log.tell(origin, ({ origin: known }, { lamport, timestamp }) => {
    if (known?.value.event_id === event_id) return [];
    if (known !== undefined) {
      const status = `it comes from ${known.value.external_issue_key}`;
      throw new AppError('ILLEGAL_TRANSITION', { what: 'Another origin', status });
    }
    const event = {
      event_id,
      event_type: 'MissionOriginBound',
      aggregate_id: mission_slug,
      aggregate_type: 'Mission',
      schema_version: '3.0.0',
      build_id,
      node_id,
      lamport_clock: lamport,
      timestamp,
      causation_id: null,
      correlation_id: event_id,
      project_uuid,
      payload,
    };
    return [event];
  });
  return { event_id, duplicate: events.length === 0, seq };
}
