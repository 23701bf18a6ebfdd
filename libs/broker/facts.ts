import { JetStreamApiCodes, JetStreamApiError } from '@nats-io/jetstream';
import type { Broker } from './connect.ts';
import { callBroker } from './failures.ts';

const MOVED_ON = new Set<number>([
  JetStreamApiCodes.StreamWrongLastSequence,
  JetStreamApiCodes.StreamWrongLastSequenceUnknown,
]);
const TIMEOUT_MS = 5_000;

/**
 * The last message on a literal subject, asked of the stream's leader; undefined: none.
 * @throws {DEPENDENCY_UNAVAILABLE}
 */
export function readLast(
  broker: Broker,
  stream: string,
  subject: string,
): Promise<{ seq: number; data: Uint8Array } | undefined> {
  return callBroker(broker, async () => {
    const message = await broker.jsm.streams.getMessage(stream, { last_by_subj: subject });
    return message === null ? undefined : { seq: message.seq, data: message.data };
  });
}

/**
 * Appends to a literal subject whose last message has sequence `expected` (0: it has none).
 * @returns its sequence; undefined: the subject has moved on
 * @throws {DEPENDENCY_UNAVAILABLE} not known to be stored; read the subject and decide again
 */
export function publishAt(
  broker: Broker,
  subject: string,
  data: Uint8Array,
  expected: number,
): Promise<number | undefined> {
  return callBroker(broker, async () => {
    try {
      const expect = { lastSubjectSequence: expected };
      // Sent once: a repeat whose first ack was lost would look like a race that others won.
      const ack = await broker.js.publish(subject, data, {
        expect,
        timeout: TIMEOUT_MS,
        retries: 1,
      });
      return ack.seq;
    } catch (error) {
      if (error instanceof JetStreamApiError && MOVED_ON.has(error.code)) return undefined;
      throw error;
    }
  });
}
