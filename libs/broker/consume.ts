import { setTimeout as sleep } from 'node:timers/promises';
import {
  AckPolicy,
  type ConsumerConfig,
  type ConsumerMessages,
  DeliverPolicy,
  JetStreamApiError,
  type JsMsg,
} from '@nats-io/jetstream';
import type { Logger } from 'pino';
import type { Broker } from './connect.ts';
import { toNanos } from './durations.ts';

export type ConsumeOptions = {
  stream: string;
  /** Name of the durable consumer; processes that give the same name share the messages. */
  durable: string;
  /** Subjects to take; all of the stream by default. */
  filterSubjects?: readonly string[];
  /** How long a message may be without a sign of life before it goes to another. */
  ackWaitMs: number;
  /** Deliveries of one message before it is given up with an advisory; -1: never. */
  maxDeliver: number;
  /** Handlers at work at once in this process. Default 1, which also keeps the order. */
  concurrency?: number;
  /**
   * Messages fetched ahead. More than can be worked on at once is for consumers that pass most of
   * them over: what waits here must not run out of its ack wait. Default: `concurrency`.
   */
  prefetch?: number;
  /** Messages that are acked unseen, at no cost of a handling. */
  passesOver?(message: JsMsg): boolean;
  /**
   * How long one handling may take. Then its signal is aborted and its lease ends, so that another
   * may try. Default 600 000 ms.
   */
  handleLimitMs?: number;
  /** Messages out at once in the whole fleet. Default 1 000. */
  maxAckPending?: number;
  logger: Logger;
  /**
   * Handles one message; may run twice for the same one. Returning acks it. Throwing gives it back,
   * to be delivered again after a growing delay. A handler that calls `ack`, `nak` or `term` itself
   * has settled it.
   */
  handle(message: JsMsg, signal: AbortSignal): Promise<void>;
};

export type Consuming = {
  /** Takes no more messages, aborts the handlers' signal and waits until they have returned. */
  stop(): Promise<void>;
};

const RETRY_FIRST_MS = 250;
const RETRY_MAX_MS = 30_000;
const RESTART_MS = 500;
const HANDLE_LIMIT_MS = 600_000;
/**
 * A consumer whose leader died is asked again after two heartbeats that did not come; by the
 * library's own default that takes 30 s, far longer than the election of the next leader.
 */
const PULL = { expires: 20_000, idle_heartbeat: 2_000 };
const CONSUMER_EXISTS = new Set([10013, 10105, 10148]);

/** Delay before delivery `attempt` + 1: doubled each time up to 30 s; `random` is in [0, 1). */
export function retryDelayMs(attempt: number, random: number): number {
  const full = Math.min(RETRY_MAX_MS, RETRY_FIRST_MS * 2 ** Math.min(attempt - 1, 20));
  return Math.round(full / 2 + (full / 2) * random);
}

/** Creates the durable consumer, or brings one that exists to these settings. */
export async function ensureConsumer(broker: Broker, options: ConsumeOptions): Promise<void> {
  const config: Partial<ConsumerConfig> = {
    durable_name: options.durable,
    ack_policy: AckPolicy.Explicit,
    deliver_policy: DeliverPolicy.All,
    ack_wait: toNanos(options.ackWaitMs),
    max_deliver: options.maxDeliver,
    max_ack_pending: options.maxAckPending ?? 1_000,
    ...(options.filterSubjects && { filter_subjects: [...options.filterSubjects] }),
  };
  try {
    await broker.jsm.consumers.add(options.stream, config);
  } catch (error) {
    if (!(error instanceof JetStreamApiError && CONSUMER_EXISTS.has(error.code))) throw error;
    await broker.jsm.consumers.update(options.stream, options.durable, config);
  }
}

/**
 * Hands the messages of a durable consumer to `handle` until stopped, through lost connections,
 * broker restarts and a consumer that somebody deleted.
 */
export function consumeDurable(broker: Broker, options: ConsumeOptions): Consuming {
  const stopping = new AbortController();
  const running = new Set<Promise<void>>();
  const loop = superviseLoop(broker, options, stopping.signal, running);
  return {
    async stop() {
      stopping.abort();
      await loop;
      await Promise.all(running);
    },
  };
}

async function superviseLoop(
  broker: Broker,
  options: ConsumeOptions,
  signal: AbortSignal,
  running: Set<Promise<void>>,
): Promise<void> {
  const { logger, stream, durable } = options;
  while (!signal.aborted) {
    try {
      await ensureConsumer(broker, options);
      await consumeUntilEnd(broker, options, signal, running);
    } catch (error) {
      if (broker.nc.isClosed()) return;
      logger.warn({ err: error, stream, durable }, 'consumer interrupted; starting it again');
    }
    await pause(RESTART_MS, signal);
  }
}

/** Returns when `signal` is aborted, or the consumer or the connection is gone. */
async function consumeUntilEnd(
  broker: Broker,
  options: ConsumeOptions,
  signal: AbortSignal,
  running: Set<Promise<void>>,
): Promise<void> {
  const { stream, durable, concurrency = 1, prefetch = concurrency } = options;
  const consumer = await broker.js.consumers.get(stream, durable);
  const messages = await consumer.consume({ max_messages: prefetch, ...PULL });
  // Not close(): that one waits for an iteration, which may not have begun.
  const end = () => messages.stop();
  signal.addEventListener('abort', end, { once: true });
  try {
    if (signal.aborted) return end();
    void watchConsumer(messages, options);
    for await (const message of messages) {
      if (options.passesOver?.(message)) {
        message.ack();
        continue;
      }
      track(running, settle(message, options, signal));
      if (running.size >= concurrency) await Promise.race(running);
    }
  } finally {
    signal.removeEventListener('abort', end);
  }
}

/** Ends the iteration when the consumer is gone, so that the loop makes it anew. */
async function watchConsumer(messages: ConsumerMessages, options: ConsumeOptions): Promise<void> {
  const { logger, stream, durable } = options;
  for await (const status of messages.status()) {
    switch (status.type) {
      case 'consumer_not_found':
      case 'consumer_deleted':
      case 'stream_not_found':
        logger.warn({ stream, durable, status: status.type }, 'consumer is gone');
        messages.stop();
        return;
      case 'heartbeats_missed':
      case 'exceeded_limits':
        logger.warn({ stream, durable, status }, 'consumer status');
        break;
      default:
        break;
    }
  }
}

/** Never rejects: what cannot be answered is delivered again. */
async function settle(message: JsMsg, options: ConsumeOptions, signal: AbortSignal): Promise<void> {
  const { stream, durable, logger } = options;
  const about = { stream, durable, seq: message.seq, attempt: message.info.deliveryCount };
  const answer = (send: () => void) => {
    try {
      send();
    } catch (error) {
      logger.warn({ err: error, ...about }, 'the answer could not be sent');
    }
  };
  const late = new AbortController();
  const limitMs = options.handleLimitMs ?? HANDLE_LIMIT_MS;
  const limit = setTimeout(() => late.abort(new Error(`took over ${limitMs} ms`)), limitMs);
  const beat = () => {
    if (!late.signal.aborted) answer(() => message.working());
  };
  const alive = setInterval(beat, Math.ceil(options.ackWaitMs / 3));
  try {
    await options.handle(message, AbortSignal.any([signal, late.signal]));
    answer(() => message.ack());
  } catch (error) {
    const delayMs = retryDelayMs(about.attempt, Math.random());
    logger.warn({ err: error, ...about, delayMs }, 'not handled; it will be delivered again');
    answer(() => message.nak(delayMs));
  } finally {
    clearInterval(alive);
    clearTimeout(limit);
  }
}

function track(running: Set<Promise<void>>, task: Promise<void>): void {
  running.add(task);
  void task.finally(() => running.delete(task));
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  // Aborting is how the pause is cut short, not a failure.
  await sleep(ms, undefined, { signal }).catch(() => undefined);
}
