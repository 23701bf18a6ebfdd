import type { JsMsg } from '@nats-io/jetstream';
import type { Logger } from 'pino';
import { type Broker, type Consuming, consumeDurable, retryDelayMs } from '#libs/broker';
import { type EventType, isAppError, type StoredEvent } from '#libs/contracts';
import { decodeEvent } from './codec.ts';
import { setAside } from './dead.ts';
import { LEDGER_STREAM } from './subjects.ts';

/** Thrown by a handler to see the same event again after a while; not an error. */
export class Later extends Error {
  readonly delayMs: number;
  constructor(delayMs: number) {
    super(`again in ${delayMs} ms`);
    this.delayMs = delayMs;
  }
}

export type ReactorOptions = {
  /** Name of the durable consumer; every process with this name shares the work. */
  name: string;
  /** Types that the handler wants; others are acked unseen. */
  types: readonly EventType[];
  /** Events of one key are handled one after the other in this process. */
  key: (event: StoredEvent) => string;
  /**
   * Handles one event. May run twice, and after later events: it looks at the whole current state,
   * takes the event as a hint, and appends with derived ids.
   */
  handle: (event: StoredEvent, signal: AbortSignal) => Promise<void>;
  logger: Logger;
  /** Handlers at work at once. Default 32. */
  concurrency?: number;
};

const ACK_WAIT_MS = 30_000;
/** Most events are of types that a reactor does not want. */
const PREFETCH = 256;
/** Errors that are not for waiting out are tried so often, then set aside. */
const DELIVERIES_MAX = 8;

/** Follows the ledger as a durable consumer and hands events to a handler, at least once each. */
export function startReactor(broker: Broker, options: ReactorOptions): Consuming {
  const { logger } = options;
  const wanted = new Set<EventType>(options.types);
  const inTurn = createTurns();

  const passesOver = (message: JsMsg): boolean => {
    const decoded = decodeEvent(message.data, message.seq, message.subject);
    if (decoded.ok) return !wanted.has(decoded.event.type);
    // The views list it; for a reactor there is nothing to react to.
    logger.warn({ seq: message.seq, reason: decoded.reason }, 'not an event; passed over');
    return true;
  };

  const handle = async (message: JsMsg, signal: AbortSignal): Promise<void> => {
    const decoded = decodeEvent(message.data, message.seq, message.subject);
    if (!decoded.ok) return;
    const { event } = decoded;
    try {
      await inTurn(options.key(event), () => options.handle(event, signal));
    } catch (error) {
      await onFailure(message, event, error);
    }
  };

  const onFailure = async (message: JsMsg, event: StoredEvent, error: unknown): Promise<void> => {
    if (error instanceof Later) return message.nak(error.delayMs);
    const deliveries = message.info.deliveryCount;
    const context = { err: error, seq: event.seq, type: event.type, deliveries };
    if (isTransient(error) || deliveries < DELIVERIES_MAX) {
      logger.warn(context, 'reaction failed; it will be tried again');
      return message.nak(retryDelayMs(deliveries, Math.random()));
    }
    logger.error(context, 'reaction failed for good; the event is set aside');
    await setAside(broker, {
      channel: `reactor-${options.name}`,
      code: isAppError(error) ? error.code : 'INTERNAL',
      reason: error instanceof Error ? error.message : String(error),
      source: { stream: LEDGER_STREAM, seq: event.seq, subject: message.subject },
      at: new Date().toISOString(),
      data: message.data,
    });
  };

  return consumeDurable(broker, {
    stream: LEDGER_STREAM,
    durable: options.name,
    ackWaitMs: ACK_WAIT_MS,
    maxDeliver: -1,
    concurrency: options.concurrency ?? 32,
    prefetch: PREFETCH,
    logger,
    passesOver,
    handle,
  });
}

/** Waiting helps: the broker or another role is away, or somebody else wrote at the same moment. */
function isTransient(error: unknown): boolean {
  return isAppError(error) && error.retry !== 'never' && error.code !== 'INTERNAL';
}

/** Runs tasks of one key one after the other, tasks of different keys at once. */
export function createTurns(): <T>(key: string, task: () => Promise<T>) => Promise<T> {
  const tails = new Map<string, Promise<unknown>>();
  return async (key, task) => {
    const before = tails.get(key);
    const run = before === undefined ? task() : before.then(task, task);
    tails.set(key, run);
    try {
      return await run;
    } finally {
      if (tails.get(key) === run) tails.delete(key);
    }
  };
}
