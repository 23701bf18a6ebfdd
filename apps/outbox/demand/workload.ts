import type { DatabaseSync } from 'node:sqlite';
import type { StoredEvent } from '#libs/contracts';
import { awaitsApproval, evolveOrder, type OrderState } from '#libs/orders';
import { aggregateView, type Reader, type View } from '#libs/projections';
import type { Draft, QueueItem } from './builder.ts';

/** Orders that are counted at most; beyond that the counts say "at least". */
const COUNTED_MAX = 50_000;
const QUEUE_STATES: readonly OrderState['status'][] = ['QUEUED', 'CLAIMED', 'RUNNING', 'BLOCKED'];

/** Orders, without their texts. */
export const workloadView: View<StoredEvent> = aggregateView<StoredEvent, OrderState>({
  name: 'workload',
  version: 1,
  idOf: ({ order_id }) => order_id,
  evolve: (state, event) => trimmed(evolveOrder(state, event)),
  columns: { place: placeOf },
  create: (_db: DatabaseSync) => {},
});

function trimmed(order: OrderState): OrderState {
  return { ...order, objective: null, prompt: null, outputs: [], inputs: [], artifacts: [] };
}

/**
 * Where an order counts: in the `queue` while it waits or is at work, as a `draft` while its result
 * is not on the mainline, or a person has to see to it; both where it is blocked.
 */
function placeOf(order: OrderState): string | null {
  if (!order.created) return null;
  if (order.status === 'BLOCKED') return 'both';
  if (QUEUE_STATES.includes(order.status)) return 'queue';
  const done = order.status === 'COMPLETED' && order.integration?.state !== 'INTEGRATED';
  return done ? 'draft' : null;
}

/** Queue and drafts as they are now. */
export function readWorkload(reader: Reader): { drafts: Draft[]; queue: QueueItem[] } {
  const orders = reader
    .all<{ state: string }>(
      'SELECT state FROM workload WHERE place IS NOT NULL ORDER BY seq LIMIT ?',
      COUNTED_MAX,
    )
    .map(({ state }) => JSON.parse(state) as OrderState);
  const drafts = orders.filter((order) => placeOf(order) !== 'queue').map(draftOf);
  const queue = orders
    .filter((order) => placeOf(order) !== 'draft')
    .map(({ order_id, status }) => ({
      id: order_id,
      draftId: order_id,
      selected: status === 'RUNNING',
    }));
  return { drafts, queue };
}

function draftOf(order: OrderState): Draft {
  const review = order.status === 'BLOCKED' || order.integration?.state === 'FAILED';
  return {
    draftId: order.order_id,
    pillar: order.type ?? '',
    clusters: clustersOf(order),
    tag: review || awaitsApproval(order) ? 'manual-review' : order.attempt > 1 ? 'priority' : '',
  };
}

/** The contract's clusters that have a counterpart here. */
function clustersOf(order: OrderState): string[] {
  const clusters: string[] = [];
  if (order.status === 'BLOCKED') clusters.push('execution_stalls');
  if (awaitsApproval(order)) clusters.push('approval_loops');
  const { state, gate } = order.integration ?? {};
  if (state === 'FAILED')
    clusters.push(gate === 'aar-schema' ? 'schema_mapping' : 'core_instability');
  return clusters;
}
