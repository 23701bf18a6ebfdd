import { z } from 'zod';
import type { AppError } from '../errors.ts';
import {
  channel,
  demandSnapshot,
  EVIDENCE_TYPES,
  ingestRejected,
  milestoneEvent,
  MILESTONE_SOURCES,
  RISK_STATUSES,
  SEGMENT_STATES,
} from '../feeds.ts';
import { timestamp } from '../ids.ts';
import { LIMITS } from '../limits.ts';
import { asOf, healthOf, page, seqBound } from './common.ts';
import { endpoint, type Outside } from './endpoint.ts';

const role = 'intake';

/** Rejections in the contract's words, whatever the cause. */
const ingest: Outside = {
  headers: ['x-openclaw-signature', 'x-openclaw-timestamp'],
  error: ingestRejected,
  errorBody: (error: AppError) => ({ ok: false, status: 'rejected', reason: error.message }),
};
const reads: Outside = {
  headers: [],
  error: z.object({ ok: z.literal(false), reason: z.string(), code: z.string() }),
  errorBody: (error: AppError) => ({ ok: false, reason: error.message, code: error.code }),
};

const taken = { ok: z.literal(true), status: z.enum(['accepted', 'duplicate']) };
const ok = z.literal(true);
const delivery = { idempotencyKey: z.string(), sentAtUtc: timestamp.optional() };

const segment = z.looseObject({
  id: z.string(),
  label: z.string(),
  clusterLabels: z.array(z.string()),
  staticWeight: z.number(),
  liveSignalCount: z.int(),
  state: z.enum(SEGMENT_STATES),
});

/** How one accepted delivery came in. */
const receipt = z.looseObject({
  /** Hex SHA-256 of the idempotency key. */
  key_digest: z.string(),
  received_at: timestamp,
  seq: z.int(),
  mode: z.enum(['body', 'bound']),
  key_id: z.string(),
  skew_ms: z.int().nullable(),
});

const feedFilter = {
  scope: z.string().max(LIMITS.feedNameChars).optional(),
  risk: z.enum(RISK_STATUSES).optional(),
  source: z.enum(MILESTONE_SOURCES).optional(),
  evidence: z.enum(EVIDENCE_TYPES).optional(),
  /** In claim, next action, scope, ids or evidence; upper and lower case are the same. */
  text: z.string().min(1).max(200).optional(),
  since: timestamp.optional(),
  until: timestamp.optional(),
  ...page,
};
const historyFilter = { since: timestamp.optional(), until: timestamp.optional(), ...page };
const liveFilter = {
  channel: channel.optional(),
  from_seq: seqBound,
  last_event_id: seqBound,
};

export const INTAKE = {
  ingestMilestone: endpoint({
    role,
    name: 'ingest-milestone',
    method: 'POST',
    path: '/internal/milestones/ingest',
    summary: 'Take a signed milestone',
    input: z.object({ ...delivery, event: milestoneEvent }),
    data: z.object({ ...taken, milestoneId: z.string() }),
    scope: 'public',
    maxBodyBytes: LIMITS.signedBodyBytes,
    outside: ingest,
  }),
  ingestDemand: endpoint({
    role,
    name: 'ingest-demand',
    method: 'POST',
    path: '/internal/demand/ingest',
    summary: 'Take a signed demand snapshot',
    input: z.object({ ...delivery, snapshot: demandSnapshot }),
    data: z.object({ ...taken, summaryId: z.string() }),
    scope: 'public',
    maxBodyBytes: LIMITS.signedBodyBytes,
    outside: ingest,
  }),
  latest: endpoint({
    role,
    name: 'latest',
    method: 'GET',
    path: '/api/milestones/latest',
    summary: 'The newest milestones by event time, at most 50',
    input: z.object({ limit: z.string().optional() }),
    query: ['limit'],
    data: z.object({ ok, items: z.array(milestoneEvent) }),
    outside: reads,
  }),
  deadLetter: endpoint({
    role,
    name: 'dead-letter',
    method: 'GET',
    path: '/api/milestones/dead-letter',
    summary: 'The newest rejected milestone deliveries, at most 100',
    input: z.object({}),
    data: z.object({
      ok,
      items: z.array(
        z.object({
          timestampUtc: timestamp,
          reason: z.string(),
          idempotencyKey: z.string().optional(),
        }),
      ),
      count: z.int(),
    }),
    outside: reads,
  }),
  demandLive: endpoint({
    role,
    name: 'demand-live',
    method: 'GET',
    path: '/api/command-center/demand-live',
    summary: 'The latest demand snapshot, and whether it is stale',
    input: z.object({}),
    data: z.object({ ok, snapshot: demandSnapshot.nullable(), stale: z.boolean() }),
    outside: reads,
  }),
  demand: endpoint({
    role,
    name: 'demand',
    method: 'GET',
    path: '/api/command-center/demand',
    summary: 'The composed demand view',
    input: z.object({}),
    data: z.object({ ok, segments: z.array(segment), summary: z.looseObject({}) }),
    outside: reads,
  }),
  overview: endpoint({
    role,
    name: 'overview',
    method: 'GET',
    path: '/api/command-center/overview',
    summary: 'The feed at a glance',
    input: z.object({}),
    data: z.looseObject({ ok, latest: milestoneEvent.nullable(), stale: z.boolean() }),
    outside: reads,
  }),
  milestones: endpoint({
    role,
    name: 'milestones',
    method: 'GET',
    path: '/milestones',
    summary: 'All milestones, newest event time first, with their receipts',
    input: z.strictObject(feedFilter),
    query: Object.keys(feedFilter),
    data: z.object({
      milestones: z.array(z.object({ item: milestoneEvent, receipt })),
      next_cursor: z.string().nullable(),
      ...asOf,
    }),
    errors: ['VIEW_BEHIND'],
  }),
  demandHistory: endpoint({
    role,
    name: 'demand-history',
    method: 'GET',
    path: '/demand/history',
    summary: 'Demand snapshots, newest first, and how the counters moved on this page',
    input: z.strictObject(historyFilter),
    query: Object.keys(historyFilter),
    data: z.object({
      snapshots: z.array(z.object({ item: demandSnapshot, receipt })),
      trend: z.looseObject({ snapshots: z.int() }).nullable(),
      next_cursor: z.string().nullable(),
      ...asOf,
    }),
    errors: ['VIEW_BEHIND'],
  }),
  stream: endpoint({
    role,
    name: 'stream',
    method: 'GET',
    path: '/api/feeds/stream',
    summary: 'Feed items as they are accepted (server-sent events; resumes from Last-Event-ID)',
    input: z.strictObject(liveFilter),
    query: Object.keys(liveFilter),
    data: z.looseObject({ channel, item: z.looseObject({}), receipt }),
    live: 'sse',
  }),
  redrive: endpoint({
    role,
    name: 'redrive',
    method: 'POST',
    path: '/deliveries/redrive',
    summary: 'Take a rejected delivery again; its time is no longer looked at',
    input: z.strictObject({ seq: z.int().min(1) }),
    data: z.object({ status: z.enum(['accepted', 'duplicate']), id: z.string() }),
    errors: ['DEAD_LETTER_NOT_FOUND', 'ILLEGAL_TRANSITION'],
    scope: 'admin',
  }),
  health: healthOf(role),
} as const;
