import type { Broker } from '#libs/broker';
import {
  type AnyEvent,
  type EventDefaults,
  type ParsedEvent,
  type StoredEvent,
} from '#libs/contracts';
import { monotonicFactory, ulid } from 'ulid';
import {
  type AppendContext,
  type AppendOptions,
  type Appended,
  append,
  findInAggregate,
  sameOrConflict,
} from './append.ts';
import { type BatchEntry, publishBatch } from './batch.ts';
import { createPublisher } from './publisher.ts';

/** Finds stored events by id, for ids older than the broker's own memory of them. */
export type EventIndex = {
  findById(eventId: string): StoredEvent | undefined;
  /** Resolves when the index knows everything that was stored before the call. @throws {VIEW_BEHIND} */
  catchUp(): Promise<void>;
  /** How long ago the index was last level with the stream, in ms. */
  behindMs(): number;
};

export type EventLog = {
  readonly broker: Broker;
  readonly garrisonId: string;
  /** What fills in for a caller who leaves out event_id, ts or garrison_id. */
  readonly defaults: EventDefaults;
  /** See `append`. */
  append(event: AnyEvent, options?: AppendOptions): Promise<Appended>;
  /** All or none, see `publishBatch`; entries whose id is stored already count as appended. */
  appendBatch(entries: readonly BatchEntry[]): Promise<Appended[]>;
  /** Appends an event from outside: an id that the caller chose is looked up in the index first. */
  record(parsed: ParsedEvent): Promise<Appended>;
  recordBatch(parsed: readonly ParsedEvent[]): Promise<Appended[]>;
  close(): void;
};

export type EventLogOptions = {
  broker: Broker;
  garrisonId: string;
  index?: EventIndex;
  /** Default: the wall clock. */
  now?: () => Date;
  /** Default: a monotonic ULID factory. */
  newId?: () => string;
};

/**
 * The broker remembers ids for 2 minutes (streams/declaration.ts); an index that was level with the
 * stream less than this ago leaves no gap between the two memories.
 */
const INDEX_BEHIND_MS_MAX = 60_000;
const DUPLICATE_ROUNDS = 5;

/** Opens the one door through which facts are written. */
export function openEventLog(options: EventLogOptions): EventLog {
  const { broker, garrisonId, index } = options;
  const factory = monotonicFactory();
  const newId = options.newId ?? (() => factory());
  const defaults = { garrisonId, newId, now: options.now ?? (() => new Date()) };
  const publisher = createPublisher(broker.nc);
  const context: AppendContext = { broker, publisher };

  const freshIndex = async (): Promise<EventIndex | undefined> => {
    if (index !== undefined && index.behindMs() > INDEX_BEHIND_MS_MAX) await index.catchUp();
    return index;
  };

  const appendBatch = async (entries: readonly BatchEntry[]): Promise<Appended[]> => {
    const done = new Map<string, Appended>();
    for (let round = 0; ; round += 1) {
      const open = entries.filter(({ event }) => !done.has(event.event_id));
      if (open.length === 0) break;
      const outcome = await publishBatch(context, open, { newBatchId: ulid });
      if (outcome.kind === 'stored') {
        for (const result of outcome.events) done.set(result.event_id, result);
        break;
      }
      if (round === DUPLICATE_ROUNDS)
        throw new Error('the broker refuses ids that nobody can find');
      await index?.catchUp();
      for (const entry of open) {
        const stored = index?.findById(entry.event.event_id) ?? (await locate(broker, entry));
        if (stored === undefined) continue;
        done.set(stored.event_id, sameOrConflict(stored, entry.event, entry.tsGiven ?? true));
      }
    }
    return entries.map(({ event }) => done.get(event.event_id) as Appended);
  };

  return {
    broker,
    garrisonId,
    defaults,
    append: (event, appendOptions) => append(context, event, appendOptions),
    appendBatch,
    record: async ({ event, idGiven, tsGiven }) => {
      if (idGiven) {
        const stored = (await freshIndex())?.findById(event.event_id);
        if (stored !== undefined) return sameOrConflict(stored, event, tsGiven);
      }
      return append(context, event, { tsGiven });
    },
    recordBatch: async (parsed) => {
      if (parsed.length === 0) return [];
      const known = parsed.some(({ idGiven }) => idGiven) ? await freshIndex() : undefined;
      const results = new Map<string, Appended>();
      for (const { event, idGiven, tsGiven } of parsed) {
        const stored = idGiven ? known?.findById(event.event_id) : undefined;
        if (stored !== undefined)
          results.set(event.event_id, sameOrConflict(stored, event, tsGiven));
      }
      const fresh = parsed.filter(({ event }) => !results.has(event.event_id));
      for (const result of fresh.length === 0 ? [] : await appendBatch(fresh)) {
        results.set(result.event_id, result);
      }
      return parsed.map(({ event }) => results.get(event.event_id) as Appended);
    },
    close: () => publisher.close(),
  };
}

/** Without an index: look in the aggregate, after the version that the entry expects. */
function locate(broker: Broker, { event, expect }: BatchEntry): Promise<StoredEvent | undefined> {
  return findInAggregate(broker, event, typeof expect === 'number' ? expect : 0);
}
