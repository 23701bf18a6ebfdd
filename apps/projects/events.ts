import { getObject, type Broker } from '#libs/broker';
import {
  isAppError,
  LIMITS,
  type ObjectRef,
  parseProjectEvent,
  type StoredProjectEvent,
} from '#libs/contracts';
import { type Decode, followStream, projectSubject } from '#libs/eventlog';
import { documentOf } from '#libs/projects';
import type { EventBatch, Followed } from '#libs/projections';
import { followFacts } from '#libs/runtime';
import { PROJECTS } from '#streams';

const decoder = new TextDecoder('utf-8', { fatal: true });

/** Reads a message of PROJECTS. What we keep was checked; this finds what other hands put there. */
export const decodeProject: Decode<StoredProjectEvent> = (data, seq, subject) => {
  try {
    const event = parseProjectEvent(JSON.parse(decoder.decode(data)));
    if (projectSubject(event.project_id) !== subject) {
      return { ok: false, reason: 'its project is not that of its subject' };
    }
    return { ok: true, event: { ...event, seq } };
  } catch (error) {
    return { ok: false, reason: error instanceof Error ? error.message : String(error) };
  }
};

export const PROJECT_STREAM = { stream: PROJECTS.name, decode: decodeProject };

/**
 * The document that an event names.
 * @throws {Error} it is not there, or is none: the stream names only what was stored before
 */
export async function loadDocument(broker: Broker, ref: ObjectRef): Promise<unknown> {
  const data = await getObject(broker, ref.sha256, { maxBytes: STORED_BYTES });
  if (data === null) throw new Error(`document ${ref.sha256} is not there`);
  return JSON.parse(decoder.decode(data));
}

/** A canonical document may be larger than the text it was read from: its defaults are written out. */
const STORED_BYTES = 4 * LIMITS.projectBytes;

/** An event as the view gets it: with the document it names, which is loaded before. */
export type ProjectRecord = {
  seq: number;
  event_id: string;
  event: StoredProjectEvent;
  /** Undefined: it names none, or it is not there. */
  document: unknown;
};

/** Documents that are held in memory at once. */
const HELD_BYTES = 16 * 1024 * 1024;

/** The stream of projects, for a projection to follow. */
export function followProjects(broker: Broker): Followed<ProjectRecord> {
  const facts = { stream: PROJECTS.name, decode: asRecord };
  const { tail, streamId } = followFacts(broker, facts);
  return {
    tail,
    streamId,
    source: async function* source(fromSeq, signal) {
      for await (const batch of followStream(broker, facts, { fromSeq, signal }))
        yield* loaded(broker, batch);
    },
  };
}

const asRecord: Decode<ProjectRecord> = (data, seq, subject) => {
  const decoded = decodeProject(data, seq, subject);
  if (!decoded.ok) return decoded;
  const { event } = decoded;
  return { ok: true, event: { seq, event_id: event.hash, event, document: undefined } };
};

/** The same batch with its documents, cut into several where they are large. */
async function* loaded(
  broker: Broker,
  batch: EventBatch<ProjectRecord>,
): AsyncGenerator<EventBatch<ProjectRecord>> {
  const { pending, lastSeq } = batch;
  let events: ProjectRecord[] = [];
  let bytes = 0;
  let told = 0;
  const poisonUpTo = (seq: number) =>
    batch.poison.filter((one) => one.seq > told && one.seq <= seq);
  for (const record of batch.events) {
    const ref = documentOf(record.event);
    const last = events.at(-1)?.seq;
    if (ref !== undefined && last !== undefined && bytes + ref.bytes > HELD_BYTES) {
      yield { events, poison: poisonUpTo(last), lastSeq: last, pending: pending + 1 };
      told = last;
      events = [];
      bytes = 0;
    }
    bytes += ref?.bytes ?? 0;
    events.push(ref === undefined ? record : { ...record, document: await found(broker, ref) });
  }
  yield { events, poison: poisonUpTo(lastSeq), lastSeq, pending };
}

/** Undefined where it is damaged or gone: the view then sets its event aside and lists it. */
async function found(broker: Broker, ref: ObjectRef): Promise<unknown> {
  try {
    return await loadDocument(broker, ref);
  } catch (error) {
    // What waiting mends is tried again by who follows.
    if (isAppError(error, 'DEPENDENCY_UNAVAILABLE')) throw error;
    return undefined;
  }
}
