import { setTimeout as sleep } from 'node:timers/promises';
import { type Channel, isAppError } from '#libs/contracts';
import type { Logger } from 'pino';
import type { DeliveryPolicy } from './backoff.ts';
import { decideAttempt, evolveDelivery, OPEN_STATES } from './delivery.ts';
import { choose, evolveLane, type Lane, OPEN_LANE } from './lane.ts';
import type { Lease } from './lease.ts';
import type { Reply } from './reply.ts';
import type { OutboxStore, StoredDelivery } from './store.ts';
import type { DueDelivery } from './view.ts';

/** Sends one body to one target; answers whatever comes of it and throws only for defects. */
export type Send = (channel: Channel, body: string, signal: AbortSignal) => Promise<Reply>;

/** What the queue of one target is read from. */
export type Queue = {
  due(nowMs: number, limit: number): DueDelivery[];
  nextDueMs(): number | undefined;
  /** Waits until the queue knows of the record at `seq`. */
  waitFor(seq: number): Promise<void>;
  /** Resolves when something has changed, after `ms`, or when `signal` aborts. */
  changed(ms: number, signal: AbortSignal): Promise<void>;
};

export type LaneOptions = {
  target: string;
  send: Send;
  store: OutboxStore;
  queue: Queue;
  lease: Lease;
  policy: DeliveryPolicy;
  now: () => Date;
  random: () => number;
  logger: Logger;
};

export type RunningLane = {
  /** Takes nothing more, gives up what is being sent (it is sent again later), waits. */
  stop(): Promise<void>;
};

/** Records read from the queue at once. */
const PAGE = 100;
/** Another process has the lane: it is asked for again after so long. */
const STANDBY_MS = 1_000;
/** Looks at the queue so often, though nothing was heard of. */
const IDLE_MS = 10_000;
const BROKER_AWAY_MS = 500;

/**
 * Delivers what waits for one target, one after the other in the order of the queue. Each target has
 * a lane of its own, so a slow one holds up nobody else. The outcome is written after the answer: who
 * dies in between sends the same bytes under the same key again, and is told that they are known.
 */
export function startLane(options: LaneOptions): RunningLane {
  const stopping = new AbortController();
  const done = run(options, stopping.signal);
  return {
    async stop() {
      stopping.abort();
      await done;
    },
  };
}

async function run(options: LaneOptions, signal: AbortSignal): Promise<void> {
  const { queue, lease, now, logger, target } = options;
  // Kept through errors: what is known of the target is not lost with them.
  const known = { lane: OPEN_LANE };
  while (!signal.aborted) {
    try {
      const nowMs = now().getTime();
      const dueMs = Math.max(
        queue.nextDueMs() ?? Number.POSITIVE_INFINITY,
        known.lane.restsUntilMs,
      );
      if (dueMs > nowMs) {
        await queue.changed(Math.min(dueMs - nowMs, IDLE_MS), signal);
      } else if (await lease.hold()) {
        await deliverPage(options, known, signal);
      } else {
        await pause(STANDBY_MS, signal);
      }
    } catch (error) {
      const away = isAppError(error, 'DEPENDENCY_UNAVAILABLE', 'VIEW_BEHIND');
      logger[away ? 'warn' : 'error']({ err: error, target }, 'deliveries wait; trying again');
      await pause(BROKER_AWAY_MS, signal);
    }
  }
  await lease.release().catch((error: unknown) => {
    // It ends by itself.
    logger.debug({ err: error, target }, 'the lease could not be given back');
  });
}

/** Sends what is due until there is no more, or the target needs a rest. */
async function deliverPage(
  options: LaneOptions,
  known: { lane: Lane },
  signal: AbortSignal,
): Promise<void> {
  const { queue, store, lease, now } = options;
  let lastSeq = 0;
  for (const due of choose(known.lane, queue.due(now().getTime(), PAGE))) {
    if (signal.aborted || !(await lease.hold())) break;
    const stored = await store.find(due.delivery_id);
    if (stored === undefined) continue;
    lastSeq = Math.max(lastSeq, stored.seq);
    // Discarded, or delivered by another, since the queue was read.
    if (!OPEN_STATES.includes(stored.delivery.state)) continue;
    const seq = await deliver(options, stored, known, signal);
    lastSeq = Math.max(lastSeq, seq ?? 0);
    // After a failure the queue is read anew: the same one comes first again.
    if (seq === undefined || known.lane.failures > 0) break;
  }
  // What was just seen to must not be found again.
  await queue.waitFor(lastSeq);
}

/** One attempt and its outcome on disk, at the sequence that is answered; undefined: it was given up for the end of the process. */
async function deliver(
  options: LaneOptions,
  stored: StoredDelivery,
  known: { lane: Lane },
  signal: AbortSignal,
): Promise<number | undefined> {
  const { send, store, policy, target, logger } = options;
  const { delivery, delivery_id } = stored;
  const reply = await send(delivery.channel, delivery.body ?? '', signal);
  if (signal.aborted && reply.kind === 'failed') return undefined;
  const now = options.now();
  // The same for the event and its target: where only this one has failed they wait alike.
  const random = options.random();
  const event = decideAttempt(delivery, { reply, policy, now, random });
  const after = evolveDelivery(delivery, event, stored.seq);
  if (event.type !== 'SETTLED') {
    const { state, attempts, last_error } = after;
    logger.warn({ target, delivery_id, state, attempts, last_error }, 'not delivered');
  }
  const retryAfterMs = reply.kind === 'answered' ? reply.retryAfterMs : undefined;
  const step = { delivery_id, event, policy, nowMs: now.getTime(), random, retryAfterMs };
  known.lane = evolveLane(known.lane, step);
  const saved = await store.replace(after, stored.seq);
  // Written by somebody else meanwhile (or by us, unheard): that is what holds.
  return saved.ok ? saved.seq : (saved.current?.seq ?? 0);
}

/** Aborting is how the pause is cut short, not a failure. */
async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal }).catch(() => undefined);
}
