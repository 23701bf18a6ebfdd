import { isDeepStrictEqual } from 'node:util';
import {
  type AnyEvent,
  AppError,
  eventType,
  isId,
  LIMITS,
  type StoredEvent,
} from '#libs/contracts';
import { isAt } from './subjects.ts';

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { fatal: true });

/**
 * The bytes of an event as they are stored.
 * @param at name of the event in the request, as `events[3].`, for the `field` of an error
 * @throws {PAYLOAD_TOO_LARGE} over LIMITS.eventBytes
 */
export function encodeEvent(event: AnyEvent, at = ''): Uint8Array {
  const bytes = encoder.encode(JSON.stringify(event));
  if (bytes.length > LIMITS.eventBytes) {
    throw new AppError(
      'PAYLOAD_TOO_LARGE',
      { what: 'event', limit: LIMITS.eventBytes },
      { field: `${at}payload` },
    );
  }
  return bytes;
}

export type Decoded = { ok: true; event: StoredEvent } | { ok: false; reason: string };

/**
 * Reads stored bytes back. Everything in the stream was checked when it was appended, so this only
 * looks for what other hands could have put there: wrong JSON, wrong shape, wrong subject.
 */
export function decodeEvent(data: Uint8Array, seq: number, subject: string): Decoded {
  let value: unknown;
  try {
    value = JSON.parse(decoder.decode(data));
  } catch (error) {
    return { ok: false, reason: `not JSON: ${(error as Error).message}` };
  }
  const reason = notAnEvent(value) ?? misplaced(value as AnyEvent, subject);
  if (reason !== undefined) return { ok: false, reason };
  const event = value as AnyEvent & { seq: number };
  event.seq = seq;
  return { ok: true, event };
}

function notAnEvent(value: unknown): string | undefined {
  if (!isObject(value)) return 'not an object';
  const { type, event_id, ts, garrison_id, payload } = value;
  if (typeof type !== 'string') return 'no type';
  if (eventType(type) !== type) return `unknown type ${type.slice(0, 100)}`;
  if (!isId(event_id)) return 'no event_id';
  if (typeof ts !== 'string' || Number.isNaN(Date.parse(ts))) return 'no ts';
  if (!isId(garrison_id)) return 'no garrison_id';
  for (const name of ['theater_id', 'run_id', 'order_id', 'unit_id']) {
    if (value[name] !== null && !isId(value[name])) return `${name} is neither an id nor null`;
  }
  return isObject(payload) ? undefined : 'no payload';
}

function misplaced(event: AnyEvent, subject: string): string | undefined {
  return isAt(event, subject) ? undefined : 'its ids are not those of its subject';
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * Is `stored` the same fact as `sent`? What the caller did not give is not compared: its `ts` may
 * have been made by the server.
 */
export function sameFact(stored: AnyEvent, sent: AnyEvent, tsGiven: boolean): boolean {
  return (
    stored.type === sent.type &&
    stored.garrison_id === sent.garrison_id &&
    stored.theater_id === sent.theater_id &&
    stored.run_id === sent.run_id &&
    stored.order_id === sent.order_id &&
    stored.unit_id === sent.unit_id &&
    (!tsGiven || isSameInstant(stored.ts, sent.ts)) &&
    // As it would be stored: without what is undefined, -0 as 0.
    isDeepStrictEqual(stored.payload, JSON.parse(JSON.stringify(sent.payload)))
  );
}

function isSameInstant(a: string, b: string): boolean {
  return Date.parse(a) === Date.parse(b) && belowMs(a) === belowMs(b);
}

/** The digits of a timestamp that a Date drops. */
function belowMs(ts: string): string {
  return /\.\d{3}(\d*?)0*Z$/.exec(ts)?.[1] ?? '';
}
