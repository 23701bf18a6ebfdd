import {
  AppError,
  type EventDefaults,
  invalid,
  LIMITS,
  parseEvent,
  type ParsedEvent,
} from '#libs/contracts';
import type { Appended, EventLog } from '#libs/eventlog';

/** Checks one event from outside and fills in what it leaves out; `at` names it in errors. */
export type ReadEvent = (value: unknown, at: string) => ParsedEvent;

function readWith(defaults: EventDefaults): ReadEvent {
  return (value, at) => parseEvent(value, defaults, at);
}

/** POST /events: one fact from outside. */
export async function recordOne(
  log: EventLog,
  input: unknown,
  read: ReadEvent = readWith(log.defaults),
): Promise<Appended> {
  return log.record(read(input, ''));
}

/** POST /events/batch: all or none; an error names the index. An empty batch is nothing to do. */
export async function recordMany(
  log: EventLog,
  input: unknown,
  read: ReadEvent = readWith(log.defaults),
): Promise<Appended[]> {
  const events = eventsOf(input);
  if (events.length > LIMITS.batchEvents) {
    const limit = `${LIMITS.batchEvents} events`;
    throw new AppError('PAYLOAD_TOO_LARGE', { what: 'batch', limit }, { field: 'events' });
  }
  return log.recordBatch(events.map((event, index) => read(event, `events[${index}]`)));
}

function eventsOf(input: unknown): unknown[] {
  if (typeof input !== 'object' || input === null) throw invalid('events', 'is required');
  const { events, ...others } = input as Record<string, unknown>;
  const [extra] = Object.keys(others);
  if (extra !== undefined) throw invalid(extra, 'is not known here; send {"events": […]}');
  if (!Array.isArray(events)) throw invalid('events', 'must be an array of events');
  return events;
}
