import { createHash } from 'node:crypto';
import type { DemandSnapshot } from '#libs/contracts';
import { DEMAND_SEGMENTS } from '#libs/feeds';

type Segment = (typeof DEMAND_SEGMENTS)[number];

/** A result that is not taken yet. */
export type Draft = {
  draftId: string;
  /** What the demand is about; blank: it counts for none. */
  pillar: string;
  /** Ids of keyword clusters, as `approval_loops`. */
  clusters: readonly string[];
  /** `priority`, `manual-review`; anything else counts as `draft`. */
  tag: string;
};

/** Something that waits or is at work. */
export type QueueItem = {
  id: string;
  draftId?: string | undefined;
  selected?: boolean | undefined;
};

/** All counters: two that are equal say the same. */
export type Fingerprint = Pick<
  DemandSnapshot,
  'queueTotal' | 'draftTotal' | 'selectedForDraftTotal' | 'tagCounts'
> & {
  /** By id. */
  pillarCounts: [string, number][];
  keywordCounts: [string, number][];
};

export type Demand = {
  counters: Omit<DemandSnapshot, 'summaryId' | 'generatedAtUtc' | 'source'>;
  fingerprint: Fingerprint;
};

const TOP_PILLARS = 3;
const TOP_CLUSTERS = 5;
/** Score from which a segment is hot, and warm. */
const HOT = 5;
const WARM = 1;

/** Counts drafts and queue by the rules of the contract's sender. */
export function countDemand(drafts: readonly Draft[], queue: readonly QueueItem[]): Demand {
  const tagCounts = { draft: 0, priority: 0, manualReview: 0 };
  const pillars = new Map<string, number>();
  const clusters = new Map<string, number>();
  for (const { tag, pillar, clusters: own } of drafts) {
    if (tag === 'priority') tagCounts.priority += 1;
    else if (tag === 'manual-review') tagCounts.manualReview += 1;
    else tagCounts.draft += 1;
    const name = pillar.trim().toLowerCase();
    if (name !== '') add(pillars, name);
    for (const cluster of new Set(own)) add(clusters, cluster);
  }
  const totals = {
    queueTotal: queue.length,
    draftTotal: drafts.length,
    selectedForDraftTotal: queue.filter(({ selected }) => selected === true).length,
    tagCounts,
  };
  return {
    counters: {
      ...totals,
      topPillars: top(pillars, TOP_PILLARS),
      topKeywordClusters: top(clusters, TOP_CLUSTERS),
      segments: DEMAND_SEGMENTS.map((segment) => countSegment(segment, drafts, queue)),
    },
    fingerprint: {
      ...totals,
      pillarCounts: byName(pillars),
      keywordCounts: byName(clusters),
    },
  };
}

/** Hexadecimal; equal where the counters are. */
export function fingerprintDigest(fingerprint: Fingerprint): string {
  return createHash('sha256').update(JSON.stringify(fingerprint)).digest('hex').slice(0, 32);
}

/** The summary that tells these counters. */
export function demandSnapshotOf({ counters, fingerprint }: Demand, now: Date): DemandSnapshot {
  const at = now.toISOString();
  const digest = fingerprintDigest(fingerprint);
  return {
    summaryId: `demand.summary.${at}.${digest}`,
    generatedAtUtc: at,
    source: 'orchestrator',
    ...counters,
  };
}

function countSegment(
  segment: Segment,
  drafts: readonly Draft[],
  queue: readonly QueueItem[],
): DemandSnapshot['segments'][number] {
  const owned = clustersOf(segment);
  const own = drafts.filter(({ clusters }) => clusters.some((cluster) => owned.has(cluster)));
  const ids = new Set(own.map(({ draftId }) => draftId));
  const linked = queue.filter(({ draftId }) => draftId !== undefined && ids.has(draftId)).length;
  const score = own.length + (linked > own.length ? 1 : 0);
  const { id, label, staticWeight, clusterLabels } = segment;
  return {
    id,
    label,
    liveSignalCount: own.length,
    state: stateOf(score),
    staticWeight,
    clusterLabels: [...clusterLabels],
  };
}

/** A segment owns the cluster of its own name and those of its labels. */
function clustersOf({ id, clusterLabels }: Segment): Set<string> {
  return new Set([id, ...clusterLabels].map((name) => name.replaceAll(/[ -]/g, '_')));
}

function stateOf(score: number): 'hot' | 'warm' | 'idle' {
  if (score >= HOT) return 'hot';
  return score >= WARM ? 'warm' : 'idle';
}

function add(counts: Map<string, number>, name: string): void {
  counts.set(name, (counts.get(name) ?? 0) + 1);
}

function byName(counts: ReadonlyMap<string, number>): [string, number][] {
  return [...counts].toSorted(([a], [b]) => compare(a, b));
}

/** The most frequent, ties by name. */
function top(counts: ReadonlyMap<string, number>, limit: number) {
  return [...counts]
    .toSorted(([a, x], [b, y]) => y - x || compare(a, b))
    .slice(0, limit)
    .map(([id, count]) => ({ id, label: labelOf(id), count }));
}

/** `Payments And Backend` of `payments_and_backend`. */
function labelOf(id: string): string {
  return id
    .split(/[_-]+/)
    .filter(Boolean)
    .map((word) => word[0]?.toUpperCase() + word.slice(1))
    .join(' ');
}

function compare(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}
