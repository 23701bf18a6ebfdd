import { isUtf8 } from 'node:buffer';
import { createHash } from 'node:crypto';
import { type Broker, callBroker } from '#libs/broker';
import { isAppError } from '#libs/contracts';
import { deadSubject } from '#libs/eventlog';
import type { Delivery, Rejection } from '#libs/feeds';
import type { Logger } from 'pino';
import type { Source } from './receiver.ts';

/** What is kept of a rejected delivery, as a dead letter of its channel. */
export type RejectedLetter = {
  channel: string;
  /** The reason's class. */
  code: string;
  reason: string;
  source: Source;
  /** The body; empty where the budget for bodies was used up. */
  payload: string;
  encoding: 'text' | 'base64' | 'none';
  at: string;
  delivery: {
    signature: string;
    timestamp: string;
    /** As sent, cut to KEY_CHARS; absent where it is not known. */
    key?: string;
    key_digest?: string;
    /** Hex SHA-256 of the body. */
    digest: string;
    size: number;
  };
};

/** Anybody can send what is rejected: what is kept of it has a budget that refills slowly. */
const LETTERS = { burst: 1_000, perSecond: 5 };
const PAYLOAD_BYTES = { burst: 16 * 1024 * 1024, perSecond: 4 * 1024 };
const KEY_CHARS = 256;
const REASON_CHARS = 500;
const HEADER_CHARS = 256;
const ENCODED_CHARS_MAX = 600 * 1024;
const STORE_MS = 2_000;

export type Rejections = {
  /** Sequence of the newest letter that this process has written; 0: none. */
  lastSeq(): number;
  /**
   * Keeps a rejected delivery. Gives its sequence in DEAD, or undefined where it could not be kept
   * (told in the log): its sender is answered all the same.
   */
  record(delivery: Delivery, rejection: Rejection, source: Source): Promise<number | undefined>;
};

export function createRejections(broker: Broker, logger: Logger): Rejections {
  const letters = bucket(LETTERS);
  const payloads = bucket(PAYLOAD_BYTES);
  let last = 0;
  const publish = async (letter: RejectedLetter): Promise<number> => {
    const { stream, seq } = letter.source;
    const options = stream === '' ? {} : { msgID: `${letter.channel}:${stream}:${seq}` };
    const ack = await callBroker(broker, () =>
      broker.js.publish(deadSubject(letter.channel), JSON.stringify(letter), {
        ...options,
        timeout: STORE_MS,
      }),
    );
    last = Math.max(last, ack.seq);
    return ack.seq;
  };
  return {
    lastSeq: () => last,
    async record(delivery, rejection, source) {
      const { channel, body } = delivery;
      const queued = source.stream !== '';
      if (!queued && !letters.take(1)) {
        logger.warn({ channel, reason: rejection.reason }, 'rejected; too many to keep');
        return undefined;
      }
      const withPayload = queued || payloads.take(body.length);
      try {
        return await publish(letterOf(delivery, rejection, source, withPayload));
      } catch (error) {
        // A queued message must not be given up before its letter is stored.
        if (queued || !isAppError(error, 'DEPENDENCY_UNAVAILABLE')) throw error;
        logger.warn({ err: error, channel, reason: rejection.reason }, 'rejected; not kept');
        return undefined;
      }
    },
  };
}

function letterOf(
  { channel, body, signature, timestamp, arrivedMs }: Delivery,
  { reasonClass, reason, key }: Rejection,
  source: Source,
  withPayload: boolean,
): RejectedLetter {
  const sha256 = (data: Uint8Array | string): string =>
    createHash('sha256').update(data).digest('hex');
  const named =
    key === undefined ? {} : { key: cut(key, KEY_CHARS), key_digest: sha256(key.trim()) };
  return {
    channel,
    code: reasonClass,
    reason: cut(reason, REASON_CHARS),
    source,
    ...(withPayload ? encode(body) : { payload: '', encoding: 'none' as const }),
    at: new Date(arrivedMs).toISOString(),
    delivery: {
      signature: cut(signature ?? '', HEADER_CHARS),
      timestamp: cut(timestamp ?? '', HEADER_CHARS),
      ...named,
      digest: sha256(body),
      size: body.length,
    },
  };
}

/** Text where it is UTF-8 and does not grow much by its escapes. */
function encode(body: Uint8Array): Pick<RejectedLetter, 'payload' | 'encoding'> {
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
  const payload = bytes.toString('utf8');
  const plain = isUtf8(bytes) && JSON.stringify(payload).length <= ENCODED_CHARS_MAX;
  return plain
    ? { payload, encoding: 'text' }
    : { payload: bytes.toString('base64'), encoding: 'base64' };
}

function cut(text: string, chars: number): string {
  return text.length <= chars ? text : `${text.slice(0, chars - 1)}…`;
}

/** A token bucket on the monotonic clock. */
function bucket({ burst, perSecond }: { burst: number; perSecond: number }) {
  let tokens = burst;
  let atMs = performance.now();
  return {
    take(count: number): boolean {
      const nowMs = performance.now();
      tokens = Math.min(burst, tokens + ((nowMs - atMs) / 1_000) * perSecond);
      atMs = nowMs;
      if (tokens < count) return false;
      tokens -= count;
      return true;
    },
  };
}
