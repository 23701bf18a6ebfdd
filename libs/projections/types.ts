import type { DatabaseSync } from 'node:sqlite';

/** What the runtime needs to know of an event; views know the rest. */
export type Recorded = {
  /** Stream sequence. */
  readonly seq: number;
  readonly event_id: string;
};

/** A stored message that is no event. */
export type Undecodable = { seq: number; subject: string; reason: string; bytes: number };

/** Messages in stream order, as a source hands them over; none of them twice. */
export type EventBatch<E extends Recorded> = {
  /** Ascending by sequence; gaps are allowed. */
  events: readonly E[];
  /** The stored bytes of each event, where the source still has them: same length as `events`. */
  raw?: readonly Uint8Array[];
  poison: readonly Undecodable[];
  /** Sequence of the last message seen, event or not. */
  lastSeq: number;
  /** Messages known to follow; 0: level with the stream. */
  pending: number;
};

/**
 * Batches from sequence `fromSeq` on, never ending by itself; bounded in events and bytes by the
 * source, which reads no further than it is asked for.
 */
export type Source<E extends Recorded> = (
  fromSeq: number,
  signal: AbortSignal,
) => AsyncIterable<EventBatch<E>>;

/** What a view gets to apply: events in stream order and, aligned, their bytes. */
export type ViewBatch<E extends Recorded> = Pick<EventBatch<E>, 'events' | 'raw'>;

/**
 * One read model: its tables and how events change them. All views of a projection live in one
 * SQLite file and share one position.
 */
export type View<E extends Recorded> = {
  /** Unique in its projection; names it in status and poison lists. */
  readonly name: string;
  /** Raise it with any change of the tables or of what is written: views are then built anew. */
  readonly version: number;
  /** Makes the tables. Table names are shared by all views of the projection. */
  create(db: DatabaseSync): void;
  /** Prepares the writer of one open file. */
  open(db: DatabaseSync): ViewWriter<E>;
};

export type ViewWriter<E extends Recorded> = {
  /**
   * Writes what the batch changes; runs inside a transaction and may be undone. What it writes may
   * depend on nothing but the events, so that any cut into batches gives the same rows. A throw
   * sets aside the event that caused it (the batch is applied again one by one to find it).
   * @returns what the views after this one get, if it is not the same batch
   */
  apply(batch: ViewBatch<E>): ViewBatch<E> | undefined;
  /** The rows were rolled back: drop everything that is held in memory. */
  forget(): void;
};

/** An event, or a message that is none, that could not be applied. */
export type PoisonRow = {
  seq: number;
  /** The view that could not apply it; `*` for a message that is no event. */
  view: string;
  event_id: string | null;
  subject: string | null;
  reason: string;
  bytes: number | null;
};

export type ViewState = 'live' | 'catching-up' | 'rebuilding' | 'failed';

export type ViewStatus = {
  name: string;
  /** Sequence that the view reflects. */
  seq: number;
  /** Last sequence of the stream, as last heard. */
  stream_seq: number;
  /** Messages behind. */
  lag: number;
  state: ViewState;
  /** Events set aside. */
  poison: number;
};

/** Rows of a read, by column name. */
export type Row = Record<string, null | number | bigint | string | Uint8Array>;
export type SqlValue = null | number | bigint | string | Uint8Array;

/** Read-only access to the rows. Valid only inside the `read` call that gave it. */
export type Reader = {
  /** Sequence that the rows reflect. */
  readonly seq: number;
  /** Statements are prepared once per text: pass values as parameters, never in `sql`. */
  all<R = Row>(sql: string, ...params: SqlValue[]): R[];
  get<R = Row>(sql: string, ...params: SqlValue[]): R | undefined;
};
