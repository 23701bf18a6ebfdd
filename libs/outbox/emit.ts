import { createHash } from 'node:crypto';
import {
  AppError,
  type Channel,
  demandSnapshot,
  invalid,
  LIMITS,
  parse,
  sentMilestoneEvent,
} from '#libs/contracts';
import type { Delivery, DeliveryState } from './delivery.ts';
import type { OutboxStore } from './store.ts';
import { deliveryIdOf } from './subjects.ts';

/** One body as the contract wants it, ready to be sent to any number of targets. */
export type Envelope = {
  channel: Channel;
  /** milestoneId or summaryId. */
  itemId: string;
  idempotencyKey: string;
  sentAtUtc: string;
  /** Byte for byte what is sent and signed. */
  body: string;
  fingerprint: string | null;
};

export type Emitted = {
  target: string;
  delivery_id: string;
  /** Sequence of its newest record. */
  seq: number;
  state: DeliveryState;
  /** True: this very event was emitted before; nothing new was queued. */
  duplicate: boolean;
};

export type Emission = {
  idempotency_key: string;
  item_id: string;
  deliveries: Emitted[];
};

export type EmitOptions = {
  store: OutboxStore;
  /** Names of targets; at least one. */
  targets: readonly string[];
  now: Date;
};

/**
 * Queues a milestone for each target.
 * @param event checked strictly, so that no receiver has to guess
 * @throws {INVALID_REQUEST} `field` names the first bad one; nothing is queued
 * @throws {PAYLOAD_TOO_LARGE} · {DEPENDENCY_UNAVAILABLE} emit it again: what is queued is not doubled
 */
export async function emitMilestone(event: unknown, options: EmitOptions): Promise<Emission> {
  return emit(milestoneEnvelope(event, options.now), options);
}

/**
 * Queues a demand summary for each target; as `emitMilestone`.
 * @param fingerprint digest of its counters, kept beside the delivery
 */
export async function emitDemand(
  snapshot: unknown,
  options: EmitOptions & { fingerprint?: string },
): Promise<Emission> {
  const envelope = demandEnvelope(snapshot, options.now, options.fingerprint ?? null);
  return emit(envelope, options);
}

/** @throws {INVALID_REQUEST} */
export function milestoneEnvelope(given: unknown, now: Date): Envelope {
  const event = parse(sentMilestoneEvent, given, 'event');
  const idempotencyKey = keyOf('milestones', event.milestoneId, event);
  const sentAtUtc = now.toISOString();
  const body = JSON.stringify({ idempotencyKey, sentAtUtc, event });
  const itemId = event.milestoneId;
  return { channel: 'milestones', itemId, idempotencyKey, sentAtUtc, body, fingerprint: null };
}

/** @throws {INVALID_REQUEST} */
export function demandEnvelope(given: unknown, now: Date, fingerprint: string | null): Envelope {
  const snapshot = parse(demandSnapshot, given, 'snapshot');
  const idempotencyKey = keyOf('demand', snapshot.summaryId, snapshot);
  const sentAtUtc = now.toISOString();
  const body = JSON.stringify({ idempotencyKey, sentAtUtc, snapshot });
  const itemId = snapshot.summaryId;
  return { channel: 'demand', itemId, idempotencyKey, sentAtUtc, body, fingerprint };
}

/** The same event has the same key, whoever emits it and however often. */
function keyOf(channel: Channel, itemId: string, content: object): string {
  const text = JSON.stringify([channel, itemId, sorted(content)]);
  return createHash('sha256').update(text).digest('hex');
}

/** With the members of each object in one order. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(entries.map(([name, member]) => [name, sorted(member)]));
}

async function emit(envelope: Envelope, options: EmitOptions): Promise<Emission> {
  const { store, targets } = options;
  if (targets.length === 0) throw invalid('targets', 'must name at least one target');
  const bytes = Buffer.byteLength(envelope.body);
  if (bytes > LIMITS.signedBodyBytes) {
    throw new AppError('PAYLOAD_TOO_LARGE', { what: 'event', limit: LIMITS.signedBodyBytes });
  }
  const { channel, idempotencyKey, itemId } = envelope;
  const deliveries: Emitted[] = [];
  for (const target of new Set(targets)) {
    const delivery_id = deliveryIdOf(channel, target, idempotencyKey);
    const saved = await store.create(newDelivery(envelope, target));
    if (saved.ok) {
      deliveries.push({
        target,
        delivery_id,
        seq: saved.seq,
        state: 'pending',
        duplicate: false,
      });
      continue;
    }
    // Gone since: it was there, and that is what counts.
    const { seq = 0, delivery } = saved.current ?? {};
    const state = delivery?.state ?? 'delivered';
    deliveries.push({ target, delivery_id, seq, state, duplicate: true });
  }
  return { idempotency_key: idempotencyKey, item_id: itemId, deliveries };
}

export function newDelivery(envelope: Envelope, target: string): Delivery {
  const { channel, itemId, idempotencyKey, sentAtUtc, body, fingerprint } = envelope;
  return {
    channel,
    target,
    idempotency_key: idempotencyKey,
    item_id: itemId,
    state: 'pending',
    attempts: 0,
    queued_seq: null,
    queued_at: sentAtUtc,
    next_attempt_at: null,
    last_attempt_at: null,
    settled_at: null,
    last_error: null,
    fingerprint,
    body,
  };
}
