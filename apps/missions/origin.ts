import { publishAt, readLast } from '#libs/broker';
import { type API, AppError } from '#libs/contracts';
import { uuidOf } from '#libs/dossier';
import type { Gate } from '#libs/missions';
import type { Projection } from '#libs/projections';
import type { RoleContext } from '#libs/runtime';
import type { CallInput } from '#libs/service';
import { MISSIONS } from '#streams';
import { lamportSeen } from './dossier-read.ts';

type Origin = CallInput<typeof API.missions.recordOrigin>;
type Stored = { event_id: string; payload: Origin };

/**
 * Records, once, which issue of a tracker a mission came from.
 * @throws {ILLEGAL_TRANSITION} it came from another
 */
export async function recordOrigin(
  options: Pick<RoleContext, 'broker' | 'log'> & { projection: Projection; gate: Gate },
  origin: Origin,
): Promise<{ event_id: string; duplicate: boolean }> {
  const { broker, log, projection, gate } = options;
  const { project_uuid, build_id, node_id, ...payload } = origin;
  const { mission_slug, provider, external_issue_id } = origin;
  const subject = `mis.v1.${project_uuid}.${mission_slug}.origin`;
  const id = uuidOf(JSON.stringify([project_uuid, mission_slug, provider, external_issue_id]));
  const event = {
    event_id: id,
    event_type: 'MissionOriginBound',
    aggregate_id: mission_slug,
    aggregate_type: 'Mission',
    schema_version: '3.0.0',
    build_id,
    node_id,
    lamport_clock: projection.read(lamportSeen) + 1,
    timestamp: log.defaults.now().toISOString(),
    causation_id: null,
    correlation_id: id,
    project_uuid,
    payload,
  };
  gate.envelope('publish', event);
  const before = await readLast(broker, MISSIONS.name, subject);
  if (before === undefined) {
    const seq = await publishAt(broker, subject, Buffer.from(JSON.stringify(event)), 0);
    if (seq !== undefined) return { event_id: id, duplicate: false };
  }
  const first = before ?? (await readLast(broker, MISSIONS.name, subject));
  const stored = JSON.parse(Buffer.from(first?.data ?? []).toString('utf8')) as Stored;
  if (stored.event_id === id) return { event_id: id, duplicate: true };
  const status = `it comes from ${stored.payload.external_issue_key}`;
  throw new AppError('ILLEGAL_TRANSITION', { what: 'Another origin', status });
}
