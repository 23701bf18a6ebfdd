import { z } from 'zod';
import { parse } from '../envelope.ts';
import { invalid } from '../errors.ts';
import { id, nullableId, timestamp } from '../ids.ts';
import { checkJson } from '../json.ts';
import { demandEventType, EVENT_TYPES, type EventType, type PayloadOf } from './types.ts';

/** A fact as it is stored: the base fields of the service contracts, section 1. */
export type LedgerEvent<T extends EventType = EventType> = {
  event_id: string;
  ts: string;
  type: T;
  garrison_id: string;
  theater_id: string | null;
  run_id: string | null;
  order_id: string | null;
  unit_id: string | null;
  payload: PayloadOf<T>;
};

/** An event of any type, told apart by `type`. */
export type AnyEvent = { [T in EventType]: LedgerEvent<T> }[EventType];

/** An event with the stream sequence at which it is stored. */
export type StoredEvent = AnyEvent & { readonly seq: number };

/** What a caller may leave out; the ledger fills it in. */
export const eventInput = z.strictObject({
  event_id: id.nullish(),
  ts: timestamp.nullish(),
  type: z.string().max(128),
  garrison_id: id.nullish(),
  theater_id: nullableId.default(null),
  run_id: nullableId.default(null),
  order_id: nullableId.default(null),
  unit_id: nullableId.default(null),
  payload: z.record(z.string(), z.unknown()).default({}),
});
export type EventInput = z.input<typeof eventInput>;

/** The stored form, for answers and documents. */
export const storedEvent = z.object({
  seq: z.int().min(1),
  event_id: id,
  ts: timestamp,
  type: z.string(),
  garrison_id: id,
  theater_id: nullableId,
  run_id: nullableId,
  order_id: nullableId,
  unit_id: nullableId,
  payload: z.record(z.string(), z.unknown()),
});

/** What fills in for a caller: all effects of reading an event. */
export type EventDefaults = { garrisonId: string; newId: () => string; now: () => Date };

/** An event ready to store, and which of its fields the caller did not give. */
export type ParsedEvent = { event: AnyEvent; idGiven: boolean; tsGiven: boolean };

/**
 * Reads one event from outside.
 * @param at name of the value in the request, as `events[3]`, for the `field` of an error
 * @throws {INVALID_REQUEST} wrong shape · {UNKNOWN_EVENT_TYPE} a type not in EVENT_TYPES
 */
export function parseEvent(value: unknown, defaults: EventDefaults, at = ''): ParsedEvent {
  const input = parse(eventInput, value, at);
  const field = (name: string): string => (at === '' ? name : `${at}.${name}`);
  const type = demandEventType(input.type, field('type'));
  const entry = EVENT_TYPES[type];
  for (const name of entry.needs) {
    if (input[name] === null) throw invalid(field(name), `is required for ${type}`);
  }
  // As it was given: the schema has dropped a `__proto__` already.
  checkJson((value as { payload?: unknown }).payload ?? {}, field('payload'));
  const event = {
    event_id: input.event_id ?? defaults.newId(),
    ts: input.ts ?? defaults.now().toISOString(),
    type,
    garrison_id: input.garrison_id ?? defaults.garrisonId,
    theater_id: input.theater_id,
    run_id: input.run_id,
    order_id: input.order_id,
    unit_id: input.unit_id,
    payload: parse<z.ZodType>(entry.payload, input.payload, field('payload')),
  } as AnyEvent;
  return { event, idGiven: input.event_id != null, tsGiven: input.ts != null };
}
