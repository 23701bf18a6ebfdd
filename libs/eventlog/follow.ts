import { setTimeout as sleep } from 'node:timers/promises';
import { AckPolicy, DeliverPolicy, ReplayPolicy } from '@nats-io/jetstream';
import type { Logger } from 'pino';
import { type Broker, brokerUnavailable, toNanos } from '#libs/broker';
import { isAppError } from '#libs/contracts';
import { decodeEvent } from './codec.ts';
import { type Cursor, type Decode, type EventBatch, startCursor } from './cursor.ts';
import { guarded } from './read.ts';
import { LEDGER_STREAM } from './subjects.ts';

export type FollowOptions = {
  /** First sequence to hand out. */
  fromSeq: number;
  /** Subject filters; default: the whole stream. */
  subjects?: string[];
  /** Messages held at once. Default 4 000. */
  maxEvents?: number;
  signal: AbortSignal;
  /** Told when the ledger cannot be followed for now. */
  logger?: Logger;
};

const MAX_EVENTS = 4_000;
const RESTART_MS = 250;
const RESTART_MS_MAX = 5_000;
const IDLE_MS = 60_000;

/** Follows the ledger; see `followStream`. */
export function followBatches(broker: Broker, options: FollowOptions): AsyncGenerator<EventBatch> {
  return followStream(broker, { stream: LEDGER_STREAM, decode: decodeEvent }, options);
}

/** A stream of facts, and how one of its messages is read. */
export type FactStream<E> = { stream: string; decode: Decode<E> };

/**
 * Follows a stream from a sequence, in order and without gaps, for ever. Live events are handed
 * out as they land; while catching up, in large batches. What has not been taken is not asked for,
 * so a slow taker costs no memory. (The client library's own consumer asks again on arrival.)
 * Ends when `signal` aborts or the connection is closed; a broker that is away is waited for.
 */
export async function* followStream<E>(
  broker: Broker,
  facts: FactStream<E>,
  options: FollowOptions,
): AsyncGenerator<EventBatch<E>> {
  const { signal, logger } = options;
  let next = Math.max(1, options.fromSeq);
  let restartMs = RESTART_MS;
  while (!signal.aborted && !broker.nc.isClosed()) {
    try {
      const cursor = await openCursor(broker, facts, next, options);
      try {
        for (;;) {
          const batch = await cursor.take();
          if (batch === undefined || signal.aborted) break;
          restartMs = RESTART_MS;
          next = batch.lastSeq + 1;
          yield batch;
        }
      } finally {
        cursor.close();
      }
    } catch (error) {
      if (!isAppError(error, 'DEPENDENCY_UNAVAILABLE')) throw error;
      const { stream } = facts;
      logger?.warn({ err: error, stream, next }, 'the stream cannot be followed; trying again');
      restartMs = Math.min(restartMs * 2, RESTART_MS_MAX);
    }
    // Lost its place (reconnect, gap, consumer gone): a new cursor starts where this one ended.
    await sleep(restartMs, undefined, { signal }).catch(() => undefined);
  }
}

async function openCursor<E>(
  broker: Broker,
  facts: FactStream<E>,
  fromSeq: number,
  options: FollowOptions,
): Promise<Cursor<E>> {
  if (!broker.isConnected()) throw brokerUnavailable('not connected');
  const info = await guarded('follow', () =>
    broker.jsm.consumers.add(facts.stream, {
      ack_policy: AckPolicy.None,
      deliver_policy: DeliverPolicy.StartSequence,
      opt_start_seq: fromSeq,
      replay_policy: ReplayPolicy.Instant,
      inactive_threshold: toNanos(IDLE_MS),
      mem_storage: true,
      num_replicas: 1,
      ...(options.subjects !== undefined && { filter_subjects: options.subjects }),
    }),
  );
  return startCursor(broker, info.name, {
    ...facts,
    fromSeq,
    signal: options.signal,
    maxEvents: options.maxEvents ?? MAX_EVENTS,
  });
}
