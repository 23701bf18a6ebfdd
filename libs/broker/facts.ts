import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { JetStreamApiCodes, JetStreamApiError } from '@nats-io/jetstream';
import { headers as newHeaders, type Msg } from 'nats';
import type { Broker } from './connect.ts';
import { brokerUnavailable, callBroker } from './failures.ts';

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

/**
 * Appends several messages to one literal subject, all or none, whose last message has sequence
 * `expected` (0: it has none; undefined: whatever it has).
 * @returns the sequence of the last; undefined: the subject has moved on
 * @throws {DEPENDENCY_UNAVAILABLE} not known to be stored; read the subject and decide again
 */
export function publishAllAt(
  broker: Broker,
  subject: string,
  messages: readonly Uint8Array[],
  expected: number | undefined,
): Promise<number | undefined> {
  const [only] = messages;
  if (only === undefined) throw new Error('nothing to publish');
  if (messages.length === 1 && expected !== undefined) {
    return publishAt(broker, subject, only, expected);
  }
  return callBroker(broker, async () => {
    if (messages.length === 1) {
      return (await broker.js.publish(subject, only, { timeout: TIMEOUT_MS, retries: 1 })).seq;
    }
    for (let tries = 1; ; tries += 1) {
      const outcome = await commitBatch(broker, subject, messages, expected);
      if (outcome.kind === 'stored') return outcome.seq;
      if (outcome.kind === 'moved on') return undefined;
      if (!outcome.passes || tries === BATCH_TRIES) {
        throw brokerUnavailable(`the batch is refused: ${outcome.reason}`);
      }
      await sleep(BATCH_RETRY_MS);
    }
  });
}

type BatchOutcome =
  | { kind: 'stored'; seq: number }
  | { kind: 'moved on' }
  /** Nothing was stored. `passes`: another try may be taken. */
  | { kind: 'refused'; passes: boolean; reason: string };

/** Too many batches are open, or some of this one got lost: nothing of it was stored. */
const PASSING = new Set([10_167, 10_176, 10_210]);
const BATCH_TRIES = 100;
const BATCH_RETRY_MS = 25;

type BatchAck = { seq?: number; error?: { err_code?: number; description?: string } };

/** ADR-50: the first is a request as well, as only its answer says why a batch was refused. */
async function commitBatch(
  { nc }: Broker,
  subject: string,
  messages: readonly Uint8Array[],
  expected: number | undefined,
): Promise<BatchOutcome> {
  const batchId = randomUUID();
  const answers = messages.map((data, index) => {
    const headers = newHeaders();
    headers.set('Nats-Batch-Id', batchId);
    headers.set('Nats-Batch-Sequence', String(index + 1));
    if (index === 0 && expected !== undefined) {
      headers.set('Nats-Expected-Last-Subject-Sequence', String(expected));
    }
    const last = index === messages.length - 1;
    if (last) headers.set('Nats-Batch-Commit', '1');
    if (index === 0 || last) return nc.request(subject, data, { headers, timeout: TIMEOUT_MS });
    nc.publish(subject, data, { headers });
    return undefined;
  });
  const [opened, committed] = await Promise.all([answers[0], answers.at(-1)]);
  const { seq, error } = ackOf(committed);
  // A refusal names a sequence as well: 0.
  if (error === undefined && seq !== undefined) return { kind: 'stored', seq };
  const refusal = ackOf(opened).error ?? error;
  const { err_code = 0, description: reason = 'no reason is told' } = refusal ?? {};
  if (MOVED_ON.has(err_code)) return { kind: 'moved on' };
  return { kind: 'refused', passes: PASSING.has(err_code), reason };
}

function ackOf(answer: Msg | undefined): BatchAck {
  return answer === undefined || answer.data.length === 0 ? {} : answer.json<BatchAck>();
}
