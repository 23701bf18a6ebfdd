import type { z } from 'zod';
import type { Broker } from '#libs/broker';
import type { API } from '#libs/contracts';
import { type Decode, followStream, streamTail } from '#libs/eventlog';
import { MISSIONS } from '#streams';
import { actorOf } from './board-view.ts';
import type { MissionEvent } from './events.ts';

type LiveFilter = z.output<(typeof API.missions.stream)['input']>;

/** Events of missions as they are stored; their id is the sequence, from which one can resume. */
export async function* liveEvents(
  broker: Broker,
  decode: Decode<MissionEvent>,
  filter: LiveFilter,
  signal: AbortSignal,
) {
  const { project_uuid, mission_slug, wp_id: wanted, from_seq, last_event_id } = filter;
  const resumed = last_event_id === undefined ? undefined : last_event_id + 1;
  const fromSeq = resumed ?? from_seq ?? (await streamTail(broker, MISSIONS.name)) + 1;
  const facts = { stream: MISSIONS.name, decode };
  const options = { fromSeq, signal, maxEvents: 256 };
  for await (const { events } of followStream(broker, facts, options)) {
    for (const { seq, ...event } of events) {
      if (project_uuid !== undefined && event.project_uuid !== project_uuid) continue;
      if (mission_slug !== undefined && event.payload.mission_slug !== mission_slug) continue;
      const wp_id = typeof event.payload.wp_id === 'string' ? event.payload.wp_id : null;
      if (wanted !== undefined && wp_id !== wanted) continue;
      const { event_id, event_type, timestamp } = event;
      const data = { seq, event_id, event_type, wp_id, actor: actorOf(event), timestamp, event };
      yield { id: seq, event: event_type, data };
    }
  }
}
