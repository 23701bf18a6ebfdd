import { AppError, invalid, isId } from '#libs/contracts';
import { TIMERS } from '#streams';
import type { JsMsg } from '@nats-io/jetstream';
import type { Logger } from 'pino';
import type { Broker } from './connect.ts';
import { type Consuming, consumeDurable } from './consume.ts';
import { toTtl } from './durations.ts';
import { callBroker } from './failures.ts';

export type Timer = {
  /** What the timer is for, as `order-deadline`; consumers choose by it. */
  kind: string;
  /** Names the timer within its kind: setting it again replaces it. */
  id: string;
  /** When it fires; at once if that has passed, also while nobody was running. */
  at: Date;
  /** JSON value, at most 32 KiB. */
  payload: unknown;
};

export type FiredTimer = {
  kind: string;
  id: string;
  payload: unknown;
  firedAt: Date;
  /** 1 the first time, more when a handler threw or died before. */
  attempt: number;
};

export type ConsumeTimersOptions = {
  durable: string;
  kinds: readonly string[];
  logger: Logger;
  /** May run twice for one timer, and for one that was cancelled too late. Throwing retries. */
  handle(timer: FiredTimer, signal: AbortSignal): Promise<void>;
  /** Default 30 000 ms; a handler at work extends it. */
  ackWaitMs?: number;
  /** Default 20, with growing delays: some minutes. */
  maxDeliver?: number;
  /** Default 1. */
  concurrency?: number;
};

const PAYLOAD_LIMIT_BYTES = 32 * 1024;
/** How long a fired timer waits for a consumer that is down. */
const FIRED_TTL_MS = 7 * 86_400_000;

/**
 * Sets a one-shot timer, stored by the broker; survives restarts of everything.
 *
 * @throws {INVALID_REQUEST} kind or id is not an id · {PAYLOAD_TOO_LARGE}
 * @throws {DEPENDENCY_UNAVAILABLE} not known to be stored; set it again
 */
export async function scheduleTimer(broker: Broker, timer: Timer): Promise<void> {
  const data = JSON.stringify(timer.payload ?? null);
  if (Buffer.byteLength(data) > PAYLOAD_LIMIT_BYTES) {
    throw new AppError('PAYLOAD_TOO_LARGE', { what: 'timer payload', limit: PAYLOAD_LIMIT_BYTES });
  }
  const subject = timerSubject(timer.kind, timer.id);
  // No message id: a timer that was cancelled may be set again to the same time.
  await callBroker(broker, () =>
    broker.js.publish(subject, data, {
      expect: { streamName: TIMERS.name },
      schedule: {
        specification: timer.at,
        target: firedSubject(timer.kind, timer.id),
        ttl: toTtl(FIRED_TTL_MS),
      },
    }),
  );
}

/** Cancels a timer; nothing happens if there is none. One that is firing may still be handled. */
export async function cancelTimer(broker: Broker, kind: string, id: string): Promise<void> {
  const filter = timerSubject(kind, id);
  await callBroker(broker, () => broker.jsm.streams.purge(TIMERS.name, { filter }));
}

/** Hands fired timers of these kinds to `handle`, at least once each, until stopped. */
export function consumeTimers(broker: Broker, options: ConsumeTimersOptions): Consuming {
  return consumeDurable(broker, {
    stream: TIMERS.name,
    durable: options.durable,
    filterSubjects: options.kinds.map((kind) => `tmr.v1.fired.${token('kind', kind)}.*`),
    ackWaitMs: options.ackWaitMs ?? 30_000,
    maxDeliver: options.maxDeliver ?? 20,
    logger: options.logger,
    ...(options.concurrency !== undefined && { concurrency: options.concurrency }),
    handle: (message, signal) => options.handle(toFiredTimer(message), signal),
  });
}

function toFiredTimer(message: JsMsg): FiredTimer {
  const [kind, id] = message.subject.split('.').slice(3) as [string, string];
  return {
    kind,
    id,
    payload: message.json(),
    firedAt: message.time,
    attempt: message.info.deliveryCount,
  };
}

function timerSubject(kind: string, id: string): string {
  return `tmr.v1.${token('kind', kind)}.${token('id', id)}`;
}

function firedSubject(kind: string, id: string): string {
  return `tmr.v1.fired.${token('kind', kind)}.${token('id', id)}`;
}

function token(field: string, value: string): string {
  if (!isId(value)) throw invalid(field, 'must be an id');
  return value;
}
