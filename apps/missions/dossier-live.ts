import type { z } from 'zod';
import type { Broker } from '#libs/broker';
import type { API } from '#libs/contracts';
import type { BodyStored } from '#libs/dossier';
import { type Decode, followStream, streamTail } from '#libs/eventlog';
import type { Gate } from '#libs/missions';
import { MISSIONS } from '#streams';
import { faultOfBody } from './dossier-outgoing.ts';
import { isBodyStored } from './dossier-view.ts';
import type { MissionEvent } from './events.ts';

type LiveFilter = z.output<(typeof API.missions.dossierStream)['input']>;

/**
 * Contents of artifacts as they are received; their id is the sequence, from which one can resume.
 * What the contract's shape refuses by now is left out.
 */
export async function* liveBodies(
  { broker, decode, gate }: { broker: Broker; decode: Decode<MissionEvent>; gate: Gate },
  { from_seq, last_event_id, ...wanted }: LiveFilter,
  signal: AbortSignal,
) {
  const resumed = last_event_id === undefined ? undefined : last_event_id + 1;
  const fromSeq = resumed ?? from_seq ?? (await streamTail(broker, MISSIONS.name)) + 1;
  const facts = { stream: MISSIONS.name, decode };
  const options = { fromSeq, signal, maxEvents: 256 };
  for await (const { events } of followStream(broker, facts, options)) {
    for (const event of events) {
      const body = bodyOf(event);
      if (body === undefined || !matches(body, wanted)) continue;
      if (faultOfBody(gate, body) !== undefined) continue;
      yield { id: event.seq, event: event.event_type, data: body };
    }
  }
}

type Wanted = Omit<LiveFilter, 'from_seq' | 'last_event_id'>;
type Received = NonNullable<ReturnType<typeof bodyOf>>;

function bodyOf(event: MissionEvent) {
  if (!isBodyStored(event)) return undefined;
  const { seq, event_id, timestamp: stored_at } = event;
  const { namespace, artifact_path, content_hash, size_bytes } =
    event.payload as BodyStored['payload'];
  return { seq, event_id, ...namespace, artifact_path, content_hash, size_bytes, stored_at };
}

function matches(body: Received, wanted: Wanted): boolean {
  const { project_uuid, mission_slug, artifact_path } = wanted;
  return (
    (project_uuid === undefined || body.project_uuid === project_uuid) &&
    (mission_slug === undefined || body.mission_slug === mission_slug) &&
    (artifact_path === undefined || body.artifact_path === artifact_path)
  );
}
