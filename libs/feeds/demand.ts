import type { DemandSegment, DemandSnapshot } from '#libs/contracts';

type Lane = Pick<DemandSegment, 'id' | 'label' | 'staticWeight' | 'clusterLabels'>;

const lane = (
  id: string,
  label: string,
  staticWeight: number,
  ...clusterLabels: string[]
): Lane => ({
  id,
  label,
  staticWeight,
  clusterLabels,
});

/** The segments that the demand view always shows, in this order; the weights are the contract's. */
export const DEMAND_SEGMENTS: readonly Lane[] = [
  lane(
    'cash-velocity',
    'Cash Velocity',
    5,
    'payments and backend',
    'preview vs production',
    'core instability',
  ),
  lane(
    'security-exposure',
    'Security Exposure',
    5,
    'security exposure',
    'zero trust',
    'segmentation',
  ),
  lane(
    'skills-supply-chain',
    'Skills Supply Chain',
    4,
    'skills supply chain',
    'prompt injection',
    'extension trust',
  ),
  lane(
    'autonomy-collapse',
    'Autonomy Collapse',
    4,
    'approval loops',
    'execution stalls',
    'non-execution',
  ),
  lane(
    'hardening-runtime',
    'Hardening + Runtime',
    4,
    'docker vs vm',
    'least privilege',
    'tool calling',
  ),
  lane('debug-blindness', 'Debug Blindness', 3, 'no logs', 'no stack trace', 'wrong explanation'),
  lane('data-shape-drift', 'Data Shape Drift', 3, 'normalization', 'schema mapping', 'dedupe'),
];

/** A snapshot is stale when it was generated longer ago than this. */
export const DEMAND_STALE_MS = 600_000;

/** True without a snapshot, or when it is older than DEMAND_STALE_MS. */
export function isDemandStale(snapshot: DemandSnapshot | null, nowMs: number): boolean {
  return snapshot === null || nowMs - Date.parse(snapshot.generatedAtUtc) > DEMAND_STALE_MS;
}

/** The composed demand view: the known segments joined with what the snapshot says of them. */
export function composeDemand(snapshot: DemandSnapshot | null, nowMs: number) {
  const told = new Map((snapshot?.segments ?? []).map((segment) => [segment.id, segment]));
  const segments = DEMAND_SEGMENTS.map((known) => {
    const live = told.get(known.id);
    return {
      ...known,
      liveSignalCount: live?.liveSignalCount ?? 0,
      state: live?.state ?? ('idle' as const),
    };
  });
  const stale = isDemandStale(snapshot, nowMs);
  const hotSegments = segments.filter(({ state }) => state === 'hot').length;
  const [top] = segments.filter((one) => one.liveSignalCount > 0).sort(byDemand);
  const source = snapshot === null ? 'fallback' : stale ? 'stale' : 'live';
  return {
    segments,
    summary: {
      totalSegments: segments.length,
      hotSegments,
      demandNarrative: narrative(source, hotSegments, top?.label),
      topSegmentLabel: top?.label ?? null,
      topPillarLabel: snapshot?.topPillars[0]?.label ?? null,
      stale,
      source,
      snapshotGeneratedAt: snapshot?.generatedAtUtc ?? null,
      queueTotal: snapshot?.queueTotal ?? 0,
      draftTotal: snapshot?.draftTotal ?? 0,
      selectedForDraftTotal: snapshot?.selectedForDraftTotal ?? 0,
    },
  } as const;
}

type Segment = Lane & { liveSignalCount: number };

function byDemand(a: Segment, b: Segment): number {
  const byCount = b.liveSignalCount - a.liveSignalCount;
  const byWeight = b.staticWeight - a.staticWeight;
  return byCount || byWeight || (a.label < b.label ? -1 : 1);
}

function narrative(source: string, hot: number, top: string | undefined): string {
  if (source === 'fallback') return 'No demand snapshot has arrived yet.';
  const when = source === 'stale' ? 'When last heard, ' : '';
  const lead = top === undefined ? 'no segment had signals' : `${top} led`;
  return `${when}${lead}; ${hot} of ${DEMAND_SEGMENTS.length} segments are hot.`;
}

const COUNTERS = ['queueTotal', 'draftTotal', 'selectedForDraftTotal'] as const;

/**
 * How the counters moved between the oldest and the newest of some snapshots.
 * @param newestFirst by generation time
 */
export function demandTrend(newestFirst: readonly DemandSnapshot[]) {
  const [newest, oldest] = [newestFirst[0], newestFirst.at(-1)];
  if (newest === undefined || oldest === undefined) return null;
  const hours = (Date.parse(newest.generatedAtUtc) - Date.parse(oldest.generatedAtUtc)) / 3_600_000;
  const counters = COUNTERS.map((name) => {
    const values = newestFirst.map((snapshot) => snapshot[name]);
    const change = newest[name] - oldest[name];
    const perHour = hours > 0 ? Math.round((change / hours) * 100) / 100 : null;
    return { name, min: Math.min(...values), max: Math.max(...values), change, per_hour: perHour };
  });
  return {
    from: oldest.generatedAtUtc,
    to: newest.generatedAtUtc,
    snapshots: newestFirst.length,
    counters,
  };
}
