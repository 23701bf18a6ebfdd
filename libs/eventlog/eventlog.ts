import type { Broker } from '#libs/broker';
import type { AnyEvent, EventDefaults, ParsedEvent, StoredEvent } from '#libs/contracts';
import { monotonicFactory } from 'ulid';
import {
  type AppendContext,
  type AppendOptions,
  type Appended,
  append,
  sameOrConflict,
} from './append.ts';
import { appendBatch, type BatchEntry } from './batch.ts';
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
  /** All or none; see `appendBatch`. */
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
  /**
   * How far the index may be behind before a look-up waits for it. Default 60 000 ms: the broker
   * itself remembers ids for 2 minutes (streams/declaration.ts), so between its memory and the
   * index there is no gap. Keep it well below the stream's duplicate window.
   */
  indexBehindMsMax?: number;
};

const INDEX_BEHIND_MS_MAX = 60_000;

/** Opens the one door through which facts are written. */
export function openEventLog(options: EventLogOptions): EventLog {
  const { broker, garrisonId, index } = options;
  const behindMsMax = options.indexBehindMsMax ?? INDEX_BEHIND_MS_MAX;
  const factory = monotonicFactory();
  const newId = options.newId ?? (() => factory());
  const defaults = { garrisonId, newId, now: options.now ?? (() => new Date()) };
  const publisher = createPublisher(broker);
  const context: AppendContext = { broker, publisher };
  const newBatchId = () => factory();

  const freshIndex = async (): Promise<EventIndex | undefined> => {
    if (index !== undefined && index.behindMs() > behindMsMax) await index.catchUp();
    return index;
  };

  return {
    broker,
    garrisonId,
    defaults,
    append: (event, appendOptions) => append(context, event, appendOptions),
    appendBatch: (entries) => appendBatch(context, entries, { newBatchId }),
    record: async ({ event, idGiven, tsGiven }) => {
      const stored = idGiven ? (await freshIndex())?.findById(event.event_id) : undefined;
      if (stored !== undefined) return sameOrConflict(stored, event, tsGiven);
      return append(context, event, { tsGiven });
    },
    recordBatch: async (parsed) => {
      const given = new Set<string>();
      for (const { event, idGiven } of parsed) if (idGiven) given.add(event.event_id);
      const fresh = given.size > 0 ? await freshIndex() : undefined;
      const known = (id: string) => (given.has(id) ? fresh?.findById(id) : undefined);
      return parsed.length === 0 ? [] : appendBatch(context, parsed, { newBatchId, known });
    },
    close: () => publisher.close(),
  };
}
