import type { MilestoneEvent } from '#libs/contracts';

/** The overview is stale when nothing was accepted for longer than this. */
export const FEED_STALE_MS = 300_000;

export type OverviewInput = {
  /** The served feed, newest first. */
  items: readonly MilestoneEvent[];
  /** When a milestone was last accepted, ISO; null: never. */
  lastAcceptedAt: string | null;
  deadLetterCount: number;
  /** Path of the live stream. */
  realtimeChannel: string;
  nowMs: number;
};

/** The feed at a glance, with the links of the chain from sender to reader. */
export function composeOverview(input: OverviewInput) {
  const { items, lastAcceptedAt, deadLetterCount, realtimeChannel, nowMs } = input;
  const latest = items[0] ?? null;
  const stale = lastAcceptedAt === null || nowMs - Date.parse(lastAcceptedAt) > FEED_STALE_MS;
  const risk = (status: MilestoneEvent['riskStatus']): number =>
    items.filter(({ riskStatus }) => riskStatus === status).length;
  const activeLanes = [...new Set(items.map(({ scope }) => scope.toLowerCase()))];
  return {
    ok: true,
    latest,
    stale,
    visibleFeedCount: items.length,
    evidenceCount: items.reduce((sum, { evidence }) => sum + evidence.length, 0),
    activeLaneCount: activeLanes.length,
    activeLanes,
    riskCounts: {
      onTrack: risk('on-track'),
      atRisk: risk('at-risk'),
      blocked: risk('blocked'),
      completed: risk('completed'),
    },
    deadLetterCount,
    lastPollAt: lastAcceptedAt,
    realtimeChannel,
    proofNodes: proofNodes(latest !== null, stale, deadLetterCount),
  } as const;
}

function proofNodes(any: boolean, stale: boolean, deadLetterCount: number) {
  const live = any ? 'live' : 'idle';
  const rejected = `${deadLetterCount} rejected deliveries are listed`;
  const node = (id: string, label: string, state: string, detail: string) => ({
    id,
    label,
    state: state as 'live' | 'warning' | 'idle',
    detail,
  });
  return [
    node('emit', 'Emit', live, any ? 'milestones have arrived' : 'no milestone has arrived yet'),
    node(
      'verify',
      'Verify',
      deadLetterCount > 0 ? 'warning' : live,
      deadLetterCount > 0 ? rejected : 'signatures of all deliveries were right',
    ),
    node('store', 'Store', live, 'accepted only after the broker has stored it'),
    node(
      'canon',
      'Canon',
      any && stale ? 'warning' : live,
      stale ? 'nothing new of late' : 'fresh',
    ),
    node('broadcast', 'Broadcast', live, 'server-sent events, resumed by sequence'),
    node('surface', 'Surface', live, any ? 'served to readers' : 'nothing to serve yet'),
  ];
}
