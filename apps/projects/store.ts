import { setTimeout as sleep } from 'node:timers/promises';
import { type Broker, publishAllAt, putObject, readLast } from '#libs/broker';
import { AppError, LIMITS, type ProjectEvent, type StoredProjectEvent } from '#libs/contracts';
import { projectSubject, readStream } from '#libs/eventlog';
import {
  checkRevision,
  type DecisionWarning,
  documentOf,
  evolveProject,
  foldProject,
  type ProjectDecision,
  type ProjectState,
  type StoredDocument,
} from '#libs/projects';
import { createRecent } from '#libs/projections';
import { loadDocument, PROJECT_STREAM } from './events.ts';

/** What a command did. */
export type Commanded = {
  /** After it; undefined only where there is no project. */
  state: ProjectState;
  events: readonly ProjectEvent[];
  warnings: readonly DecisionWarning[];
};

export type ProjectStore = {
  /**
   * The project as it stands; undefined: there is none.
   * @param minSeq an event known to be in it; a replica that has not got that far is asked again
   */
  load(id: string, minSeq?: number): Promise<ProjectState | undefined>;
  /** As `load`. @throws {PROJECT_NOT_FOUND} */
  demand(id: string): Promise<ProjectState>;
  /**
   * Decides on the project as it stands and appends, all or nothing, on condition that nothing was
   * written to it since; if something was, it decides anew.
   * @param expected the revision that the writer has read (If-Match)
   * @param decide pure; may run several times
   * @throws the error of a refused decision · {VERSION_CONFLICT} `details.actual` is the revision ·
   *   {DEPENDENCY_UNAVAILABLE} not known to be stored
   */
  command(
    id: string,
    expected: number | undefined,
    decide: (state: ProjectState | undefined) => ProjectDecision,
  ): Promise<Commanded>;
  /** All events from a sequence on, oldest first, a page at a time; documents are not loaded. */
  events(id: string, fromSeq?: number): AsyncGenerator<StoredProjectEvent[]>;
};

/** A state, how far its subject was read, and what it weighs in memory. */
type Entry = { state: ProjectState | undefined; lastSeq: number; weight: number };

const TRIES = 50;
const WAIT_MS_MAX = 40;
const STALE_RETRIES = 40;
const STALE_WAIT_MS = 25;
/** Characters of the documents that are held; twice this at most. */
const HELD_CHARS = 32_000_000;
const WEIGHT_MAX = 8_000_000;
/** What a state weighs beside its document. */
const WEIGHT_MIN = 2_000;

/**
 * Projects by folding their events: from memory, else from the view's snapshot, so a command costs
 * the same however long the history is.
 */
export function createProjectStore(
  broker: Broker,
  snapshot: (id: string) => { state: ProjectState; weight: number } | undefined,
): ProjectStore {
  const shelf = createShelf(broker, snapshot);

  /** One try; undefined: others were faster. */
  const attempt = async (
    id: string,
    entry: Entry,
    decision: ProjectDecision,
  ): Promise<Commanded | undefined> => {
    if (!decision.ok) throw decision.error;
    const { events, documents, warnings, expect } = decision;
    if (events.length === 0 && entry.state !== undefined) {
      return { state: entry.state, events, warnings };
    }
    if (events.length > LIMITS.batchEvents) {
      const limit = LIMITS.batchEvents;
      throw new AppError('PAYLOAD_TOO_LARGE', { what: 'number of changes', limit });
    }
    // The bytes come first: what an event names can be read.
    for (const { text } of documents) await putObject(broker, Buffer.from(text));
    const version = expect === null ? undefined : entry.lastSeq;
    const seq = await publishAllAt(broker, projectSubject(id), events.map(encode), version);
    if (seq === undefined) return undefined;
    const stored = events.map((event, i) => ({ ...event, seq: seq - events.length + 1 + i }));
    const after = entryAfter(entry, stored, documents);
    // Of agents' events, others may lie between: only what was conditional goes on from `entry`.
    if (expect !== null) shelf.keep(id, after);
    return { state: after.state, events, warnings };
  };

  const store: ProjectStore = {
    load: async (id, minSeq = 0) => (await shelf.load(id, minSeq)).state,
    async demand(id) {
      const state = await store.load(id);
      if (state !== undefined) return state;
      throw new AppError('PROJECT_NOT_FOUND', { id });
    },
    async command(id, expected, decide) {
      let known = 0;
      for (let round = 1; ; round += 1) {
        const entry = await shelf.load(id, known);
        const moved = entry.state && checkRevision(entry.state, expected);
        if (moved !== undefined) throw moved;
        const done = await attempt(id, entry, decide(entry.state));
        if (done !== undefined) return done;
        if (round === TRIES) throw conflict(id, entry.state);
        known = (await readLast(broker, PROJECT_STREAM.stream, projectSubject(id)))?.seq ?? 0;
        await sleep(Math.random() * WAIT_MS_MAX);
      }
    },
    async *events(id, fromSeq = 1) {
      const pages = readStream(broker, PROJECT_STREAM, projectSubject(id), fromSeq);
      for await (const { events } of pages) if (events.length > 0) yield events;
    },
  };
  return store;
}

/** The states that are held, each brought up to date when it is asked for. */
function createShelf(
  broker: Broker,
  snapshot: (id: string) => { state: ProjectState; weight: number } | undefined,
) {
  const held = createRecent<string, Entry>(HELD_CHARS);

  const start = (id: string): Entry => {
    const entry = held.get(id);
    if (entry !== undefined) return entry;
    const known = snapshot(id);
    if (known === undefined) return { state: undefined, lastSeq: 0, weight: WEIGHT_MIN };
    return { ...known, lastSeq: known.state.seq };
  };

  const keep = (id: string, entry: Entry): void => {
    // Two loads at once may both have read; the one that got further stays.
    if ((held.get(id)?.lastSeq ?? 0) > entry.lastSeq) return;
    // A project that is not there is not kept: any id may be asked for.
    if (entry.state !== undefined) held.set(id, entry, Math.min(entry.weight, WEIGHT_MAX));
  };

  const refresh = async (id: string): Promise<Entry> => {
    const from = start(id);
    let { state, lastSeq, weight } = from;
    const pages = readStream(broker, PROJECT_STREAM, projectSubject(id), lastSeq + 1);
    for await (const page of pages) {
      for (const event of page.events) {
        const ref = documentOf(event);
        const document = ref && (await loadDocument(broker, ref));
        state = evolveProject(state, event, () => document);
        if (ref !== undefined) weight = WEIGHT_MIN + ref.bytes;
      }
      lastSeq = page.lastSeq;
    }
    const entry = { state, lastSeq, weight };
    if (lastSeq !== from.lastSeq || held.get(id) === undefined) keep(id, entry);
    return entry;
  };

  const load = async (id: string, minSeq: number): Promise<Entry> => {
    for (let round = 0; ; round += 1) {
      const entry = await refresh(id);
      if (entry.lastSeq >= minSeq) return entry;
      if (round === STALE_RETRIES) {
        const reason = `its replicas are behind sequence ${minSeq}`;
        throw new AppError('DEPENDENCY_UNAVAILABLE', { dependency: 'The broker', reason });
      }
      await sleep(STALE_WAIT_MS);
    }
  };
  return { load, keep };
}

/** A state with what was just stored. */
function entryAfter(
  { state, weight }: Entry,
  stored: readonly StoredProjectEvent[],
  documents: readonly StoredDocument[],
): Entry & { state: ProjectState } {
  const byDigest = new Map(documents.map(({ ref, text }) => [ref.sha256, text]));
  const documentFor = ({ sha256 }: { sha256: string }): unknown =>
    JSON.parse(byDigest.get(sha256) ?? 'null');
  const next = foldProject(stored, documentFor, state);
  if (next === undefined) throw new Error('there is no project after a command');
  const bytes = documents.reduce((sum, { ref }) => sum + ref.bytes, 0);
  const heavy = bytes > 0 ? WEIGHT_MIN + bytes : weight;
  return { state: next, lastSeq: next.seq, weight: heavy };
}

function encode(event: ProjectEvent): Uint8Array {
  return Buffer.from(JSON.stringify(event));
}

function conflict(id: string, state: ProjectState | undefined): AppError {
  const actual = state?.revision ?? 0;
  const params = { subject: id, actual, expected: actual };
  return new AppError('VERSION_CONFLICT', params, { details: { actual } });
}
