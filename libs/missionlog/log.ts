import { setTimeout as sleep } from 'node:timers/promises';
import type { Broker } from '#libs/broker';
import { AppError, LIMITS, type MissionEnvelope, normaliseEventId } from '#libs/contracts';
import {
  type Decided,
  type Emitter,
  fold,
  type Gate,
  type GateContext,
  importRows,
  type MissionIdentity,
  type MissionState,
  readEnvelope,
  type Result,
  type StatusRow,
  sortRows,
  toEnvelopes,
} from '#libs/missions';
import { monotonicFactory } from 'ulid';
import { createPublisher, readMessages } from '../eventlog/internal.ts';
import type { ClockStore } from './clock-store.ts';
import { commit } from './commit.ts';
import {
  createLoader,
  decodeMissionEvent,
  type LoadedMission,
  type StoredMissionEvent,
} from './load.ts';
import { type Recorded, recordEvents } from './record.ts';
import { MISSION_STREAM, missionSubject } from './subjects.ts';

export type MissionLogOptions = {
  broker: Broker;
  gate: Gate;
  emitter: Emitter;
  clock: ClockStore;
  /** Default: the wall clock. */
  now?: () => Date;
  /** Default: a monotonic ULID factory. */
  newId?: () => string;
};

/** What a decision led to: its answer, the events it stored (none: nothing to do), the state after. */
export type Committed<A> = {
  answer: A;
  events: readonly MissionEnvelope[];
  state: MissionState;
};

/** What a new event of a mission may carry so that it comes after all that the mission has. */
export type Next = {
  lamport: number;
  /** ISO 8601. */
  timestamp: string;
  /** Sequence of the mission's last event, 0 if there is none. */
  version: number;
};

/** The one door through which facts of missions are read and written. */
export type MissionLog = {
  readonly emitter: Emitter;
  /** The mission as the stream's leader has it, and what in its stream the contract refuses. */
  load(slug: string): Promise<LoadedMission>;
  /** The stored events of a mission in the order of the stream, from a sequence on. */
  events(slug: string, fromSeq?: number): AsyncGenerator<StoredMissionEvent>;
  /**
   * Decides against the mission's current state and appends on condition; where the mission has
   * moved on, it is decided again. Of n that claim one work package one wins.
   * @throws {CONTRACT_VIOLATION | PAYLOAD_TOO_LARGE | DEPENDENCY_UNAVAILABLE} see `commit`
   */
  decide<A>(
    identity: MissionIdentity,
    decide: (state: MissionState) => Result<Decided<A>>,
    cause?: { causationId?: string | null; correlationId?: string },
  ): Promise<Result<Committed<A>>>;
  /**
   * Tells of something in envelopes of the caller's making, on the condition that the mission is
   * still the one that they were made for; else they are made again. None made: nothing to tell.
   * @returns what was stored, and a sequence from which views have the outcome
   */
  tell(
    place: { project_uuid: string; mission_slug: string },
    make: (state: MissionState, next: Next) => readonly unknown[],
  ): Promise<{ events: readonly MissionEnvelope[]; state: MissionState; seq: number }>;
  /**
   * Stores events from elsewhere, each id once for ever; one answer for each, in their order. An
   * id that is there with other content is rejected.
   */
  record(values: readonly unknown[], context: GateContext): Promise<Recorded[]>;
  /** Takes over the transitions of an existing status.events.jsonl, each id once; how many were new. */
  importLog(identity: MissionIdentity, rows: readonly StatusRow[]): Promise<number>;
  close(): void;
};

/** Every lost round means that another writer has won one, so this bounds writers, not time. */
const ROUNDS_MAX = 500;
const ROUND_MS_MAX = 20;

export function openMissionLog(options: MissionLogOptions): MissionLog {
  const { broker, gate, emitter, clock } = options;
  const now = options.now ?? (() => new Date());
  const factory = monotonicFactory();
  const newId = options.newId ?? (() => factory());
  const publisher = createPublisher(broker, MISSION_STREAM);
  const context = { broker, publisher, gate, newBatchId: () => factory() };
  const load = createLoader(broker, gate);

  /** Makes events of a state until they are stored; none made ends it. */
  const store: Store = async (subject, make) => {
    let unsure: readonly MissionEnvelope[] = [];
    for (let round = 1; round <= ROUNDS_MAX; round += 1) {
      const { state, version } = await load(subject, 'leader');
      // A try of ours whose ack was lost may be what moved the mission on.
      if (unsure.length > 0 && unsure.every(({ event_id }) => state.ids.has(event_id))) {
        return { events: unsure, state, seq: version };
      }
      const made = await make(state, version);
      const sent = made.filter(({ event_id }) => !state.ids.has(event_id));
      if (sent.length === 0) return { events: [], state, seq: version };
      const outcome = await commit(context, subject, sent, version);
      unsure = outcome.kind === 'unsure' ? sent : [];
      if (outcome.kind === 'stored') {
        await clock.emitted(Math.max(...sent.map(({ lamport_clock }) => lamport_clock)));
        // Nothing came in between: that was the condition.
        return { events: sent, state: fold(state, sent), seq: outcome.seq };
      }
      await sleep(Math.min(ROUND_MS_MAX, round));
    }
    throw new AppError('TIMEOUT', { what: `Appending to ${subject}`, limit_ms: ROUNDS_MAX });
  };

  return {
    emitter,
    load: (slug) => load(missionSubject(emitter.projectUuid, slug), 'leader'),
    events: (slug, fromSeq = 1) =>
      readStored(broker, gate, missionSubject(emitter.projectUuid, slug), fromSeq),
    decide: decideBy(options, now, newId, store),
    tell: tellBy(options, now, store),
    record: (values, at) => recordEvents(values, at, { broker, gate, clock, emitter, store }),
    importLog: async (identity, rows) => {
      const subject = missionSubject(emitter.projectUuid, identity.mission_slug);
      let imported = 0;
      for (const part of chunks(sortRows(rows), LIMITS.batchEvents)) {
        const { events } = await store(subject, async (state) =>
          importedEvents(part, state, identity, emitter).map((event) =>
            readEnvelope(gate, 'replay', event),
          ),
        );
        imported += events.length;
      }
      return imported;
    },
    close: () => publisher.close(),
  };
}

type Store = (
  subject: string,
  make: (state: MissionState, version: number) => Promise<readonly MissionEnvelope[]>,
) => Promise<{ events: readonly MissionEnvelope[]; state: MissionState; seq: number }>;

function decideBy(
  { clock, gate, emitter }: MissionLogOptions,
  now: () => Date,
  newId: () => string,
  store: Store,
): MissionLog['decide'] {
  return async (identity, decideOn, cause = {}) => {
    const subject = missionSubject(emitter.projectUuid, identity.mission_slug);
    const stored: MissionEnvelope[] = [];
    let first: ReturnType<typeof decideOn> | undefined;
    for (;;) {
      let decision: ReturnType<typeof decideOn> | undefined;
      let isWhole = true;
      const { events, state } = await store(subject, async (current) => {
        decision = decideOn(current);
        isWhole = true;
        if (!decision.ok) return [];
        const { events: drafts, inParts } = decision.value;
        const part = inParts ? firstPart(drafts) : drafts;
        isWhole = part.length === drafts.length;
        const lamport = Math.max(current.lamport, await clock.value());
        const times = { nowMs: now().getTime(), afterMs: current.lastMs };
        const stamp = { newId, lamport, ...times, ...causeOf(stored[0]), ...cause };
        const made = toEnvelopes(part, identity, emitter, stamp);
        return made.map((event) => readEnvelope(gate, 'emit', event));
      });
      if (decision === undefined) throw new Error('nothing was decided');
      if (!decision.ok) return decision;
      first ??= decision;
      stored.push(...events);
      if (!isWhole) continue;
      const { answer } = first.ok ? first.value : decision.value;
      return { ok: true, value: { answer, events: stored, state } };
    }
  };
}

/** Later parts of a decision belong to its first event, as the rest of the first part does. */
function causeOf(event: MissionEnvelope | undefined) {
  if (event === undefined) return {};
  const { event_id: causationId, correlation_id } = event;
  return { causationId, correlationId: correlation_id ?? causationId };
}

/** What one commit holds. An event and what follows from it for other work packages stay together. */
function firstPart<D extends { type: string }>(drafts: readonly D[]): readonly D[] {
  if (drafts.length <= LIMITS.batchEvents) return drafts;
  let end = LIMITS.batchEvents;
  while (end > 1 && drafts[end]?.type === 'DependencyResolved') end -= 1;
  return drafts.slice(0, end);
}

function tellBy(
  { clock, gate }: MissionLogOptions,
  now: () => Date,
  store: Store,
): MissionLog['tell'] {
  return ({ project_uuid, mission_slug }, make) =>
    store(missionSubject(project_uuid, mission_slug), async (state, version) => {
      const lamport = Math.max(state.lamport, await clock.value()) + 1;
      const timestamp = new Date(Math.max(now().getTime(), state.lastMs + 1)).toISOString();
      const made = make(state, { lamport, timestamp, version });
      return made.map((event) => readEnvelope(gate, 'emit', event));
    });
}

async function* readStored(
  broker: Broker,
  gate: Gate,
  subject: string,
  fromSeq: number,
): AsyncGenerator<StoredMissionEvent> {
  const start = { seq: Math.max(1, fromSeq) };
  for await (const page of readMessages(broker, MISSION_STREAM, subject, start)) {
    for (const { seq, data } of page) {
      const read = decodeMissionEvent(gate, 'consume', data, subject);
      if (read.ok) yield { seq, event: read.event };
    }
  }
}

function importedEvents(
  rows: readonly StatusRow[],
  state: MissionState,
  identity: MissionIdentity,
  emitter: Emitter,
): MissionEnvelope[] {
  return importRows(rows, state, normaliseEventId).flatMap(({ draft, eventId, at, lamport }) => {
    const stamp = { newId: () => eventId, nowMs: Date.parse(at), lamport: lamport - 1, afterMs: 0 };
    // The row's own time, also where it repeats that of the row before.
    return toEnvelopes([draft], identity, emitter, stamp);
  });
}

function chunks<T>(items: readonly T[], size: number): T[][] {
  const parts: T[][] = [];
  for (let at = 0; at < items.length; at += size) parts.push(items.slice(at, at + size));
  return parts;
}
