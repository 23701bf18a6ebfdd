import { isDeepStrictEqual } from 'node:util';
import type { Broker } from '#libs/broker';
import { isAppError, LIMITS, type MissionEnvelope, missionSlug } from '#libs/contracts';
import { type Emitter, type Gate, type GateContext, readEnvelope } from '#libs/missions';
import { readMessages } from '../eventlog/internal.ts';
import type { ClockStore } from './clock-store.ts';
import { decodeMissionEvent } from './load.ts';
import { MISSION_STREAM, missionSubject } from './subjects.ts';

export type Recorded = {
  event_id: string | null;
  status: 'success' | 'duplicate' | 'rejected';
  /** Of a rejected one: the offending field and why. */
  field?: string;
  error_message?: string;
};

export type RecordBy = {
  broker: Broker;
  gate: Gate;
  clock: ClockStore;
  emitter: Emitter;
  /** Appends what the mission does not have yet; answers what that was. */
  store: (
    subject: string,
    make: () => Promise<readonly MissionEnvelope[]>,
  ) => Promise<{ events: readonly MissionEnvelope[] }>;
};

/** An event and where it stood in the request. */
type Item = { at: number; event: MissionEnvelope };

/** Stores events from elsewhere, each id once for ever; one answer for each, in their order. */
export async function recordEvents(
  values: readonly unknown[],
  context: GateContext,
  by: RecordBy,
): Promise<Recorded[]> {
  const answers: Recorded[] = [];
  const bySubject = new Map<string, Map<string, Item>>();
  const repeated: { of: string; item: Item }[] = [];
  for (const [at, value] of values.entries()) {
    const read = tryRead(by.gate, context, value);
    if ('status' in read) {
      answers[at] = read;
      continue;
    }
    const subject = subjectOf(read, by.emitter);
    const items = bySubject.get(subject) ?? new Map<string, Item>();
    bySubject.set(subject, items);
    const item = { at, event: read };
    if (items.has(read.event_id)) repeated.push({ of: subject, item });
    else items.set(read.event_id, item);
  }
  for (const [subject, items] of bySubject) {
    const kept = await recordMission(subject, [...items.values()], answers, by);
    for (const { item, of } of repeated) {
      const stored = of === subject ? kept.get(item.event.event_id) : undefined;
      if (stored !== undefined) answers[item.at] = compared(item.event, stored);
    }
  }
  return answers;
}

/** @returns what is stored under each id */
async function recordMission(
  subject: string,
  items: readonly Item[],
  answers: Recorded[],
  { broker, gate, clock, store }: RecordBy,
): Promise<Map<string, MissionEnvelope>> {
  const known = new Map<string, Item>();
  const kept = new Map<string, MissionEnvelope>(items.map(({ event }) => [event.event_id, event]));
  for (let from = 0; from < items.length; from += LIMITS.batchEvents) {
    const part = items.slice(from, from + LIMITS.batchEvents);
    const { events } = await store(subject, async () => part.map(({ event }) => event));
    const stored = new Set(events.map(({ event_id }) => event_id));
    for (const item of part) {
      const { event_id } = item.event;
      if (stored.has(event_id)) answers[item.at] = { event_id, status: 'success' };
      else known.set(event_id, item);
    }
  }
  await clock.received(Math.max(...items.map(({ event }) => event.lamport_clock)));
  for await (const { item, other } of storedTwins(broker, gate, subject, known)) {
    kept.set(other.event_id, other);
    answers[item.at] = compared(item.event, other);
  }
  return kept;
}

/** What is stored under the ids of `known`; it reads no further than it must. */
async function* storedTwins(
  broker: Broker,
  gate: Gate,
  subject: string,
  known: Map<string, Item>,
): AsyncGenerator<{ item: Item; other: MissionEnvelope }> {
  if (known.size === 0) return;
  for await (const page of readMessages(broker, MISSION_STREAM, subject, { seq: 1 })) {
    for (const { data } of page) {
      const read = decodeMissionEvent(gate, 'consume', data, subject);
      const item = read.ok ? known.get(read.event.event_id) : undefined;
      if (!read.ok || item === undefined) continue;
      known.delete(read.event.event_id);
      yield { item, other: read.event };
    }
    if (known.size === 0) return;
  }
  throw new Error(`${known.size} events are neither stored nor new`);
}

function subjectOf(event: MissionEnvelope, emitter: Emitter): string {
  const { mission_slug: slug } = event.payload;
  const project = event.project_uuid ?? emitter.projectUuid;
  return missionSubject(project, typeof slug === 'string' ? slug : '_');
}

/** The answer to an event whose id is there already. Compared as they are on the wire. */
function compared(event: MissionEnvelope, stored: MissionEnvelope): Recorded {
  const { event_id } = event;
  const [a, b] = [event, stored].map((one): unknown => JSON.parse(JSON.stringify(one)));
  if (isDeepStrictEqual(a, b)) return { event_id, status: 'duplicate' };
  const error_message = `event_id ${event_id} is already stored with other content`;
  return { event_id, status: 'rejected', field: 'event_id', error_message };
}

function tryRead(gate: Gate, context: GateContext, value: unknown): MissionEnvelope | Recorded {
  const given = (value as { event_id?: unknown } | null)?.event_id;
  const event_id = typeof given === 'string' ? given.slice(0, 128) : null;
  const rejected = (field: string, error_message: string): Recorded => ({
    event_id,
    status: 'rejected',
    field,
    error_message,
  });
  try {
    const event = readEnvelope(gate, context, value);
    const { mission_slug: slug } = event.payload;
    const named = missionSlug.optional().safeParse(slug);
    if (!named.success) {
      const reason = `payload.mission_slug: ${named.error.issues[0]?.message}`;
      return rejected('payload.mission_slug', reason);
    }
    // Only JSON has a length on the wire, so it is written once more.
    if (Buffer.byteLength(JSON.stringify(event)) > LIMITS.eventBytes) {
      return rejected(
        'payload',
        `with its payload the event has more than ${LIMITS.eventBytes} bytes`,
      );
    }
    return event;
  } catch (error) {
    if (!isAppError(error, 'CONTRACT_VIOLATION')) throw error;
    return rejected(error.field ?? 'event', error.message);
  }
}
