import type { JsMsg } from '@nats-io/jetstream';
import type { Logger } from 'pino';
import { type Broker, type Consuming, consumeDurable } from '#libs/broker';
import { isAppError, type JobMessage, jobMessage, parse } from '#libs/contracts';
import { type EventLog, setAside } from '#libs/eventlog';
import { deadLetterJob } from '#libs/orders';
import { createOrderCommands, type OrderCommands } from '#libs/runtime';
import { ADVISORIES, advisorySubjects, INTAKE, JOBS, TIMERS } from '#streams';

/** Queues whose given-up messages are moved, and the channel of DEAD that each goes to. */
const CHANNELS: Readonly<Record<string, string>> = {
  [JOBS.name]: 'jobs',
  [INTAKE.name]: 'intake',
  [TIMERS.name]: 'timers',
};
const ACK_WAIT_MS = 30_000;

type Advisory = { stream: string; stream_seq: number; consumer: string; deliveries: number };

/**
 * Moves messages that were delivered as often as they may be: a copy to DEAD, an end for the order
 * of a job, and the original is deleted, which would else stay in its queue for ever. Every step can
 * be repeated.
 */
export function startExhausted(broker: Broker, log: EventLog, logger: Logger): Consuming {
  const orders = createOrderCommands(log);
  return consumeDurable(broker, {
    stream: ADVISORIES.name,
    durable: 'exhausted',
    // The second one is of messages that were refused: who refuses one sets it aside.
    filterSubjects: Object.keys(CHANNELS).flatMap((stream) => advisorySubjects(stream).slice(0, 1)),
    ackWaitMs: ACK_WAIT_MS,
    maxDeliver: -1,
    logger,
    handle: (message) => move(broker, log, orders, logger, message),
  });
}

async function move(
  broker: Broker,
  log: EventLog,
  orders: OrderCommands,
  logger: Logger,
  message: JsMsg,
): Promise<void> {
  const { stream, stream_seq: seq, consumer, deliveries } = message.json<Advisory>();
  const channel = CHANNELS[stream];
  const original = await broker.jsm.streams.getMessage(stream, { seq });
  if (channel === undefined || original === null) return;
  const { subject, data } = original;
  const reason = `delivered ${deliveries} times to ${consumer}, each time in vain`;
  logger.error({ stream, seq, consumer, deliveries }, 'a message is exhausted; it is set aside');
  const deadSeq = await setAside(broker, {
    channel,
    code: 'EXHAUSTED',
    reason,
    source: { stream, seq, subject },
    at: log.defaults.now().toISOString(),
    data,
  });
  const job = channel === 'jobs' ? readJob(data) : undefined;
  if (job !== undefined) {
    const { attempt } = job;
    await orders.decide(job, (order) => deadLetterJob(order, { attempt, reason, deadSeq }));
  }
  await broker.jsm.streams.deleteMessage(stream, seq);
}

/** The job in the bytes of a message; undefined where it is none. */
export function readJob(data: Uint8Array | string): JobMessage | undefined {
  const text = typeof data === 'string' ? data : new TextDecoder().decode(data);
  try {
    return parse(jobMessage, JSON.parse(text));
  } catch (error) {
    if (error instanceof SyntaxError || isAppError(error)) return undefined;
    throw error;
  }
}
