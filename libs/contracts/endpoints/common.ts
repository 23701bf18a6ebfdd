import { z } from 'zod';
import { id, nullableId, timestamp } from '../ids.ts';
import { LIMITS } from '../limits.ts';
import { missionRef } from '../mission-ref.ts';
import { endpoint, type Role } from './endpoint.ts';

const count = z.coerce.number().int();

export const limit = count.min(1).max(LIMITS.pageItems).default(LIMITS.pageItemsDefault);
export const cursor = z.string().max(256).optional();
/** Wait (bounded) until the view reflects this stream sequence. */
export const atLeast = count.min(0).optional();
export const seqBound = count.min(0).optional();

export const page = { limit, cursor, at_least: atLeast };

/** Every view answer says which stream sequence it reflects. */
export const asOf = { as_of: z.int().min(0) };

export const runStatus = z.enum(['OPEN', 'COMPLETE', 'FAILED', 'CANCELLED']);
export const orderStatus = z.enum([
  'QUEUED',
  'CLAIMED',
  'RUNNING',
  'BLOCKED',
  'COMPLETED',
  'FAILED',
  'CANCELLED',
]);

export const runView = z.looseObject({
  run_id: id,
  theater_id: nullableId,
  garrison_id: id,
  objective: z.string().nullable(),
  status: runStatus,
  order_ids: z.array(id).readonly(),
  mission: missionRef.nullable(),
  created_at: timestamp,
  ended_at: timestamp.nullable(),
  version: z.int(),
});

export const orderView = z.looseObject({
  order_id: id,
  run_id: nullableId,
  theater_id: nullableId,
  garrison_id: id,
  status: orderStatus,
  attempt: z.int(),
  unit_id: nullableId,
  objective: z.string().nullable(),
  artifacts: z.array(z.looseObject({ path: z.string(), type: z.string() })).readonly(),
  aar: z.looseObject({ path: z.string() }).nullable(),
  commit_sha: z.string().nullable(),
  mission: missionRef.nullable(),
  version: z.int(),
});

/** GET /health of one role. */
export function healthOf<R extends Role>(role: R) {
  return endpoint({
    role,
    name: 'health',
    method: 'GET',
    path: '/health',
    summary: 'Is this role able to work',
    input: z.object({}),
    data: z.looseObject({
      role: z.string(),
      status: z.enum(['ok', 'degraded']),
      broker: z.enum(['connected', 'disconnected']),
      version: z.string(),
    }),
    scope: 'public',
  });
}
