import { z } from 'zod';
import { channel } from '../feeds.ts';
import { id, timestamp } from '../ids.ts';
import { LIMITS } from '../limits.ts';
import { asOf, healthOf, page } from './common.ts';
import { endpoint } from './endpoint.ts';

const role = 'outbox';

const state = z.enum([
  'pending',
  'retrying',
  'delivered',
  'duplicate',
  'rejected',
  'dead',
  'discarded',
]);
const delivery_id = z.string().max(256);
/** Names of configured targets; none named: those of the settings. */
const targets = z.array(id).min(1).max(LIMITS.targetsPerEmit).optional();

const emission = z.looseObject({
  /** Derived from the content: the same event emitted again is the same delivery. */
  idempotency_key: z.string(),
  /** milestoneId or summaryId. */
  item_id: z.string(),
  deliveries: z.array(
    z.looseObject({
      target: id,
      delivery_id,
      seq: z.int().min(0),
      state,
      /** True: it was emitted before; nothing new was queued. */
      duplicate: z.boolean(),
    }),
  ),
});

const deliveryView = z.looseObject({
  delivery_id,
  channel,
  target: id,
  idempotency_key: z.string(),
  item_id: z.string(),
  state,
  attempts: z.int().min(0),
  queued_at: timestamp,
  next_attempt_at: timestamp.nullable(),
  last_attempt_at: timestamp.nullable(),
  settled_at: timestamp.nullable(),
  last_error: z.string().nullable(),
});

const health = z.enum([
  'degraded',
  'misconfigured',
  'catching-up',
  'publishing',
  'idle',
  'not-configured',
]);
const count = z.int().min(0);
const time = timestamp.nullable();

export const OUTBOX = {
  emitMilestone: endpoint({
    role,
    name: 'emit-milestone',
    method: 'POST',
    path: '/milestones',
    summary: 'Queue a milestone for delivery to targets; it is checked strictly',
    input: z.strictObject({ event: z.record(z.string(), z.unknown()), targets }),
    data: emission,
    status: 202,
    errors: ['UNKNOWN_TARGET'],
    scope: 'ingest',
  }),
  emitDemand: endpoint({
    role,
    name: 'emit-demand',
    method: 'POST',
    path: '/demand',
    summary: 'Queue a demand summary for delivery to targets; it is checked strictly',
    input: z.strictObject({ snapshot: z.record(z.string(), z.unknown()), targets }),
    data: emission,
    status: 202,
    errors: ['UNKNOWN_TARGET'],
    scope: 'ingest',
  }),
  deliveries: endpoint({
    role,
    name: 'deliveries',
    method: 'GET',
    path: '/deliveries',
    summary: 'Deliveries and their states, the one queued last first',
    input: z.strictObject({
      target: id.optional(),
      channel: channel.optional(),
      state: state.optional(),
      ...page,
    }),
    query: ['target', 'channel', 'state', ...Object.keys(page)],
    data: z.looseObject({
      deliveries: z.array(deliveryView),
      next_cursor: z.string().nullable(),
      ...asOf,
    }),
    errors: ['VIEW_BEHIND'],
  }),
  delivery: endpoint({
    role,
    name: 'delivery',
    method: 'GET',
    path: '/deliveries/{delivery_id}',
    summary: 'One delivery with its body, until that has been taken',
    input: z.strictObject({ delivery_id }),
    data: deliveryView.extend({ body: z.string().nullable() }),
    errors: ['DELIVERY_NOT_FOUND'],
    scope: 'operate',
  }),
  redrive: endpoint({
    role,
    name: 'redrive',
    method: 'POST',
    path: '/deliveries/{delivery_id}/redrive',
    summary: 'Have a rejected or dead delivery sent again, under its key',
    input: z.strictObject({ delivery_id }),
    data: deliveryView,
    errors: ['DELIVERY_NOT_FOUND', 'ILLEGAL_TRANSITION'],
  }),
  discard: endpoint({
    role,
    name: 'discard',
    method: 'POST',
    path: '/deliveries/{delivery_id}/discard',
    summary: 'Give up a delivery that has not been taken',
    input: z.strictObject({ delivery_id }),
    data: deliveryView,
    errors: ['DELIVERY_NOT_FOUND', 'ILLEGAL_TRANSITION'],
  }),
  targets: endpoint({
    role,
    name: 'targets',
    method: 'GET',
    path: '/targets',
    summary: 'How each target does: one word, and the ledger of each channel',
    input: z.strictObject({}),
    data: z.looseObject({
      health,
      targets: z.array(
        z.looseObject({
          target: id,
          /** URL, or that it is the receiver on our own broker. */
          address: z.string().nullable(),
          health,
          channels: z.array(
            z.looseObject({
              channel,
              health,
              ledger: z.record(state, count),
              latest_queued_at: time,
              oldest_pending_at: time,
              last_attempt_at: time,
              last_delivered_at: time,
              last_error: z.string().nullable(),
            }),
          ),
        }),
      ),
      ...asOf,
    }),
  }),
  health: healthOf(role),
} as const;
