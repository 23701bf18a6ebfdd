import type { Decode } from '#libs/eventlog';

/** An event of envelope 3.0.0 as far as the views look into it. */
export type MissionEvent = {
  seq: number;
  event_id: string;
  event_type: string;
  lamport_clock: number;
  timestamp: string;
  project_uuid: string | undefined;
  payload: Readonly<Record<string, unknown>>;
};

const decoder = new TextDecoder('utf-8', { fatal: true });

/** Reads a message of MISSIONS. What is kept there was checked; this finds what others put there. */
export const decodeMission: Decode<MissionEvent> = (data, seq) => {
  let value: unknown;
  try {
    value = JSON.parse(decoder.decode(data));
  } catch (error) {
    return { ok: false, reason: `not JSON: ${(error as Error).message}` };
  }
  if (!isObject(value)) return { ok: false, reason: 'not an object' };
  const { event_id, event_type, payload, lamport_clock, timestamp, project_uuid } = value;
  if (typeof event_id !== 'string') return { ok: false, reason: 'no event_id' };
  if (typeof event_type !== 'string') return { ok: false, reason: 'no event_type' };
  if (!isObject(payload)) return { ok: false, reason: 'no payload' };
  const clock = Number.isSafeInteger(lamport_clock) ? Number(lamport_clock) : 0;
  return {
    ok: true,
    event: {
      seq,
      event_id,
      event_type,
      lamport_clock: clock,
      timestamp: typeof timestamp === 'string' ? timestamp : '',
      project_uuid: typeof project_uuid === 'string' ? project_uuid.toLowerCase() : undefined,
      payload,
    },
  };
};

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
