import type { Broker } from '#libs/broker';
import { openProjection, type Projection } from '#libs/projections';
import type { Logger } from 'pino';
import type { DeliveryPolicy } from './backoff.ts';
import { type Queue, type RunningLane, type Send, startLane } from './deliverer.ts';
import { followOutbox } from './follow.ts';
import { createLease } from './lease.ts';
import { createOutboxStore, type OutboxStore } from './store.ts';
import { deliveriesView, dueDeliveries, nextDueMs } from './view.ts';

/** A target that can be sent to. */
export type Destination = { name: string; send: Send };

export type OutboxOptions = {
  broker: Broker;
  /** Of the view files; this process has it for itself. */
  folder: string;
  destinations: readonly Destination[];
  policy: DeliveryPolicy;
  /** Of this process; who holds a lane is seen by it. */
  holder: string;
  /** A process that died keeps its lanes for so long. Default 5 000 ms. */
  leaseMs?: number;
  /** So long the records of what was delivered are kept. Default 30 days. */
  settledKeepMs?: number;
  now: () => Date;
  random: () => number;
  logger: Logger;
};

/** Everything that is on its way, and the lanes that deliver it. */
export type Outbox = {
  store: OutboxStore;
  projection: Projection;
  close(): Promise<void>;
};

const LEASE_MS = 5_000;
export const SETTLED_KEEP_MS = 30 * 86_400_000;
const LEVEL_MS = 5_000;

/**
 * Opens the outbox and starts a lane for each destination. What waits for targets that are not
 * among them stays.
 */
export async function openOutbox(options: OutboxOptions): Promise<Outbox> {
  const { broker, logger, settledKeepMs = SETTLED_KEEP_MS } = options;
  const store = createOutboxStore(broker, settledKeepMs);
  const bell = createBell();
  const view = deliveriesView(settledKeepMs);
  const projection = await openProjection({
    ...followOutbox(broker, logger),
    folder: options.folder,
    name: 'outbox',
    views: [
      {
        ...view,
        open: (db) => {
          const writer = view.open(db);
          return {
            ...writer,
            apply(batch) {
              // Heard once the transaction, which ends with this turn, is over.
              setImmediate(bell.ring);
              return writer.apply(batch);
            },
          };
        },
      },
    ],
    logger,
  });
  const lanes = options.destinations.map(({ name, send }) =>
    startLane({
      target: name,
      send,
      store,
      queue: queueOf(projection, name, bell),
      lease: createLease(broker, {
        kind: 'outbox',
        id: name,
        holder: options.holder,
        ttlMs: options.leaseMs ?? LEASE_MS,
        clock: () => performance.now(),
      }),
      policy: options.policy,
      now: options.now,
      random: options.random,
      logger,
    }),
  );
  return {
    store,
    projection,
    async close() {
      await Promise.all(lanes.map((lane: RunningLane) => lane.stop()));
      await projection.close();
    },
  };
}

function queueOf(projection: Projection, target: string, bell: Bell): Queue {
  return {
    due: (nowMs, limit) => projection.read((db) => dueDeliveries(db, target, nowMs, limit)),
    nextDueMs: () => projection.read((db) => nextDueMs(db, target)),
    waitFor: (seq) => projection.waitFor(seq, { timeoutMs: LEVEL_MS }),
    changed: bell.wait,
  };
}

type Bell = {
  ring: () => void;
  /** Resolves when it rings, after `ms`, or when `signal` aborts. */
  wait: (ms: number, signal: AbortSignal) => Promise<void>;
};

function createBell(): Bell {
  const waiting = new Set<() => void>();
  return {
    ring: () => {
      for (const wake of waiting) wake();
    },
    wait: (ms, signal) =>
      new Promise((resolve) => {
        const wake = (): void => {
          clearTimeout(timer);
          signal.removeEventListener('abort', wake);
          waiting.delete(wake);
          resolve();
        };
        const timer = setTimeout(wake, ms);
        signal.addEventListener('abort', wake, { once: true });
        waiting.add(wake);
        if (signal.aborted) wake();
      }),
  };
}
