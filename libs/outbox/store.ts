import { type Broker, callBroker, toTtl } from '#libs/broker';
import { AppError, parse } from '#libs/contracts';
import { OUTBOX } from '#streams';
import { JetStreamApiError } from '@nats-io/jetstream';
import { type Delivery, delivery, SETTLED_STATES } from './delivery.ts';
import { deliveryIdOf, deliverySubject } from './subjects.ts';

/** A delivery as it lies in the stream. */
export type StoredDelivery = { delivery: Delivery; delivery_id: string; seq: number };

/** What was written, or what was found in its place. */
export type Saved =
  | { ok: true; seq: number }
  /** Somebody else has written this delivery since; undefined: it is gone. */
  | { ok: false; current: StoredDelivery | undefined };

export type OutboxStore = {
  /** Writes a delivery that is not there yet. @throws {DEPENDENCY_UNAVAILABLE} */
  create(one: Delivery): Promise<Saved>;
  /** Replaces the record at `seq`. @throws {DEPENDENCY_UNAVAILABLE} it may be stored, or not */
  replace(one: Delivery, seq: number): Promise<Saved>;
  /** The newest record of a delivery. @throws {DEPENDENCY_UNAVAILABLE} */
  find(deliveryId: string): Promise<StoredDelivery | undefined>;
};

/** A version that does not fit: with a number, and with a write in flight. */
const WRONG_LAST_SEQUENCE = new Set([10071, 10164]);
/** Of a stream that takes no more. */
const STORE_FAILED = 10077;

/** @param settledKeepMs so long the records of what was delivered are kept */
export function createOutboxStore(broker: Broker, settledKeepMs: number): OutboxStore {
  const find = async (deliveryId: string): Promise<StoredDelivery | undefined> => {
    const message = await callBroker(broker, () =>
      broker.jsm.streams.getMessage(OUTBOX.name, { last_by_subj: deliverySubject(deliveryId) }),
    );
    if (message === null) return undefined;
    return { delivery: decodeDelivery(message.data), delivery_id: deliveryId, seq: message.seq };
  };

  const write = async (one: Delivery, lastSeq: number): Promise<Saved> => {
    const deliveryId = deliveryIdOf(one.channel, one.target, one.idempotency_key);
    const settled = SETTLED_STATES.includes(one.state);
    try {
      const ack = await callBroker(broker, () =>
        broker.js.publish(deliverySubject(deliveryId), JSON.stringify(one), {
          expect: { streamName: OUTBOX.name, lastSubjectSequence: lastSeq },
          ...(settled && { ttl: toTtl(settledKeepMs) }),
        }),
      );
      return { ok: true, seq: ack.seq };
    } catch (error) {
      const code = codeOf(error);
      if (code === STORE_FAILED) throw full(error);
      if (code === undefined || !WRONG_LAST_SEQUENCE.has(code)) throw error;
      return { ok: false, current: await find(deliveryId) };
    }
  };

  return {
    find,
    create: (one) => write(one, 0),
    replace: write,
  };
}

/** @throws {INVALID_REQUEST} the bytes are no delivery */
export function decodeDelivery(data: Uint8Array): Delivery {
  return parse(delivery, JSON.parse(new TextDecoder().decode(data)));
}

function codeOf(error: unknown): number | undefined {
  const cause = error instanceof Error && error.cause !== undefined ? error.cause : error;
  return cause instanceof JetStreamApiError ? cause.code : undefined;
}

function full(cause: unknown): AppError {
  const reason = 'it takes no more; redrive or discard what is dead (ironclaw outbox list)';
  return new AppError('DEPENDENCY_UNAVAILABLE', { dependency: 'The outbox', reason }, { cause });
}
