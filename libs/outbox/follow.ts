import { setTimeout as sleep } from 'node:timers/promises';
import { type Broker, callBroker, toNanos } from '#libs/broker';
import { OUTBOX } from '#streams';
import { AckPolicy, DeliverPolicy, type JsMsg, ReplayPolicy } from '@nats-io/jetstream';
import type { Logger } from 'pino';
import type { Delivery } from './delivery.ts';
import { decodeDelivery } from './store.ts';
import { parseDeliverySubject } from './subjects.ts';

/** A record of the outbox, for views. */
export type OutboxRecord = {
  seq: number;
  /** Names the record: a delivery is replaced by its next one. */
  event_id: string;
  delivery_id: string;
  delivery: Delivery;
};

export type OutboxBatch = {
  events: OutboxRecord[];
  poison: { seq: number; subject: string; reason: string; bytes: number }[];
  lastSeq: number;
  pending: number;
};

const BATCH = 500;
const PULL_EXPIRES_MS = 6_000;
const HEARTBEAT_MS = 2_000;
const IDLE_MS = 60_000;
const RESTART_MS = 250;

/** The outbox stream of a broker, in the form that a projection follows. */
export function followOutbox(broker: Broker, logger: Logger) {
  const info = () => callBroker(broker, () => broker.jsm.streams.info(OUTBOX.name));
  return {
    source: (fromSeq: number, signal: AbortSignal) => follow(broker, fromSeq, signal, logger),
    tail: async () => (await info()).state.last_seq,
    streamId: async () => `${OUTBOX.name} ${(await info()).created}`,
  };
}

/** Batches from `fromSeq` on, until `signal` aborts; a broker that is away is waited for. */
async function* follow(
  broker: Broker,
  fromSeq: number,
  signal: AbortSignal,
  logger: Logger,
): AsyncGenerator<OutboxBatch> {
  let next = Math.max(1, fromSeq);
  while (!signal.aborted && !broker.nc.isClosed()) {
    try {
      let endSeq = await emptyEnd(broker);
      for await (const messages of pull(broker, next, signal)) {
        const batch = decode(messages);
        if (batch.pending === 0) {
          batch.lastSeq = Math.max(batch.lastSeq, endSeq, next - 1);
          endSeq = 0;
        }
        next = batch.lastSeq + 1;
        yield batch;
      }
    } catch (error) {
      if (broker.nc.isClosed()) return;
      logger.warn({ err: error, next }, 'the outbox cannot be followed; trying again');
    }
    // Aborting is how the pause is cut short, not a failure.
    await sleep(RESTART_MS, undefined, { signal }).catch(() => undefined);
  }
}

/**
 * The end of the stream, where its last record has gone by its TTL: what was read is then level all
 * the same. 0: the last record is there, and the consumer's replica has it now or will have.
 */
function emptyEnd(broker: Broker): Promise<number> {
  return callBroker(broker, async () => {
    const { state } = await broker.jsm.streams.info(OUTBOX.name);
    const seq = state.last_seq;
    if (seq === 0) return 0;
    return (await broker.jsm.streams.getMessage(OUTBOX.name, { seq })) === null ? seq : 0;
  });
}

/**
 * What one consumer brings, in order and without gaps; first nothing, if there is nothing. Ends
 * where it has lost its place.
 */
async function* pull(
  broker: Broker,
  fromSeq: number,
  signal: AbortSignal,
): AsyncGenerator<JsMsg[]> {
  let pending = 0;
  const consumer = await callBroker(broker, async () => {
    const { name, num_pending } = await broker.jsm.consumers.add(OUTBOX.name, {
      ack_policy: AckPolicy.None,
      deliver_policy: DeliverPolicy.StartSequence,
      opt_start_seq: fromSeq,
      replay_policy: ReplayPolicy.Instant,
      inactive_threshold: toNanos(IDLE_MS),
      mem_storage: true,
      num_replicas: 1,
    });
    pending = num_pending;
    return broker.js.consumers.get(OUTBOX.name, name);
  });
  if (pending === 0) yield [];
  let delivered = 0;
  while (!signal.aborted) {
    const messages = await consumer.fetch({
      max_messages: BATCH,
      expires: PULL_EXPIRES_MS,
      idle_heartbeat: HEARTBEAT_MS,
    });
    const end = (): void => messages.stop();
    signal.addEventListener('abort', end, { once: true });
    // After a lost connection the client asks for the consumer for ever where its server is dead.
    const timer = setTimeout(end, PULL_EXPIRES_MS + 2 * HEARTBEAT_MS);
    try {
      if (signal.aborted) return;
      let held: JsMsg[] = [];
      for await (const message of messages) {
        delivered += 1;
        // Without acks nothing is sent twice: what is missing went to a connection that broke.
        if (message.info.deliverySequence !== delivered) return;
        held.push(message);
        if (message.info.pending > 0 && held.length < BATCH) continue;
        yield held;
        held = [];
      }
      if (held.length > 0) yield held;
    } finally {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      messages.stop();
    }
  }
}

function decode(messages: readonly JsMsg[]): OutboxBatch {
  const batch: OutboxBatch = { events: [], poison: [], lastSeq: 0, pending: 0 };
  for (const { seq, subject, data, info } of messages) {
    batch.lastSeq = seq;
    batch.pending = info.pending;
    try {
      const delivery_id = parseDeliverySubject(subject);
      if (delivery_id === undefined) throw new Error('not the subject of a delivery');
      const one = decodeDelivery(data);
      batch.events.push({ seq, event_id: `${delivery_id}@${seq}`, delivery_id, delivery: one });
    } catch (error) {
      const reason = (error as Error).message;
      batch.poison.push({ seq, subject, reason, bytes: data.length });
    }
  }
  return batch;
}
