import { z } from 'zod';
const text = (max: number) => z.string().max(max).regex(/\S/, 'must not be blank');
const instant = z.iso.datetime();
export const milestoneEvent = z.strictObject({
  milestoneId: text(512),
  timestampUtc: instant,
  scope: text(128),
  claim: text(4000),
  evidence: z
    .array(
      z.strictObject({
        type: z.enum(['doc', 'commit', 'issue', 'pr', 'runbook', 'metric', 'log']),
        path: text(2048),
        summary: text(2000),
        ref: z.string().max(512).optional(),
      }),
    )
    .min(1)
    .max(64),
  riskStatus: z.enum(['on-track', 'at-risk', 'blocked', 'completed']),
  nextAction: text(2000),
  source: z.enum(['orchestrator', 'agent', 'operator']).default('orchestrator'),
});
export type MilestoneEvent = z.output<typeof milestoneEvent>;
const count = z.int().min(0);
const counted = z.strictObject({ id: text(128), label: text(256), count });
export const demandSnapshot = z.strictObject({
  summaryId: text(512),
  generatedAtUtc: instant,
  source: z.literal('orchestrator'),
  queueTotal: count,
  draftTotal: count,
  selectedForDraftTotal: count,
  tagCounts: z.strictObject({ draft: count, priority: count, manualReview: count }),
  topPillars: z.array(counted),
  topKeywordClusters: z.array(counted),
  segments: z
    .array(
      z.strictObject({
        id: text(128),
        label: text(256),
        liveSignalCount: count,
        state: z.enum(['hot', 'warm', 'idle']),
        staticWeight: z.number(),
        clusterLabels: z.array(z.string()),
      }),
    )
    .min(1),
});
export type DemandSnapshot = z.output<typeof demandSnapshot>;
