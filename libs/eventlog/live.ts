import type { Broker } from '#libs/broker';
import { demandEventType, type EventType, type StoredEvent } from '#libs/contracts';
import { followBatches } from './follow.ts';
import { ledgerTail } from './read.ts';
import { ledgerFilter } from './subjects.ts';

/** Which events a live stream wants; what is left out matches all. */
export type LiveFilter = {
  theater_id?: string | undefined;
  run_id?: string | undefined;
  order_id?: string | undefined;
  type?: string | undefined;
  /** First sequence wanted; default: what comes after now. */
  from_seq?: number | undefined;
  /** Sequence of the last event that was seen; goes before `from_seq`. */
  last_event_id?: number | undefined;
};

type LiveEvent = { id: number; event: string; data: StoredEvent };

/**
 * Events as they land, told apart by their stream sequence, from which a reader can resume.
 * @throws {UNKNOWN_EVENT_TYPE} at once, before the first event is asked for
 */
export function liveEvents(
  broker: Broker,
  garrisonId: string,
  { type, ...filter }: LiveFilter,
  signal: AbortSignal,
): AsyncGenerator<LiveEvent> {
  const wanted = type === undefined ? undefined : demandEventType(type);
  return follow(broker, garrisonId, { ...filter, type: wanted }, signal);
}

async function* follow(
  broker: Broker,
  garrisonId: string,
  filter: LiveFilter & { type: EventType | undefined },
  signal: AbortSignal,
): AsyncGenerator<LiveEvent> {
  const { theater_id, run_id, order_id, type, from_seq, last_event_id } = filter;
  const fromSeq =
    last_event_id !== undefined ? last_event_id + 1 : (from_seq ?? (await ledgerTail(broker)) + 1);
  const subjects = [ledgerFilter({ garrison_id: garrisonId, theater_id, run_id, order_id })];
  for await (const { events } of followBatches(broker, {
    fromSeq,
    subjects,
    signal,
    maxEvents: 256,
  })) {
    for (const event of events) {
      if (type !== undefined && event.type !== type) continue;
      yield { id: event.seq, event: event.type, data: event };
    }
  }
}
