import { type API, AppError, type InputOf, invalid } from '#libs/contracts';
import {
  decideDiscard,
  decideRedrive,
  type Delivery,
  type DeliveryEvent,
  type DeliveryRow,
  evolveDelivery,
  isDeliveryId,
  listDeliveries,
  type Outbox,
  type StoredDelivery,
} from '#libs/outbox';

const TRIES = 10;

/** One page of deliveries; the cursor is a place in the queue. */
export function listPage(
  { projection }: Outbox,
  { limit, cursor, target, channel, state }: InputOf<typeof API.outbox.deliveries>,
) {
  if (cursor !== undefined && !/^\d{1,15}$/.test(cursor)) {
    throw invalid('cursor', 'is not a cursor of this list');
  }
  const before = cursor === undefined ? undefined : Number(cursor);
  return projection.read((reader) => {
    const rows = listDeliveries(reader, { target, channel, state, before, limit: limit + 1 });
    const deliveries = rows.slice(0, limit);
    const last = rows.length > limit ? deliveries.at(-1) : undefined;
    const next_cursor = last === undefined ? null : String(last.queued_seq);
    return { deliveries, next_cursor, as_of: reader.seq };
  });
}

/** @throws {DELIVERY_NOT_FOUND} */
export async function getDelivery({ store }: Outbox, deliveryId: string): Promise<StoredDelivery> {
  const found = isDeliveryId(deliveryId) ? await store.find(deliveryId) : undefined;
  if (found !== undefined) return found;
  throw new AppError('DELIVERY_NOT_FOUND', { id: deliveryId }, { field: 'delivery_id' });
}

export function redrive(outbox: Outbox, deliveryId: string, now: () => Date) {
  return change(outbox, deliveryId, 'redriving it', (one) => decideRedrive(one, now()));
}

export function discard(outbox: Outbox, deliveryId: string, now: () => Date) {
  return change(outbox, deliveryId, 'discarding it', (one) => decideDiscard(one, now()));
}

/** @throws {ILLEGAL_TRANSITION} · {DELIVERY_NOT_FOUND} · {VERSION_CONFLICT} */
async function change(
  outbox: Outbox,
  deliveryId: string,
  what: string,
  decide: (one: Delivery) => DeliveryEvent | undefined,
): Promise<DeliveryRow> {
  let stored = await getDelivery(outbox, deliveryId);
  for (let tries = 0; tries < TRIES; tries += 1) {
    const { delivery, seq } = stored;
    const event = decide(delivery);
    if (event === undefined) {
      throw new AppError('ILLEGAL_TRANSITION', { what, status: delivery.state });
    }
    const after = evolveDelivery(delivery, event, seq);
    const saved = await outbox.store.replace(after, seq);
    if (saved.ok) return rowOf({ delivery: after, delivery_id: deliveryId, seq: saved.seq });
    stored = saved.current ?? (await getDelivery(outbox, deliveryId));
  }
  const at = { subject: deliveryId, actual: stored.seq, expected: 'another' };
  throw new AppError('VERSION_CONFLICT', at);
}

/** A delivery as lists show it. */
export function rowOf({ delivery, delivery_id, seq }: StoredDelivery): DeliveryRow {
  const { body, queued_seq, ...rest } = delivery;
  const body_bytes = body === null ? 0 : Buffer.byteLength(body);
  return { ...rest, delivery_id, seq, queued_seq: queued_seq ?? seq, body_bytes };
}
