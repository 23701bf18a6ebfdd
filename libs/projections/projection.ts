import { AppError } from '#libs/contracts';
import type { Logger } from 'pino';
import { type Digest, digestFile } from './digest.ts';
import type { Followed } from './projector.ts';
import { ServedBuild } from './served.ts';
import { createReflect } from './reflect.ts';
import { isDamage } from './sql-errors.ts';
import type { PoisonRow, Reader, Recorded, View, ViewState, ViewStatus } from './types.ts';
import { createWaiters } from './waiters.ts';

export type ProjectionOptions<E extends Recorded> = Followed<E> & {
  /** Folder of the view files; made if missing. */
  folder: string;
  /** Of the files: letters, digits, `-`. One process at a time uses a name in a folder. */
  name: string;
  /** In the order in which they get a batch. */
  views: readonly View<E>[];
  logger: Logger;
  /** Events of one transaction at most. Default 5 000. */
  maxEvents?: number;
  /** How often the stream is asked for its end. Default 1 000 ms. */
  probeMs?: number;
};

export type WaitOptions = { timeoutMs: number; signal?: AbortSignal };

/** Views that follow a stream. */
export type Projection = {
  /** Sequence that reads reflect. */
  at(): number;
  /** Waits until reads reflect `seq`. @throws {VIEW_BEHIND} after `timeoutMs`, or when aborted */
  waitFor(seq: number, options: WaitOptions): Promise<void>;
  /**
   * Waits until reads reflect the `at_least` of a caller, if it gave one: `LIMITS.atLeastWaitMs` at most.
   * @throws {VIEW_BEHIND} after that · {INVALID_REQUEST} the stream does not go so far
   */
  reflect(atLeast: number | undefined): Promise<void>;
  /**
   * Runs `query` on the served rows; everything it reads is of one sequence.
   * @throws {VIEW_BEHIND} the file turned out damaged: it is set aside and built anew
   */
  read<T>(query: (reader: Reader) => T): T;
  status(): ViewStatus[];
  /** Set-aside events with a sequence above `afterSeq` (default 0), oldest first. */
  poison(limit: number, afterSeq?: number): PoisonRow[];
  /**
   * Builds the views anew in a file beside the served one and swaps when it is level; while one is
   * on its way, gives that one. Rejects if it could not finish; the old views then stay.
   */
  rebuild(): Promise<void>;
  /**
   * Monotonic time (performance.now) up to which everything that was in the stream is known to be
   * in the served rows; undefined until they were level with the stream once.
   */
  caughtUpAt(): number | undefined;
  /** Waits until reads reflect all that is in the stream now. @throws {VIEW_BEHIND} */
  catchUp(options: WaitOptions): Promise<void>;
  /** A digest of all rows: equal wherever the same events were applied, however they were cut. */
  digest(): Promise<Digest>;
  /** Stops following and closes the files. A rebuild that is on its way is given up. */
  close(): Promise<void>;
};

const MAX_EVENTS = 5_000;
const PROBE_MS = 1_000;

/**
 * Opens the views and starts to follow the stream. Views of another version or stream, and damaged
 * files, are replaced by empty ones that fill from the start.
 * @throws whatever `streamId` throws: the stream must be reachable at the start, not later
 */
export async function openProjection<E extends Recorded>(
  options: ProjectionOptions<E>,
): Promise<Projection> {
  const logger = options.logger.child({ projection: options.name });
  const waiters = createWaiters();
  const served = new ServedBuild<E>({
    ...options,
    logger,
    maxEvents: options.maxEvents ?? MAX_EVENTS,
    firstStreamId: await options.streamId(),
    onServed: (seq) => {
      waiters.reached(seq);
      level.reached(seq);
    },
    onStartOver: () => level.forget(),
  });
  const at = (): number => served.current.store.position.seq;
  const level = createLevel(at);
  const probe = async (): Promise<void> => {
    try {
      const known = at();
      const [streamId, tail] = await Promise.all([options.streamId(), level.ask(options.tail)]);
      if (streamId !== served.streamId || tail < known) served.current.projector.recheck();
    } catch (error) {
      logger.debug({ err: error }, 'the end of the stream could not be asked');
    }
  };
  const probing = setInterval(() => void probe(), options.probeMs ?? PROBE_MS);
  void probe();

  const waitFor = async (seq: number, { timeoutMs, signal }: WaitOptions): Promise<void> => {
    if (at() >= seq || (await waiters.wait(seq, timeoutMs, signal))) return;
    throw new AppError('VIEW_BEHIND', { at: at(), wanted: seq });
  };

  return {
    at,
    waitFor,
    reflect: createReflect({ at, waitFor, tail: options.tail }),
    read(query) {
      const { store, projector } = served.current;
      try {
        return query(store.reader);
      } catch (error) {
        if (!isDamage(error)) throw error;
        logger.error({ err: error }, 'view file is damaged');
        projector.stop('damaged');
        throw new AppError('VIEW_BEHIND', { at: 0, wanted: at() }, { cause: error });
      }
    },
    status: () => statusOf(options.views, served, level.streamSeq()),
    poison: (limit, afterSeq = 0) => served.current.store.poison(limit, afterSeq),
    rebuild: () => served.rebuild(),
    caughtUpAt: () => level.caughtUpAt(),
    async catchUp(wait) {
      const time = performance.now();
      await waitFor(await level.ask(options.tail), wait);
      level.wasLevel(time);
    },
    digest: () => digestFile(served.current.file),
    async close() {
      clearInterval(probing);
      waiters.close();
      await served.close();
    },
  };
}

function statusOf<E extends Recorded>(
  views: readonly View<E>[],
  { current: { store, projector }, rebuilding }: ServedBuild<E>,
  knownSeq: number,
): ViewStatus[] {
  const stateNow = (): ViewState => {
    if (projector.failing) return 'failed';
    if (rebuilding) return 'rebuilding';
    return projector.behind ? 'catching-up' : 'live';
  };
  const { seq } = store.position;
  const stream_seq = Math.max(knownSeq, seq);
  const state = stateNow();
  return views.map(({ name }) => {
    const poison = store.poisonCount(name);
    return { name, seq, stream_seq, lag: stream_seq - seq, state, poison };
  });
}

/** Knows when the rows were last level with the stream: exactly, as its end is asked for first. */
function createLevel(at: () => number) {
  let streamSeq = 0;
  let caughtUpAt: number | undefined;
  /** The stream ended at `seq` at `time`; not all of it has been applied yet. */
  let ahead: { seq: number; time: number } | undefined;
  const wasLevel = (time: number): void => {
    caughtUpAt = Math.max(caughtUpAt ?? 0, time);
  };
  const reached = (seq: number): void => {
    if (ahead === undefined || ahead.seq > seq) return;
    wasLevel(ahead.time);
    ahead = undefined;
  };
  return {
    reached,
    wasLevel,
    streamSeq: () => streamSeq,
    caughtUpAt: () => caughtUpAt,
    forget() {
      caughtUpAt = undefined;
      ahead = undefined;
    },
    async ask(tail: () => Promise<number>): Promise<number> {
      const time = performance.now();
      const seq = await tail();
      streamSeq = seq;
      // While an earlier end is not reached, a later one would only move the goal away.
      ahead ??= { seq, time };
      reached(at());
      return seq;
    },
  };
}
