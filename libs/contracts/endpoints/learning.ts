import { z } from 'zod';
import { id } from '../ids.ts';
import { healthOf } from './common.ts';
import { endpoint } from './endpoint.ts';

const role = 'learning';

/** What was counted for one profile and one type of task. */
export const policyCell = z.looseObject({
  profile: z.string(),
  task_type: z.string(),
  /** The model of the newest of its orders. */
  model: z.string(),
  /** Orders that ended, and the attempts they took. */
  orders: z.int(),
  attempts: z.int(),
  completed: z.int(),
  failed: z.int(),
  /** Completed, but a person judged the result bad or had to correct it. */
  corrected: z.int(),
  /** 0 to 1: completed and not corrected, of all that ended. */
  success_rate: z.number(),
  /** 0 to 1: the rate with few cases held down; what profiles are ranked by. */
  score: z.number(),
  retries: z.int(),
  latency_ms: z.looseObject({ p50: z.int(), p90: z.int(), p99: z.int() }),
  cost_micro_usd: z.int(),
});

export type PolicyCell = z.output<typeof policyCell>;

/** A routing policy: which profile a type of task goes to, and why. */
export const policyDocument = z.looseObject({
  version: z.int().min(1),
  previous_version: z.int().nullable(),
  theater_id: id,
  window: z.looseObject({ from_seq: z.int(), to_seq: z.int() }),
  cells: z.array(policyCell),
  /** By type of task. */
  routes: z.record(
    z.string(),
    z.looseObject({ profile: z.string(), model: z.string(), reason: z.string() }),
  ),
  /** Share of orders, 0 to 1, that go to another profile to keep measuring. */
  exploration: z.number(),
  reason: z.string(),
});
export type PolicyDocument = z.output<typeof policyDocument>;

const theater = { theater_id: id };
const answer = z.looseObject({
  theater_id: id,
  policy: policyDocument.nullable(),
  pinned: z.boolean(),
});

export const LEARNING = {
  tick: endpoint({
    role,
    name: 'tick',
    method: 'POST',
    path: '/learn/tick',
    summary: 'Count outcomes and, where they say something new, make a new policy version',
    input: z.strictObject({ theater_id: id.optional() }),
    data: z.looseObject({
      theaters: z.array(
        z.looseObject({ ...answer.shape, changed: z.boolean(), reason: z.string() }),
      ),
    }),
    errors: ['THEATER_NOT_FOUND', 'VIEW_BEHIND'],
  }),
  policy: endpoint({
    role,
    name: 'policy',
    method: 'GET',
    path: '/policy/{theater_id}',
    summary: 'The policy in force; null where none was learned yet',
    input: z.strictObject(theater),
    data: answer,
    errors: ['THEATER_NOT_FOUND'],
  }),
  history: endpoint({
    role,
    name: 'history',
    method: 'GET',
    path: '/policy/{theater_id}/history',
    summary: 'All versions, newest first',
    input: z.strictObject(theater),
    data: z.looseObject({ theater_id: id, versions: z.array(z.looseObject({ version: z.int() })) }),
    errors: ['THEATER_NOT_FOUND'],
  }),
  diff: endpoint({
    role,
    name: 'diff',
    method: 'GET',
    path: '/policy/{theater_id}/diff',
    summary: 'What changed between two versions',
    input: z.strictObject({
      ...theater,
      from: z.coerce.number().int().min(1),
      to: z.coerce.number().int().min(1),
    }),
    query: ['from', 'to'],
    data: z.looseObject({ changes: z.array(z.looseObject({ path: z.string() })) }),
    errors: ['THEATER_NOT_FOUND', 'POLICY_NOT_FOUND'],
  }),
  pin: endpoint({
    role,
    name: 'pin',
    method: 'POST',
    path: '/policy/{theater_id}/pin',
    summary: 'Hold the policy in force (or name a version); learning makes no newer one',
    input: z.strictObject({
      ...theater,
      pinned: z.boolean().default(true),
      version: z.int().min(1).optional(),
      by: z.string().max(256).optional(),
    }),
    data: answer,
    errors: ['THEATER_NOT_FOUND', 'POLICY_NOT_FOUND'],
    scope: 'admin',
  }),
  rollback: endpoint({
    role,
    name: 'rollback',
    method: 'POST',
    path: '/policy/{theater_id}/rollback',
    summary: 'Make an earlier version the policy in force again, as a new version',
    input: z.strictObject({
      ...theater,
      version: z.int().min(1),
      by: z.string().max(256).optional(),
    }),
    data: answer,
    errors: ['THEATER_NOT_FOUND', 'POLICY_NOT_FOUND'],
    scope: 'admin',
  }),
  health: healthOf(role),
} as const;
