import type { EventType, StoredEvent } from '#libs/contracts';
import { evolveOrder, type OrderState } from '#libs/orders';

/** What the observer remembers of one order. Times are those that events tell. */
export type Clock = {
  /** Without what an order is to do and has written: the watch looks at neither. */
  order: OrderState;
  /** The last sign of life of the unit that has the current attempt. */
  last_signal_at: string | null;
  /** The last commit that an event told of, of any attempt. */
  last_commit_at: string | null;
};

/** Types that a clock begins with. Others, of an order long over or never seen, begin none. */
const BEGINS: ReadonlySet<EventType> = new Set<EventType>([
  'ORDER_CREATED',
  'ORDER_ENQUEUED',
  'ORDER_CLAIMED',
  'ORDER_STARTED',
  'ORDER_BLOCKED',
  'ORDER_COMPLETED',
  'ORDER_FAILED',
  'ORDER_CANCELLED',
  'ORDER_REISSUED',
  'WORKTREE_CREATED',
  'WORKTREE_READY',
]);

/** Types by which a unit shows that it lives, also where they name no unit. */
const SIGNALS: ReadonlySet<EventType> = new Set<EventType>([
  'ORDER_CLAIMED',
  'ORDER_STARTED',
  'UNIT_SIGNAL',
  'MODEL_CALL_STARTED',
  'MODEL_CALL_COMPLETED',
  'MODEL_CALL_FAILED',
  'TOOL_CALLED',
  'ARTIFACT_WRITTEN',
  'AAR_WRITTEN',
]);

/** Folds one event into the clock of the order that it names; undefined: there is none to keep. */
export function evolveClock(clock: Clock | undefined, event: StoredEvent): Clock | undefined {
  if (clock === undefined && !BEGINS.has(event.type)) return undefined;
  const before = clock?.order;
  const order = evolveOrder(before, event);
  if (order === before) return clock;
  const fits = order.anomalies === (before?.anomalies ?? 0);
  const signalled = order.attempt === before?.attempt ? clock?.last_signal_at : null;
  const { ts } = event;
  return {
    order: slim(order),
    last_signal_at: fits && isSignal(order, event) ? ts : (signalled ?? null),
    last_commit_at: fits && tellsCommit(event) ? ts : (clock?.last_commit_at ?? null),
  };
}

/** True once the observer has nothing to wait for: the order ended, or is integration's matter. */
export function isOver(order: OrderState): boolean {
  const { status, integration } = order;
  if (status === 'FAILED' || status === 'CANCELLED') return true;
  return status === 'COMPLETED' && (integration !== null || !hasTree(order));
}

/** True while the order has a worktree that is neither packed away nor set aside. */
export function hasTree({ worktree }: OrderState): boolean {
  return worktree?.state === 'CREATED' || worktree?.state === 'READY';
}

function isSignal({ unit_id }: OrderState, event: StoredEvent): boolean {
  if (event.unit_id === null) return SIGNALS.has(event.type);
  return unit_id === null || unit_id === event.unit_id;
}

function tellsCommit(event: StoredEvent): boolean {
  return event.type === 'ORDER_COMPLETED' && event.payload.commit_sha !== undefined;
}

/** Keeps rows small: folding looks at nothing of what is left out. */
function slim(order: OrderState): OrderState {
  const { constraints, integration } = order;
  return {
    ...order,
    objective: null,
    profile: null,
    constraints: constraints && {
      budget_seconds: constraints.budget_seconds,
      max_retries: constraints.max_retries,
    },
    depends_on: [],
    prompt: null,
    outputs: [],
    inputs: [],
    blocked_reason: null,
    attempts: order.attempts.slice(-1),
    artifacts: [],
    aar: null,
    integration: integration && { state: integration.state },
    last_error: null,
    signal: null,
    anomaly_last: null,
  };
}
