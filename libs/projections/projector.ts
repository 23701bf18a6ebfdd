import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { isDamage } from './sql-errors.ts';
import type { Store } from './store.ts';
import type { EventBatch, Recorded, Source } from './types.ts';

/** The stream that a projection follows. */
export type Followed<E extends Recorded> = {
  source: Source<E>;
  /** Last sequence of the stream. */
  tail: () => Promise<number>;
  /** Names this very stream, not one that was made anew under its name (name and creation time). */
  streamId: () => Promise<string>;
};

/**
 * Why a projector ended: it was stopped; its file is damaged; or the stream is not the one it has
 * read so far (made anew, or set back to an earlier state).
 */
export type Ending = 'stopped' | 'damaged' | 'other stream';

/** Feeds one file from the stream until it is stopped. */
export type Projector = {
  /** True while the last try to follow the stream failed. */
  readonly failing: boolean;
  /** True until the stream is first reached, and again whenever the source knows of more. */
  readonly behind: boolean;
  /** Resolves once, when it has ended; nothing writes afterwards. */
  readonly ended: Promise<Ending>;
  /** Looks again whether the stream is still the one it has read so far. */
  recheck(): void;
  /** No further batch is written until `release`. */
  hold(): void;
  release(): void;
  /** `ending` is what `ended` resolves with. */
  stop(ending?: Ending): void;
};

export type ProjectorOptions<E extends Recorded> = {
  store: Store<E>;
  followed: Followed<E>;
  streamId: string;
  /** Events written in one transaction, so also how long the thread is held. */
  maxEvents: number;
  logger: Logger;
  /** Called after each transaction. */
  onCommit: () => void;
};

/**
 * A transaction costs about as much as ten events, so after a small one the next waits for company:
 * what lands right after another is seen so much later, at less than half the cost.
 */
const PACE_MS = 10;
const SMALL_BATCH_EVENTS = 200;

const RETRY_MS_MIN = 50;
const RETRY_MS_MAX = 5_000;

/** A new leader can know less for a moment: an end that is too early is asked for again. */
const TAIL_TRIES = 4;
const TAIL_RETRY_MS = 250;

/** Thrown inside the loop to end it. */
class OtherStream extends Error {}

export function startProjector<E extends Recorded>(options: ProjectorOptions<E>): Projector {
  const { store, followed, logger } = options;
  const abort = new AbortController();
  const state = { failing: false, behind: true, ending: 'stopped' as Ending };
  const gate = createGate();
  const stopped = (): boolean => abort.signal.aborted;

  let round = new AbortController();

  const follow = async (): Promise<void> => {
    round = new AbortController();
    await checkStream(options, stopped);
    const signal = AbortSignal.any([abort.signal, round.signal]);
    // The last event is read again: if it is another one now, the past has changed.
    const { eventSeq, seq } = store.position;
    for await (const batch of followed.source(eventSeq > 0 ? eventSeq : seq + 1, signal)) {
      checkPast(batch, store.position);
      for (const part of cut(batch, store.position.seq, options.maxEvents)) {
        await gate.open();
        if (signal.aborted) return;
        store.commit(part);
        state.behind = part.pending > 0;
        options.onCommit();
        // Requests get their turn between two transactions.
        await turn();
      }
      if (batch.pending === 0) state.behind = false;
      state.failing = false;
      if (signal.aborted) return;
      if (batch.pending === 0 && batch.events.length < SMALL_BATCH_EVENTS) {
        await pause(PACE_MS, signal);
      }
    }
    if (!signal.aborted) throw new Error('the source ended');
  };

  const run = async (): Promise<Ending> => {
    let retryMs = RETRY_MS_MIN;
    let seen = store.position.seq;
    while (!stopped()) {
      try {
        await follow();
      } catch (error) {
        if (stopped()) break;
        const ending = endingOf(error);
        if (ending !== undefined) {
          logger.error({ err: error, ending, seq: store.position.seq }, 'view cannot go on');
          return ending;
        }
        state.failing = true;
        state.behind = true;
        if (store.position.seq > seen) retryMs = RETRY_MS_MIN;
        seen = store.position.seq;
        logger.warn({ err: error, seq: seen, retry_ms: retryMs }, 'view stopped; will go on');
        await pause(retryMs, abort.signal);
        retryMs = Math.min(retryMs * 2, RETRY_MS_MAX);
      }
    }
    return state.ending;
  };

  return {
    get failing() {
      return state.failing;
    },
    get behind() {
      return state.behind;
    },
    ended: run(),
    recheck: () => round.abort(),
    hold: gate.hold,
    release: gate.release,
    stop(ending = 'stopped') {
      state.ending = ending;
      abort.abort();
      gate.release();
    },
  };
}

function createGate() {
  let held: PromiseWithResolvers<void> | undefined;
  return {
    hold: (): void => {
      held ??= Promise.withResolvers();
    },
    release: (): void => {
      held?.resolve();
      held = undefined;
    },
    open: async (): Promise<void> => {
      while (held !== undefined) await held.promise;
    },
  };
}

/** The ending that an error means; undefined where another try may help. */
function endingOf(error: unknown): Ending | undefined {
  if (error instanceof OtherStream) return 'other stream';
  return isDamage(error) ? 'damaged' : undefined;
}

async function checkStream<E extends Recorded>(
  { followed, streamId, store }: ProjectorOptions<E>,
  stopped: () => boolean,
): Promise<void> {
  if ((await followed.streamId()) !== streamId) throw new OtherStream('made anew');
  for (let attempt = 1; !stopped(); attempt += 1) {
    const tail = await followed.tail();
    const { seq } = store.position;
    if (tail >= seq) return;
    if (attempt === TAIL_TRIES) throw new OtherStream(`ends at ${tail}, was read up to ${seq}`);
    await sleep(TAIL_RETRY_MS);
  }
}

function checkPast(
  batch: EventBatch<Recorded>,
  { eventSeq, eventId }: { eventSeq: number; eventId: string },
): void {
  const first = batch.events[0];
  if (first?.seq === eventSeq && first.event_id !== eventId) {
    throw new OtherStream(`holds ${first.event_id} at ${eventSeq}, was ${eventId}`);
  }
}

/** The part of a batch that is after sequence `seq`, in pieces of at most `maxEvents` messages. */
function* cut<E extends Recorded>(
  batch: EventBatch<E>,
  seq: number,
  maxEvents: number,
): Generator<EventBatch<E>> {
  const { events, raw, poison, lastSeq } = batch;
  if (lastSeq <= seq) return;
  let from = events.findIndex((event) => event.seq > seq);
  if (from < 0) from = events.length;
  if (from === 0 && events.length + poison.length <= maxEvents) {
    yield batch;
    return;
  }
  let after = seq;
  do {
    const to = Math.min(from + maxEvents, events.length);
    const upTo = to === events.length ? lastSeq : (events[to - 1] as E).seq;
    yield {
      events: events.slice(from, to),
      ...(raw !== undefined && { raw: raw.slice(from, to) }),
      poison: poison.filter((p) => p.seq > after && p.seq <= upTo),
      lastSeq: upTo,
      pending: batch.pending + events.length - to,
    };
    after = upTo;
    from = to;
  } while (from < events.length);
}

/** Aborting is how the pause is cut short, not a failure. */
async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal }).catch(() => undefined);
}
