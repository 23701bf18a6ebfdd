import { z } from 'zod';
import { id, relativePath } from '../ids.ts';
import { LIMITS } from '../limits.ts';
import { governance } from '../shapes.ts';
import { asOf, atLeast, healthOf, orderView, runView } from './common.ts';
import { endpoint } from './endpoint.ts';
import { CO, runSettings } from './co.ts';
import { LEDGER, reads } from './ledger.ts';

const role = 'gateway';

/** An input file given with a chat; it lies in the worktrees under `inputs/<run_id>/<name>`. */
export const inputFile = z.strictObject({
  name: relativePath,
  text: z.string().max(LIMITS.messageChars),
});

const chatArtifact = z.looseObject({ order_id: id, path: relativePath, commit_sha: z.string() });

export const GATEWAY = {
  chat: endpoint({
    role,
    name: 'chat',
    method: 'POST',
    path: '/chat',
    summary: 'State an objective; sync waits for the reply, async answers at once',
    input: z.strictObject({
      user_id: z.string().max(256).optional(),
      theater_hint: id.optional(),
      message: z
        .string()
        .max(LIMITS.messageChars)
        .refine((text) => text.trim() !== '', 'must not be blank'),
      mode: z.enum(['sync', 'async']).default('sync'),
      /** The same request_id is the same run, however often it is sent. Also: Idempotency-Key. */
      request_id: z.string().min(1).max(256).optional(),
      /** `name`, in its newest version, or `name@version`; `planned` lets a model plan. */
      playbook: z.string().max(140).optional(),
      variables: z.record(z.string(), z.string().max(4_000)).optional(),
      settings: runSettings.optional(),
      /** The project and phase that its work belongs to. */
      governance: governance.optional(),
      inputs: z.array(inputFile).max(LIMITS.inputFiles).optional(),
      /** How long a sync call waits before it answers as async does. */
      wait_ms: z.int().min(0).max(LIMITS.chatWaitMs).default(60_000),
    }),
    data: z.union([
      z.looseObject({ run_id: id, reply: z.string(), artifacts: z.array(chatArtifact) }),
      z.looseObject({ run_id: id, status: z.literal('OPEN') }),
    ]),
    errors: ['UNKNOWN_PLAYBOOK', 'REQUEST_ID_CONFLICT', 'TIMEOUT'],
    maxBodyBytes: LIMITS.chatBodyBytes,
  }),
  run: endpoint({
    role,
    name: 'run',
    method: 'GET',
    path: '/runs/{run_id}',
    summary: 'Status and summary of a run; the reply once there is one',
    input: z.strictObject({ run_id: id, at_least: atLeast }),
    query: ['at_least'],
    data: z.looseObject({
      ...runView.shape,
      summary: z.string(),
      reply: z.string().nullable(),
      ...asOf,
    }),
    errors: ['RUN_NOT_FOUND', 'VIEW_BEHIND'],
  }),
  order: endpoint({
    role,
    name: 'order',
    method: 'GET',
    path: '/orders/{order_id}',
    summary: 'Status of an order, with pointers to its artifacts and AAR',
    input: z.strictObject({ order_id: id, at_least: atLeast }),
    query: ['at_least'],
    data: z.looseObject({ ...orderView.shape, ...asOf }),
    errors: ['ORDER_NOT_FOUND', 'VIEW_BEHIND'],
  }),
  runs: endpoint({
    role,
    name: 'runs',
    method: 'GET',
    path: '/runs',
    summary: 'Runs, newest first',
    ...reads.runs,
    errors: ['VIEW_BEHIND'],
  }),
  orders: endpoint({
    role,
    name: 'orders',
    method: 'GET',
    path: '/orders',
    summary: 'Orders, newest first',
    ...reads.orders,
    errors: ['VIEW_BEHIND'],
  }),
  events: endpoint({
    role,
    name: 'events',
    method: 'GET',
    path: '/events',
    summary: 'Search events; newest first unless order=asc',
    ...reads.events,
    errors: ['UNKNOWN_EVENT_TYPE', 'VIEW_BEHIND'],
  }),
  stream: endpoint({
    role,
    name: 'stream',
    method: 'GET',
    path: '/api/stream',
    summary: 'Events as they land (server-sent events; resumes from Last-Event-ID)',
    ...reads.stream,
    live: 'sse',
    errors: ['UNKNOWN_EVENT_TYPE'],
  }),
  // What a person does to a run: passed on to the role that does it.
  cancelRun: { ...CO.cancelRun, role },
  feedback: { ...CO.feedback, role },
  escalations: { ...LEDGER.escalations, role },
  ackEscalation: { ...CO.ackEscalation, role },
  approve: { ...CO.approve, role },
  deny: { ...CO.deny, role },
  health: healthOf(role),
} as const;
