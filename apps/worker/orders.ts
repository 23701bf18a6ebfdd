import { hostname } from 'node:os';
import {
  type AnyEvent,
  type EventType,
  isAppError,
  type JobMessage,
  type PayloadOf,
  type StoredEvent,
} from '#libs/contracts';
import { createAggregateStore, type EventLog, ledgerFilter } from '#libs/eventlog';
import {
  claimOrder,
  type Decision,
  eventIdFor,
  type EventDraft,
  evolveOrder,
  isTerminal,
  type OrderState,
  reissueOrder,
  startOrder,
  toEvent,
  unknownOrder,
} from '#libs/orders';
import { command } from '#libs/runtime';

/** An order, and whose job it is being worked on for. */
export type Held = {
  order: OrderState;
  /** Stream sequence of the job for which the current attempt was started; null: not known. */
  jobSeq: number | null;
};

/** What a unit begins an attempt with. */
export type Beginning = { attempt: number; unitId: string; jobSeq: number; leaseMs: number };

export type OrderBook = {
  /** @param minSeq an event known to be stored; a replica that is behind it is asked again */
  load(job: JobMessage, minSeq?: number): Promise<Held>;
  /**
   * ORDER_CLAIMED and ORDER_STARTED together. Answers their last sequence, or null where the order
   * stands otherwise than it seemed, as another unit was faster.
   */
  begin(job: JobMessage, beginning: Beginning): Promise<number | null>;
  /** ORDER_STARTED again, in the same attempt, of an order that waited for its model provider. */
  resume(job: JobMessage, beginning: Beginning): Promise<number | null>;
  /** Takes the order from a unit that died and begins the next attempt at once. */
  restart(
    job: JobMessage,
    beginning: Beginning,
    reissue: { reason: string; maxRetries: number },
  ): Promise<number | null>;
  /** Appends what is decided; false: refused, because the order has moved on without this unit. */
  decide(job: JobMessage, decision: (order: OrderState) => Decision): Promise<boolean>;
  /** Appends a fact about the order that moves no status; the same `key` again writes nothing. */
  tell<T extends EventType>(
    held: Pick<OrderState, 'order_id' | 'run_id' | 'theater_id'>,
    unitId: string,
    type: T,
    payload: PayloadOf<T>,
    key: readonly (string | number)[],
  ): Promise<void>;
  /** As `tell`, several of one type together, in order. */
  tellAll<T extends EventType>(
    held: Pick<OrderState, 'order_id' | 'run_id' | 'theater_id'>,
    unitId: string,
    type: T,
    facts: readonly { payload: PayloadOf<T>; key: readonly (string | number)[] }[],
  ): Promise<void>;
};

type Fold = { order: OrderState | undefined; jobSeq: number | null };

/**
 * The orders as this worker sees and moves them.
 * @param processName tells this process from others; stands in ORDER_STARTED
 */
export function createOrderBook(log: EventLog, processName: string): OrderBook {
  const { garrisonId } = log;
  const store = createAggregateStore<Fold>(
    log.broker,
    { order: undefined, jobSeq: null },
    (fold, events) => events.reduce(evolve, fold),
  );
  const filterOf = ({ theater_id, order_id }: JobMessage): string =>
    ledgerFilter({ garrison_id: garrisonId, theater_id, order_id });
  const known = ({ order }: Fold, job: JobMessage): OrderState => {
    const { theater_id, order_id, run_id = null } = job;
    const found = order ?? unknownOrder({ order_id, run_id, theater_id, garrison_id: garrisonId });
    // A worktree that was made by hand names no run; the job does.
    return found.run_id === null ? { ...found, run_id } : found;
  };
  const write = async (
    job: JobMessage,
    decision: (order: OrderState) => Decision,
  ): Promise<{ seq: number | null } | null> => {
    try {
      const done = await command(log, store, filterOf(job), ({ state }) =>
        decision(known(state, job)),
      );
      return { seq: done.appended.at(-1)?.seq ?? null };
    } catch (error) {
      // The id of another unit's event: two jobs named the same unit, and the other was faster.
      if (isAppError(error, 'ILLEGAL_TRANSITION', 'EVENT_ID_CONFLICT')) return null;
      throw error;
    }
  };
  const factOf = (
    { order_id, run_id, theater_id }: Pick<OrderState, 'order_id' | 'run_id' | 'theater_id'>,
    unitId: string,
    type: EventType,
    payload: object,
    key: readonly (string | number)[],
  ): AnyEvent => {
    const event_id = eventIdFor(garrisonId, [theater_id, order_id, type, unitId, ...key].join('/'));
    const ts = log.defaults.now().toISOString();
    const place = { garrison_id: garrisonId, theater_id, run_id, order_id, unit_id: unitId };
    return { event_id, ts, type, ...place, payload } as AnyEvent;
  };
  const worker = `${hostname().slice(0, 100)}:${processName}`;

  return {
    load: async (job, minSeq) => {
      const { state } = await store.load(filterOf(job), minSeq);
      return { order: known(state, job), jobSeq: state.jobSeq };
    },
    // Nothing to append would mean that a unit of this name is at work already.
    begin: async (job, beginning) =>
      (await write(job, (order) => begin(order, beginning, worker)))?.seq ?? null,
    resume: async (job, beginning) =>
      (await write(job, (order) => start(order, beginning, worker)))?.seq ?? null,
    restart: async (job, beginning, reissue) => {
      const ts = log.defaults.now().toISOString();
      const decision = (order: OrderState) => restart(order, beginning, worker, { ...reissue, ts });
      return (await write(job, decision))?.seq ?? null;
    },
    decide: async (job, decision) => (await write(job, decision)) !== null,
    tell: async (held, unitId, type, payload, key) => {
      await log.append(factOf(held, unitId, type, payload, key), { tsGiven: false });
    },
    tellAll: async (held, unitId, type, facts) => {
      await log.appendBatch(
        facts.map(({ payload, key }) => ({
          event: factOf(held, unitId, type, payload, key),
          tsGiven: false,
        })),
      );
    },
  };
}

function evolve(fold: Fold, event: StoredEvent): Fold {
  const order = evolveOrder(fold.order, event);
  const fits = order.anomalies === (fold.order?.anomalies ?? 0);
  if (event.type !== 'ORDER_STARTED' || !fits) return { order, jobSeq: fold.jobSeq };
  const { job_seq } = event.payload;
  return { order, jobSeq: typeof job_seq === 'number' ? job_seq : null };
}

function begin(order: OrderState, beginning: Beginning, worker: string): Decision {
  const claimed = claimOrder(order, beginning);
  if (!claimed.ok) return claimed;
  const started = start(order, beginning, worker);
  return started.ok ? { ok: true, events: [...claimed.events, ...started.events] } : started;
}

function start(order: OrderState, beginning: Beginning, worker: string): Decision {
  const started = startOrder(order, { ...beginning, worker });
  if (!started.ok) return started;
  const { jobSeq: job_seq } = beginning;
  const marked = started.events.map(
    (draft) => ({ ...draft, payload: { ...draft.payload, job_seq } }) as EventDraft,
  );
  return { ok: true, events: marked };
}

function restart(
  order: OrderState,
  beginning: Beginning,
  worker: string,
  reissue: { reason: string; maxRetries: number; ts: string },
): Decision {
  const reissued = reissueOrder(order, reissue);
  const [draft] = reissued.ok ? reissued.events : [];
  if (draft === undefined) return reissued;
  const event = toEvent(draft, { event_id: '_', ts: reissue.ts }) as AnyEvent;
  const begun = begin(evolveOrder(order, { ...event, seq: order.version + 1 }), beginning, worker);
  return begun.ok ? { ok: true, events: [draft, ...begun.events] } : begun;
}

/** What is to be done about a job that was delivered. */
export type Verdict =
  | { do: 'begin' }
  /** The unit that this very job was given to has fallen silent. */
  | { do: 'take over' }
  /** The order of this very job waits for its model provider, until then. */
  | { do: 'resume'; notBefore: string }
  /** The job is of an attempt that the ledger does not tell of yet. */
  | { do: 'wait' }
  | { do: 'drop'; reason: string };

/**
 * Judges a delivery by the current state of its order. Another job for an order at work is dropped:
 * the one that it was started for is still in the queue, and comes again if its unit dies.
 */
export function judge({ order, jobSeq }: Held, job: JobMessage, seq: number): Verdict {
  const { status, attempt, unit_id, blocked_until } = order;
  const standing = `the order is ${status} in attempt ${attempt}`;
  if (order.version === 0) return { do: 'begin' };
  if (isTerminal(status) && job.attempt <= attempt) return { do: 'drop', reason: standing };
  const working = status === 'CLAIMED' || status === 'RUNNING';
  if (working && jobSeq === seq) return { do: 'take over' };
  if (status === 'BLOCKED' && blocked_until !== null && jobSeq === seq) {
    return { do: 'resume', notBefore: blocked_until };
  }
  if (job.attempt > attempt) return { do: 'wait' };
  if (job.attempt < attempt) return { do: 'drop', reason: standing };
  if (status === 'QUEUED') return { do: 'begin' };
  return { do: 'drop', reason: `${standing}, held by ${unit_id ?? 'another unit'}` };
}
