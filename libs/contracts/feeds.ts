import { z } from 'zod';
import { timestamp } from './ids.ts';
import { LIMITS } from './limits.ts';

/** What is delivered signed: narrative milestones, and demand counters. */
export const CHANNELS = ['milestones', 'demand'] as const;
export type Channel = (typeof CHANNELS)[number];
export const channel = z.enum(CHANNELS);

export const EVIDENCE_TYPES = ['doc', 'commit', 'issue', 'pr', 'runbook', 'metric', 'log'] as const;
export const RISK_STATUSES = ['on-track', 'at-risk', 'blocked', 'completed'] as const;
export const MILESTONE_SOURCES = ['orchestrator', 'agent', 'operator'] as const;
export const SEGMENT_STATES = ['hot', 'warm', 'idle'] as const;

const told = (chars: number) =>
  z
    .string()
    .max(chars)
    .refine((text) => text.trim() !== '', 'must not be blank');
const name = told(LIMITS.feedNameChars);
// The body is the bound.
const text = told(LIMITS.signedBodyBytes);
const count = z.int().min(0);
/** As `timestamp`; seconds may be left out, as the contract's first sender does. */
const utcTime = z
  .string()
  .refine(
    (value) => timestamp.safeParse(value.replace(/^(.{16})Z$/, '$1:00Z')).success,
    'must be ISO-8601 in UTC, as 2026-01-14T16:21:00Z',
  );

export const evidenceItem = z.object({
  type: z.enum(EVIDENCE_TYPES),
  path: text,
  summary: text,
  ref: z.string().optional(),
});

/** A milestone as it is received; unknown members are dropped. Nothing is repaired. */
export const milestoneEvent = z.object({
  milestoneId: name,
  timestampUtc: utcTime,
  scope: name,
  claim: text,
  evidence: z.array(evidenceItem).min(1).max(LIMITS.evidenceItems),
  riskStatus: z.enum(RISK_STATUSES),
  nextAction: text,
  /** Left out where its sender left it out. */
  source: z.enum(MILESTONE_SOURCES).optional(),
});
export type MilestoneEvent = z.output<typeof milestoneEvent>;

/** A milestone as it is sent: `source` is always told, `orchestrator` unless said otherwise. */
export const sentMilestoneEvent = milestoneEvent.extend({
  source: z.enum(MILESTONE_SOURCES).default('orchestrator'),
});
export type SentMilestoneEvent = z.output<typeof sentMilestoneEvent>;

const ranked = z.object({ id: name, label: name, count });

export const demandSegment = z.object({
  id: name,
  label: name,
  liveSignalCount: count,
  state: z.enum(SEGMENT_STATES),
  staticWeight: z.number().min(0).max(1_000_000),
  clusterLabels: z.array(z.string().max(LIMITS.feedNameChars)).max(LIMITS.demandItems),
});
export type DemandSegment = z.output<typeof demandSegment>;

/** The latest demand counters, as sent and as received; unknown members are dropped. */
export const demandSnapshot = z.object({
  summaryId: name,
  generatedAtUtc: utcTime,
  source: z.literal('orchestrator'),
  queueTotal: count,
  draftTotal: count,
  selectedForDraftTotal: count,
  tagCounts: z.object({ draft: count, priority: count, manualReview: count }),
  topPillars: z.array(ranked).max(LIMITS.demandItems).default([]),
  topKeywordClusters: z.array(ranked).max(LIMITS.demandItems).default([]),
  segments: z.array(demandSegment).min(1).max(LIMITS.demandItems),
});
export type DemandSnapshot = z.output<typeof demandSnapshot>;

/** Any text that is not blank names a delivery; outer blanks are no part of it. */
export const idempotencyKey = told(LIMITS.idempotencyKeyChars);

const sent = { idempotencyKey, sentAtUtc: utcTime };
/** The signed bodies, as senders must write them. */
export const milestoneEnvelope = z.object({ ...sent, event: sentMilestoneEvent });
export const demandEnvelope = z.object({ ...sent, snapshot: demandSnapshot });
export type MilestoneEnvelope = z.output<typeof milestoneEnvelope>;
export type DemandEnvelope = z.output<typeof demandEnvelope>;

/** Why a delivery was rejected, as a class; the `reason` beside it is for people. */
export const REASON_CLASSES = [
  'headers',
  'timestamp',
  'size',
  'json',
  'signature',
  'key',
  'event',
  'conflict',
] as const;
export type ReasonClass = (typeof REASON_CLASSES)[number];

/** What a delivery is answered, over HTTP and over NATS. */
export type IngestAnswer =
  | { ok: true; status: 'accepted' | 'duplicate'; milestoneId: string }
  | { ok: true; status: 'accepted' | 'duplicate'; summaryId: string }
  | { ok: false; status: 'rejected'; reason: string };

export const ingestRejected = z.object({
  ok: z.literal(false),
  status: z.literal('rejected'),
  reason: z.string().min(1),
});
