import { z } from 'zod';
import { id } from '../ids.ts';
import { LIMITS } from '../limits.ts';
import { inputRef } from '../shapes.ts';
import { healthOf, runStatus } from './common.ts';
import { endpoint } from './endpoint.ts';

const role = 'co';
const runOnly = z.strictObject({ run_id: id });

export const CO = {
  createRun: endpoint({
    role,
    name: 'create-run',
    method: 'POST',
    path: '/runs',
    summary: 'Create a run; nothing happens to it until it is planned',
    input: z.strictObject({
      user_id: z.string().max(256).optional(),
      theater_hint: id.optional(),
      objective: z
        .string()
        .max(LIMITS.objectiveChars)
        .refine((text) => text.trim() !== '', 'must not be blank'),
      request_id: z.string().min(1).max(256).optional(),
      playbook: z.string().max(128).optional(),
      variables: z.record(z.string(), z.string().max(4_000)).optional(),
      /** Files already in the object store; `message.md` is the user's text. */
      inputs: z.array(inputRef).max(LIMITS.inputFiles).optional(),
      /** True: plan, dispatch and synthesize follow by themselves. */
      autopilot: z.boolean().default(false),
    }),
    data: z.looseObject({
      run_id: id,
      theater_id: id,
      status: runStatus,
      duplicate: z.boolean(),
      seq: z.int(),
    }),
    status: 201,
    errors: ['UNKNOWN_PLAYBOOK', 'REQUEST_ID_CONFLICT'],
  }),
  plan: endpoint({
    role,
    name: 'plan',
    method: 'POST',
    path: '/runs/{run_id}/plan',
    summary: 'Create the orders of a run; again answers the same plan',
    input: runOnly,
    data: z.looseObject({
      run_id: id,
      order_ids: z.array(id),
      dependencies: z.record(z.string(), z.array(id)),
    }),
    errors: ['RUN_NOT_FOUND', 'RUN_NOT_OPEN', 'UNKNOWN_PLAYBOOK'],
  }),
  dispatch: endpoint({
    role,
    name: 'dispatch',
    method: 'POST',
    path: '/runs/{run_id}/dispatch',
    summary:
      'Enqueue the orders whose dependencies are met; the rest follow as those are integrated',
    input: runOnly,
    data: z.looseObject({ run_id: id, enqueued: z.array(id), waiting: z.array(id) }),
    status: 202,
    errors: ['RUN_NOT_FOUND', 'RUN_NOT_OPEN', 'PLAN_MISSING'],
  }),
  synthesize: endpoint({
    role,
    name: 'synthesize',
    method: 'POST',
    path: '/runs/{run_id}/synthesize',
    summary: 'Make the reply from the integrated artifacts and end the run',
    input: runOnly,
    data: z.looseObject({ run_id: id, status: runStatus, reply: z.string() }),
    errors: ['RUN_NOT_FOUND', 'RUN_NOT_OPEN', 'PLAN_MISSING', 'RUN_PENDING'],
  }),
  playbooks: endpoint({
    role,
    name: 'playbooks',
    method: 'GET',
    path: '/playbooks',
    summary: 'The plans that are there to choose from',
    input: z.strictObject({}),
    data: z.object({
      playbooks: z.array(
        z.looseObject({ name: z.string(), version: z.int(), description: z.string() }),
      ),
    }),
  }),
  health: healthOf(role),
} as const;
