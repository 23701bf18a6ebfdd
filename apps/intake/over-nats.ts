import { type Broker, type Consuming, consumeDurable } from '#libs/broker';
import { type Channel, CHANNELS, type IngestAnswer, isAppError } from '#libs/contracts';
import { setAside } from '#libs/eventlog';
import { type Answering, answerSubjects, joinedHeader, type SubjectRequest } from '#libs/service';
import { SIGNATURE_HEADER, TIMESTAMP_HEADER } from '#libs/signing';
import { INTAKE, SUBJECTS } from '#streams';
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

/**
 * Answers deliveries on `signed.v1.<channel>` with the contract's body. The answer also says where
 * the delivery lies (`stream`, `seq`, `duplicate`), so that it is an ack to a JetStream publish. No
 * stream takes these subjects: it would answer every request before we could.
 */
export function answerRequests(broker: Broker, receiver: Receiver, logger: Logger): Answering {
  return answerSubjects(broker, {
    subjects: CHANNELS.map(requestSubject),
    queue: QUEUE_GROUP,
    maxConcurrent: RUNNING_MAX,
    logger,
    answer: async (request, busy) => {
      const { status, answer, place } = busy
        ? refusal(503, 'too many deliveries at once; send again')
        : await takeOne(receiver, request, logger);
      return { status, body: { ...answer, ...place } };
    },
  });
}

async function takeOne(
  receiver: Receiver,
  { subject, data, header }: SubjectRequest,
  logger: Logger,
): Promise<Outcome> {
  const channel = channelOf(subject) as Channel;
  try {
    const given = { channel, body: data, arrivedMs: Date.now(), ...signedHeaders(header) };
    return await receiver.take(given, { stream: '', seq: 0, subject });
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
      const channel = channelOf(message.subject);
      if (channel === undefined) {
        const [code, reason] = ['INVALID_REQUEST', 'its subject names no channel'];
        const at = new Date().toISOString();
        await setAside(broker, { channel: 'intake', code, reason, source, at, data: message.data });
        return;
      }
      // The time it waited here is not its sender's: the window is about when it came.
      const arrivedMs = Math.floor(Number(message.timestampNanos / 1_000_000n));
      const headers = signedHeaders((name) => joinedHeader(message.headers, name));
      const given = { channel, body: message.data, arrivedMs, ...headers };
      await receiver.take(given, source);
    },
  });
}

function channelOf(subject: string): Channel | undefined {
  const name = subject.split('.').at(-1);
  return CHANNELS.find((channel) => channel === name);
}

function signedHeaders(header: (name: string) => string | undefined) {
  return { signature: header(SIGNATURE_HEADER), timestamp: header(TIMESTAMP_HEADER) };
}

function refusal(status: number, reason: string): Outcome {
  const answer: IngestAnswer = { ok: false, status: 'rejected', reason };
  return { status, answer };
}
