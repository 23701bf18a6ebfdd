import { z } from 'zod';
import { eventInput, storedEvent } from '../events/event.ts';
import { id, timestamp } from '../ids.ts';
import { LIMITS } from '../limits.ts';
import {
  asOf,
  atLeast,
  cursor,
  healthOf,
  orderStatus,
  orderView,
  page,
  runStatus,
  runView,
  seqBound,
} from './common.ts';
import { endpoint } from './endpoint.ts';

const role = 'ledger';

export const appended = z.object({
  event_id: id,
  ts: timestamp,
  seq: z.int().min(1),
  /** True: the same fact was already stored; nothing new was written. */
  duplicate: z.boolean(),
});

/** Filters of event lists and live streams. */
export const eventFilter = {
  theater_id: id.optional(),
  run_id: id.optional(),
  order_id: id.optional(),
  type: z.string().max(128).optional(),
};
const eventSearch = {
  ...eventFilter,
  since: timestamp.optional(),
  until: timestamp.optional(),
  from_seq: seqBound,
  to_seq: seqBound,
  order: z.enum(['asc', 'desc']).default('desc'),
  ...page,
};
const runFilter = { theater_id: id.optional(), status: runStatus.optional(), ...page };
const orderFilter = {
  theater_id: id.optional(),
  run_id: id.optional(),
  status: orderStatus.optional(),
  ...page,
};

/** Input and data of reads that the gateway offers too. */
export const reads = {
  events: {
    input: z.strictObject(eventSearch),
    query: Object.keys(eventSearch),
    data: z.object({
      events: z.array(storedEvent),
      next_cursor: z.string().nullable(),
      prev_cursor: z.string().nullable(),
      ...asOf,
    }),
  },
  runs: {
    input: z.strictObject(runFilter),
    query: Object.keys(runFilter),
    data: z.object({ runs: z.array(runView), next_cursor: z.string().nullable(), ...asOf }),
  },
  orders: {
    input: z.strictObject(orderFilter),
    query: Object.keys(orderFilter),
    data: z.object({ orders: z.array(orderView), next_cursor: z.string().nullable(), ...asOf }),
  },
  stream: {
    input: z.strictObject({
      ...eventFilter,
      from_seq: seqBound,
      /** Sent by browsers that resume: the sequence of the last event they saw. */
      last_event_id: seqBound,
    }),
    query: [...Object.keys(eventFilter), 'from_seq', 'last_event_id'],
    data: storedEvent,
  },
} as const;

const escalationFilter = {
  escalation_id: id.optional(),
  theater_id: id.optional(),
  run_id: id.optional(),
  /** `open`: neither acknowledged nor decided. */
  state: z.enum(['open', 'acked', 'decided']).optional(),
  ...page,
};
export const escalationView = z.looseObject({
  escalation_id: id,
  seq: z.int(),
  theater_id: id.nullable(),
  run_id: id.nullable(),
  order_id: id.nullable(),
  severity: z.string(),
  route: z.string(),
  reason: z.string(),
  raised_at: timestamp,
  acked_at: timestamp.nullable(),
  decision_by: timestamp.nullable(),
  decision: z.enum(['approve', 'deny', 'timeout']).nullable(),
});
const deadFilter = { channel: z.string().max(128).optional(), limit: page.limit, cursor };
const deadSeq = { seq: z.coerce.number().int().min(1) };
const deadLetter = z.looseObject({
  seq: z.int(),
  channel: z.string(),
  code: z.string(),
  reason: z.string(),
  at: timestamp,
  bytes: z.int(),
});

const viewStatus = z.object({
  name: z.string(),
  seq: z.int(),
  stream_seq: z.int(),
  lag: z.int(),
  state: z.enum(['live', 'catching-up', 'rebuilding', 'failed']),
  poison: z.int(),
});

export const LEDGER = {
  append: endpoint({
    role,
    name: 'append',
    method: 'POST',
    path: '/events',
    summary: 'Append one event; 201 stored, 200 if it was stored before',
    input: eventInput,
    rawInput: true,
    data: appended,
    status: 201,
    errors: ['UNKNOWN_EVENT_TYPE', 'EVENT_ID_CONFLICT', 'VIEW_BEHIND'],
  }),
  appendBatch: endpoint({
    role,
    name: 'append-batch',
    method: 'POST',
    path: '/events/batch',
    summary: 'Append up to 1000 events, all or none',
    input: z.strictObject({ events: z.array(eventInput).max(LIMITS.batchEvents) }),
    rawInput: true,
    bareArray: 'events',
    data: z.object({ events: z.array(appended) }),
    status: 201,
    maxBodyBytes: LIMITS.batchBodyBytes,
    errors: ['UNKNOWN_EVENT_TYPE', 'EVENT_ID_CONFLICT', 'VIEW_BEHIND'],
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
  event: endpoint({
    role,
    name: 'event',
    method: 'GET',
    path: '/events/{event_id}',
    summary: 'One event by its id',
    input: z.strictObject({ event_id: id, at_least: atLeast }),
    query: ['at_least'],
    data: storedEvent,
    errors: ['EVENT_NOT_FOUND', 'VIEW_BEHIND'],
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
  run: endpoint({
    role,
    name: 'run',
    method: 'GET',
    path: '/runs/{run_id}',
    summary: 'One run: its derived snapshot',
    input: z.strictObject({ run_id: id, at_least: atLeast }),
    query: ['at_least'],
    data: z.looseObject({ ...runView.shape, ...asOf }),
    errors: ['RUN_NOT_FOUND', 'VIEW_BEHIND'],
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
  order: endpoint({
    role,
    name: 'order',
    method: 'GET',
    path: '/orders/{order_id}',
    summary: 'One order: its derived snapshot and artifact pointers',
    input: z.strictObject({ order_id: id, at_least: atLeast }),
    query: ['at_least'],
    data: z.looseObject({ ...orderView.shape, ...asOf }),
    errors: ['ORDER_NOT_FOUND', 'VIEW_BEHIND'],
  }),
  theaters: endpoint({
    role,
    name: 'theaters',
    method: 'GET',
    path: '/theaters',
    summary: 'Theaters that events name',
    input: z.strictObject(page),
    query: Object.keys(page),
    data: z.object({
      theaters: z.array(z.looseObject({ theater_id: id })),
      next_cursor: z.string().nullable(),
      ...asOf,
    }),
    errors: ['VIEW_BEHIND'],
  }),
  theater: endpoint({
    role,
    name: 'theater',
    method: 'GET',
    path: '/theaters/{theater_id}',
    summary: 'One theater: where its repository is, and its counts',
    input: z.strictObject({ theater_id: id, at_least: atLeast }),
    query: ['at_least'],
    data: z.looseObject({ theater_id: id, repo_path: z.string().nullable(), ...asOf }),
    errors: ['THEATER_NOT_FOUND', 'VIEW_BEHIND'],
  }),
  anomalies: endpoint({
    role,
    name: 'anomalies',
    method: 'GET',
    path: '/anomalies',
    summary: 'Events that changed no status because the state tables forbid it',
    input: z.strictObject({ order_id: id.optional(), run_id: id.optional(), ...page }),
    query: ['order_id', 'run_id', ...Object.keys(page)],
    data: z.object({
      anomalies: z.array(
        z.object({
          seq: z.int(),
          event_id: id,
          type: z.string(),
          run_id: id.nullable(),
          order_id: id.nullable(),
          kind: z.string(),
          detail: z.string(),
        }),
      ),
      next_cursor: z.string().nullable(),
      ...asOf,
    }),
    errors: ['VIEW_BEHIND'],
  }),
  views: endpoint({
    role,
    name: 'views',
    method: 'GET',
    path: '/views',
    summary: 'Where each view stands against the stream',
    input: z.strictObject({}),
    data: z.object({
      views: z.array(viewStatus),
      poison: z.array(z.looseObject({ seq: z.int() })),
    }),
  }),
  rebuildViews: endpoint({
    role,
    name: 'rebuild-views',
    method: 'POST',
    path: '/views/rebuild',
    summary: 'Build the views anew beside the served ones and swap when they have caught up',
    input: z.strictObject({}),
    data: z.object({ started: z.boolean(), views: z.array(viewStatus) }),
    status: 202,
    scope: 'admin',
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
  stats: endpoint({
    role,
    name: 'stats',
    method: 'GET',
    path: '/stats',
    summary: 'How many runs and orders stand at each status',
    input: z.strictObject({ theater_id: id.optional(), at_least: atLeast }),
    query: ['theater_id', 'at_least'],
    data: z.looseObject({
      runs: z.record(z.string(), z.int()),
      orders: z.record(z.string(), z.int()),
      ...asOf,
    }),
    errors: ['VIEW_BEHIND'],
  }),
  escalations: endpoint({
    role,
    name: 'escalations',
    method: 'GET',
    path: '/escalations',
    summary: 'Escalations, newest first',
    input: z.strictObject(escalationFilter),
    query: Object.keys(escalationFilter),
    data: z.object({
      escalations: z.array(escalationView),
      next_cursor: z.string().nullable(),
      ...asOf,
    }),
    errors: ['VIEW_BEHIND'],
  }),
  deadLetters: endpoint({
    role,
    name: 'dead-letters',
    method: 'GET',
    path: '/dead-letters',
    summary: 'What could not be handled, newest first; payloads are left out',
    input: z.strictObject(deadFilter),
    query: Object.keys(deadFilter),
    data: z.object({ dead_letters: z.array(deadLetter), next_cursor: z.string().nullable() }),
  }),
  deadLetter: endpoint({
    role,
    name: 'dead-letter',
    method: 'GET',
    path: '/dead-letters/{seq}',
    summary: 'One dead letter with its payload',
    input: z.strictObject(deadSeq),
    data: z.looseObject({ ...deadLetter.shape, payload: z.string() }),
    errors: ['DEAD_LETTER_NOT_FOUND'],
    scope: 'admin',
  }),
  redrive: endpoint({
    role,
    name: 'redrive',
    method: 'POST',
    path: '/dead-letters/{seq}/redrive',
    summary: 'Send a dead letter again to where it came from',
    input: z.strictObject(deadSeq),
    data: z.looseObject({ redriven: z.boolean(), subject: z.string() }),
    errors: ['DEAD_LETTER_NOT_FOUND', 'ILLEGAL_TRANSITION'],
    scope: 'admin',
  }),
  discard: endpoint({
    role,
    name: 'discard',
    method: 'DELETE',
    path: '/dead-letters/{seq}',
    summary: 'Give a dead letter up',
    input: z.strictObject(deadSeq),
    data: z.looseObject({ discarded: z.boolean() }),
    errors: ['DEAD_LETTER_NOT_FOUND'],
    scope: 'admin',
  }),
  health: healthOf(role),
} as const;
