import { isDeepStrictEqual } from 'node:util';
import { type AnyEvent, AppError, eventType, LIMITS, type StoredEvent } from '#libs/contracts';
import { isAt } from './subjects.ts';

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { fatal: true });

/** The bytes of an event as they are stored. @throws {PAYLOAD_TOO_LARGE} over LIMITS.eventBytes */
export function encodeEvent(event: AnyEvent): Uint8Array {
  const bytes = encoder.encode(JSON.stringify(event));
  if (bytes.length > LIMITS.eventBytes) {
    throw new AppError(
      'PAYLOAD_TOO_LARGE',
      { what: 'event', limit: LIMITS.eventBytes },
      { field: 'payload' },
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
  const event = value as AnyEvent & { seq: number };
  if (typeof value !== 'object' || value === null) return { ok: false, reason: 'not an object' };
  if (typeof event.type !== 'string' || eventType(event.type) !== event.type) {
    return { ok: false, reason: `unknown type ${String(event.type).slice(0, 100)}` };
  }
  if (typeof event.event_id !== 'string' || typeof event.ts !== 'string') {
    return { ok: false, reason: 'no event_id or ts' };
  }
  if (typeof event.payload !== 'object' || event.payload === null) {
    return { ok: false, reason: 'no payload' };
  }
  try {
    if (!isAt(event, subject)) return { ok: false, reason: 'its ids are not those of its subject' };
  } catch (error) {
    return { ok: false, reason: (error as Error).message };
  }
  event.seq = seq;
  return { ok: true, event };
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
    (!tsGiven || Date.parse(stored.ts) === Date.parse(sent.ts)) &&
    isDeepStrictEqual(stored.payload, JSON.parse(JSON.stringify(sent.payload)))
  );
}
