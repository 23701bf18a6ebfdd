import type { Logger } from 'pino';
import { type Broker, ensureConsumer } from '#libs/broker';
import { isId } from '#libs/contracts';
import { jobSubject } from '#libs/eventlog';
import { deriveId } from '#libs/orders';
import { type Delivery, toDelivery } from './lease.ts';

export type QueueOptions = {
  broker: Broker;
  logger: Logger;
  workerClass: string;
  /** Theaters to serve; empty: all. */
  theaters: readonly string[];
  /** Jobs at work at once over all queues. */
  concurrency: number;
  leaseMs: number;
  /** How often a job is delivered before it is given up as exhausted; -1: for ever. */
  maxDeliver: number;
  /** How long no job is to be taken, in ms; 0: take. */
  heldMs(): number;
  /** Settles one delivery; must not reject. */
  handle(delivery: Delivery): Promise<void>;
};

export type Queues = {
  /** Takes no more jobs; resolves when no pull is under way. Jobs at work go on. */
  stop(): Promise<void>;
  /** Resolves when no job is at work. */
  idle(): Promise<void>;
};

const JOBS_STREAM = 'JOBS';
/** How often the stream is asked which queues hold jobs: finds those that were handed back. */
const SWEEP_MS = 1_000;
const PULL_TIMEOUT_MS = 5_000;
/** Queues served by one process. */
const QUEUES_MAX = 1_000;
const NAME_CHARS_MAX = 200;

/** The durable consumer of one theater's jobs of one class; all workers share it. */
export function consumerName(theaterId: string, workerClass: string): string {
  // Ids hold `_` and `-`, so another character must part them.
  const name = `w_${theaterId}=${workerClass}`;
  return name.length <= NAME_CHARS_MAX ? name : `w_${deriveId('queue', theaterId, workerClass)}`;
}

/**
 * Takes jobs from the queues of all theaters, one pull at a time from each in turn, so that a long
 * queue does not hold up a short one. Nothing is pulled that cannot be worked on at once.
 */
export function startQueues(options: QueueOptions): Queues {
  const { concurrency } = options;
  const pull = createPull(options);
  /** Theaters whose queue may hold a job, in the order in which they are asked. */
  const turn = new Set<string>();
  const tasks = new Set<Promise<void>>();
  const pulls = new Set<Promise<unknown>>();
  let stopped = false;

  const pump = () => {
    // The next sweep comes by again, and the one after the hold finds what waits.
    while (!stopped && tasks.size < concurrency && options.heldMs() === 0) {
      const [theater] = turn;
      if (theater === undefined) return;
      turn.delete(theater);
      const task = serve(theater);
      tasks.add(task);
      void task.finally(() => {
        tasks.delete(task);
        pump();
      });
    }
  };

  const serve = async (theater: string): Promise<void> => {
    const pulling = pull(theater);
    pulls.add(pulling);
    const delivery = await pulling.finally(() => pulls.delete(pulling));
    if (delivery === undefined) return;
    if (stopped) return handBack(options, delivery);
    // There may be more: behind the others.
    turn.add(theater);
    pump();
    await options.handle(delivery);
  };

  const offer = (subject: string) => {
    const theater = subject.split('.')[2];
    if (!isId(theater) || turn.size >= QUEUES_MAX) return;
    if (options.theaters.length > 0 && !options.theaters.includes(theater)) return;
    turn.add(theater);
  };

  const finding = findQueues(options, (subjects) => {
    for (const subject of subjects) offer(subject);
    pump();
  });

  return {
    stop: async () => {
      stopped = true;
      await finding.stop();
      await Promise.all(pulls);
    },
    idle: async () => {
      while (tasks.size > 0) await Promise.all(tasks);
    },
  };
}

/** A job that came while the worker stops. */
function handBack({ logger }: QueueOptions, delivery: Delivery): void {
  try {
    delivery.nak(0);
  } catch (error) {
    logger.info({ err: error, seq: delivery.seq }, 'a job comes again when its lease ends');
  }
}

/** Makes the function that takes one job of a theater's queue, if one waits. It never rejects. */
function createPull(options: QueueOptions): (theater: string) => Promise<Delivery | undefined> {
  const { broker, logger, workerClass } = options;
  const ready = new Set<string>();

  const ensure = (theater: string, durable: string) =>
    ensureConsumer(broker, {
      stream: JOBS_STREAM,
      durable,
      filterSubjects: [jobSubject(theater, workerClass)],
      ackWaitMs: options.leaseMs,
      maxDeliver: options.maxDeliver,
      logger,
      handle: async () => {},
    });

  return async (theater) => {
    const name = consumerName(theater, workerClass);
    try {
      if (!ready.has(theater)) await ensure(theater, name);
      ready.add(theater);
      const message = await broker.nc.request(
        `$JS.API.CONSUMER.MSG.NEXT.${JOBS_STREAM}.${name}`,
        JSON.stringify({ batch: 1, no_wait: true }),
        // A job comes under its own subject, by which the shared inbox would not know it.
        { timeout: PULL_TIMEOUT_MS, noMux: true },
      );
      const delivery = toDelivery(broker, message);
      // 404: nothing waits. Anything else may mean that the consumer is gone.
      if (delivery === undefined && message.headers?.code !== 404) ready.delete(theater);
      return delivery;
    } catch (error) {
      ready.delete(theater);
      if (!broker.nc.isClosed()) logger.warn({ err: error, queue: name }, 'no job could be taken');
      return undefined;
    }
  };
}

/** Learns which queues hold jobs: at once as they are published, and by asking the stream. */
function findQueues(
  { broker, logger, workerClass }: QueueOptions,
  found: (subjects: readonly string[]) => void,
): { stop(): Promise<void> } {
  const filter = `job.v1.*.${workerClass}`;
  let sweeping = Promise.resolve();
  const sweep = async (): Promise<void> => {
    if (!broker.isConnected()) return;
    try {
      const info = await broker.jsm.streams.info(JOBS_STREAM, { subjects_filter: filter });
      found(Object.keys(info.state.subjects ?? {}));
    } catch (error) {
      if (!broker.nc.isClosed()) logger.warn({ err: error }, 'the job queues cannot be listed');
    }
  };
  let busy = false;
  const tick = () => {
    if (busy) return;
    busy = true;
    sweeping = sweep().finally(() => {
      busy = false;
    });
  };
  const timer = setInterval(tick, SWEEP_MS);
  tick();
  // A hint only: where this connection may not listen, the sweep finds the job a little later.
  const hints = broker.nc.subscribe(filter, {
    callback: (error, message) => {
      if (error === null) found([message.subject]);
      else logger.info({ reason: error.message }, 'no hints of new jobs; they are found by asking');
    },
  });
  return {
    stop: async () => {
      clearInterval(timer);
      if (!broker.nc.isClosed()) hints.unsubscribe();
      await sweeping;
    },
  };
}
