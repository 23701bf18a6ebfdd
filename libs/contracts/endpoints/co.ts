import { z } from 'zod';
import { id } from '../ids.ts';
import { LIMITS } from '../limits.ts';
import { isMissionBranch, missionRef } from '../mission-ref.ts';
import { governance, inputRef } from '../shapes.ts';
import { healthOf, orderStatus, runStatus } from './common.ts';
import { endpoint } from './endpoint.ts';

const role = 'co';
const reason = z.string().max(2_000).optional();
const person = z.string().min(1).max(256);
/** Exactly one of run, theater and class; a class may be narrowed to one theater. */
const pauseTarget = {
  run_id: id.optional(),
  theater_id: id.optional(),
  class: id.optional(),
  reason,
  by: person.optional(),
};
/** Settings for one run, by key; `ironclaw config show` lists those that a run may set. */
export const runSettings = z.record(
  z.string().max(64),
  z.union([z.string().max(4_000), z.number(), z.boolean()]),
);
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
      /** `name`, in its newest version, or `name@version`. */
      playbook: z.string().max(140).optional(),
      variables: z.record(z.string(), z.string().max(4_000)).optional(),
      settings: runSettings.optional(),
      /** The project and phase that its work belongs to. */
      governance: governance.optional(),
      /** The work package that it does: its orders work on the branch instead of the mainline. */
      mission: missionRef
        .refine(({ mission_slug, branch }) => isMissionBranch(mission_slug, branch), {
          path: ['branch'],
          error: 'must be a branch of the mission: kitty/mission-<slug>… or kitty/review-<slug>-…',
        })
        .optional(),
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
    errors: ['RUN_NOT_FOUND', 'RUN_NOT_OPEN', 'UNKNOWN_PLAYBOOK', 'PLAN_REFUSED'],
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
  cancelRun: endpoint({
    role,
    name: 'cancel-run',
    method: 'POST',
    path: '/runs/{run_id}/cancel',
    summary: 'End a run and all its live orders; units at work are stopped',
    input: z.strictObject({ run_id: id, reason }),
    data: z.looseObject({ run_id: id, status: runStatus, cancelled_orders: z.array(id) }),
    errors: ['RUN_NOT_FOUND', 'RUN_NOT_OPEN'],
  }),
  cancelOrder: endpoint({
    role,
    name: 'cancel-order',
    method: 'POST',
    path: '/orders/{order_id}/cancel',
    summary: 'End one order; its unit is stopped',
    input: z.strictObject({ order_id: id, reason }),
    data: z.looseObject({ order_id: id, status: orderStatus }),
    errors: ['ORDER_NOT_FOUND', 'ILLEGAL_TRANSITION'],
  }),
  pause: endpoint({
    role,
    name: 'pause',
    method: 'POST',
    path: '/pause',
    summary: 'Hold back a run, a theater or a worker class; what is at work may finish',
    input: z.strictObject(pauseTarget),
    data: z.looseObject({ paused: z.boolean() }),
    errors: ['RUN_NOT_FOUND', 'RUN_NOT_OPEN', 'THEATER_NOT_FOUND'],
  }),
  resume: endpoint({
    role,
    name: 'resume',
    method: 'POST',
    path: '/resume',
    summary: 'Let a paused run, theater or worker class go on',
    input: z.strictObject(pauseTarget),
    data: z.looseObject({ paused: z.boolean() }),
    errors: ['RUN_NOT_FOUND', 'RUN_NOT_OPEN', 'THEATER_NOT_FOUND'],
  }),
  feedback: endpoint({
    role,
    name: 'feedback',
    method: 'POST',
    path: '/runs/{run_id}/feedback',
    summary: 'Tell how good a result was; learning counts it',
    input: z.strictObject({
      run_id: id,
      verdict: z.enum(['good', 'bad', 'corrected']),
      order_id: id.optional(),
      user_id: z.string().max(256).optional(),
      note: reason,
      /** The text as it should have been; kept as an object. */
      correction: z.string().max(100_000).optional(),
    }),
    data: z.looseObject({ run_id: id, event_id: id }),
    status: 201,
    errors: ['RUN_NOT_FOUND', 'ORDER_NOT_FOUND'],
  }),
  ackEscalation: endpoint({
    role,
    name: 'ack-escalation',
    method: 'POST',
    path: '/escalations/{escalation_id}/ack',
    summary: 'Say that a person has seen it',
    input: z.strictObject({ escalation_id: id, by: person, note: reason }),
    data: z.looseObject({ escalation_id: id, acked: z.boolean() }),
    errors: ['ESCALATION_NOT_FOUND'],
  }),
  approve: endpoint({
    role,
    name: 'approve',
    method: 'POST',
    path: '/escalations/{escalation_id}/approve',
    summary: 'Decide that what waits for this may go on',
    input: z.strictObject({ escalation_id: id, by: person, note: reason }),
    data: z.looseObject({ escalation_id: id, decision: z.string() }),
    errors: ['ESCALATION_NOT_FOUND', 'ILLEGAL_TRANSITION'],
  }),
  deny: endpoint({
    role,
    name: 'deny',
    method: 'POST',
    path: '/escalations/{escalation_id}/deny',
    summary: 'Decide that what waits for this must end; a note says why',
    input: z.strictObject({ escalation_id: id, by: person, note: z.string().min(1).max(2_000) }),
    data: z.looseObject({ escalation_id: id, decision: z.string() }),
    errors: ['ESCALATION_NOT_FOUND', 'ILLEGAL_TRANSITION'],
  }),
  health: healthOf(role),
} as const;
