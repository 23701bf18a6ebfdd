import type { StoredEvent } from '#libs/contracts';
import type { TheaterFacts } from '../git-facts.ts';
import type { Oracle } from '../oracle.ts';
import type { Fall } from '../process.ts';

/** What was set aside, as the DEAD stream has it. */
export type Dead = { seq: number; channel: string; code: string; reason: string; payload: string };

/** An item of the FEEDS stream. */
export type FeedItem = {
  seq: number;
  key: string;
  channel: string;
  item: Readonly<Record<string, unknown>>;
};

/** What the outbox last noted of a delivery. */
export type OutboxRecord = {
  id: string;
  channel: string;
  key: string;
  itemId: string;
  state: string;
};

/** A row of a list that the gateway serves, without what may differ from answer to answer. */
export type Served = { id: string; status: string; version: number; text: string };

export type ViewFacts = {
  /** As served when all was quiet. */
  runs: readonly Served[];
  orders: readonly Served[];
  /** As served after they were built anew. */
  rebuiltRuns: readonly Served[];
  rebuiltOrders: readonly Served[];
  /** Digests by table of the served file, and of views built from nothing beside it. */
  servedTables: Readonly<Record<string, string>>;
  freshTables: Readonly<Record<string, string>>;
  poison: number;
};

/** Everything that the checker judges: it asks nothing and looks at nothing else. */
export type Evidence = {
  oracle: Oracle;
  /** The ledger, in order of sequence. */
  events: readonly StoredEvent[];
  /** Messages in the ledger stream, events or not, and the sequence of the last. */
  messages: number;
  lastSeq: number;
  /**
   * The last when all had come to an end. Watchers may tell of more while the evidence is collected;
   * of that the milestones may still be on their way.
   */
  quietSeq: number;
  theaters: readonly TheaterFacts[];
  /** SHA-256 by `<theater>/<commit>:<path>`; null: the commit has no such file. */
  digests: ReadonlyMap<string, string | null>;
  /** SHA-256 of users' messages and replies that the object store gives back. */
  objects: ReadonlySet<string>;
  dead: readonly Dead[];
  /** In order of sequence. */
  feed: readonly FeedItem[];
  feedLastSeq: number;
  outbox: readonly OutboxRecord[];
  /** Messages left in the work queues. */
  queues: Readonly<Record<string, number>>;
  views: ViewFacts;
  processes: {
    /** Still there after everything was stopped. */
    left: readonly string[];
    /** Did not end when asked to. */
    killed: readonly string[];
    falls: readonly Fall[];
  };
};

export type Violation = {
  invariant: string;
  message: string;
  /** Whose events are worth a look. */
  order_id?: string | null;
  run_id?: string | null;
};
