import type { JsMsg } from '@nats-io/jetstream';
import { type Broker, type Consuming, consumeDurable } from '#libs/broker';
import { type Channel, CHANNELS, type IngestAnswer, isAppError } from '#libs/contracts';
import { setAside } from '#libs/eventlog';
import { SIGNATURE_HEADER, TIMESTAMP_HEADER } from '#libs/signing';
import { INTAKE, SUBJECTS } from '#streams';
import { headers as newHeaders, Match, type Msg, type MsgHdrs } from 'nats';
import type { Logger } from 'pino';
import type { Outcome, Receiver } from './receiver.ts';

const QUEUE_GROUP = 'intake';
const RUNNING_MAX = 1_024;
const ACK_WAIT_MS = 30_000;
const CONCURRENCY = 64;

/** `signed.v1.<channel>`: deliveries that are answered. */
export function requestSubject(channel: Channel): string {
  return `signed.v1.${channel}`;
}

export type Listening = { stop(): Promise<void> };

/**
 * Answers deliveries on `signed.v1.<channel>` with the contract's body. The answer also says where
 * the delivery lies (`stream`, `seq`, `duplicate`), so that it is an ack to a JetStream publish. No
 * stream takes these subjects: it would answer every request before we could.
 */
export function answerRequests(broker: Broker, receiver: Receiver, logger: Logger): Listening {
  const running = new Set<Promise<void>>();
  const take = async (channel: Channel, msg: Msg): Promise<void> => {
    const outcome =
      running.size > RUNNING_MAX
        ? unavailable('too many deliveries at once; send again')
        : await takeOne(receiver, channel, msg, logger);
    if (msg.reply === undefined || msg.reply === '') return;
    const headers = newHeaders();
    headers.set('Ironclaw-Status', String(outcome.status));
    msg.respond(JSON.stringify({ ...outcome.answer, ...outcome.place }), { headers });
  };
  const subscriptions = CHANNELS.map((channel) =>
    broker.nc.subscribe(requestSubject(channel), {
      queue: QUEUE_GROUP,
      callback: (error, msg) => {
        if (error !== null) return logger.error({ err: error }, 'subscription failed');
        const work = take(channel, msg)
          // The connection is closed: the sender meets its time-out and sends again.
          .catch((failure: unknown) => logger.warn({ err: failure }, 'answer could not be sent'))
          .finally(() => running.delete(work));
        running.add(work);
      },
    }),
  );
  return {
    async stop() {
      await Promise.all(subscriptions.map((subscription) => subscription.drain()));
      await Promise.all(running);
    },
  };
}

async function takeOne(
  receiver: Receiver,
  channel: Channel,
  msg: Msg,
  logger: Logger,
): Promise<Outcome> {
  const arrivedMs = Date.now();
  try {
    const given = { channel, body: msg.data, arrivedMs, ...signedHeaders(msg.headers) };
    return await receiver.take(given, { stream: '', seq: 0, subject: msg.subject });
  } catch (error) {
    if (isAppError(error)) return refusal(error.status, error.message);
    logger.error({ err: error, channel }, 'delivery failed');
    return refusal(500, 'something failed inside; send again');
  }
}

/** Takes what waits on `signed.v1.queue.<channel>`: each message ends in the feed or in DEAD. */
export function takeQueued(broker: Broker, receiver: Receiver, logger: Logger): Consuming {
  return consumeDurable(broker, {
    stream: INTAKE.name,
    durable: 'intake-signed',
    filterSubjects: [SUBJECTS.signedQueue],
    ackWaitMs: ACK_WAIT_MS,
    maxDeliver: -1,
    concurrency: CONCURRENCY,
    logger,
    handle: async (message) => {
      const source = { stream: INTAKE.name, seq: message.seq, subject: message.subject };
      const channel = channelOf(message);
      if (channel === undefined) {
        const [code, reason] = ['INVALID_REQUEST', 'its subject names no channel'];
        const at = new Date().toISOString();
        await setAside(broker, { channel: 'intake', code, reason, source, at, data: message.data });
        return;
      }
      // The time it waited here is not its sender's: the window is about when it came.
      const arrivedMs = Math.floor(Number(message.timestampNanos / 1_000_000n));
      const given = { channel, body: message.data, arrivedMs, ...signedHeaders(message.headers) };
      await receiver.take(given, source);
    },
  });
}

function channelOf(message: JsMsg): Channel | undefined {
  const name = message.subject.split('.').at(-1);
  return CHANNELS.find((channel) => channel === name);
}

/** A header that is given twice is joined, as over HTTP, and so fits nothing. */
function signedHeaders(headers: MsgHdrs | undefined) {
  const all = (name: string): string | undefined =>
    headers?.values(name, Match.IgnoreCase).join(', ');
  return { signature: all(SIGNATURE_HEADER), timestamp: all(TIMESTAMP_HEADER) };
}

function unavailable(reason: string): Outcome {
  return refusal(503, reason);
}

function refusal(status: number, reason: string): Outcome {
  const answer: IngestAnswer = { ok: false, status: 'rejected', reason };
  return { status, answer };
}
