import type { EventType } from '#libs/contracts';

/** Order statuses of the service contracts, section 0. */
export const ORDER_STATUSES = [
  'QUEUED',
  'CLAIMED',
  'RUNNING',
  'BLOCKED',
  'COMPLETED',
  'FAILED',
  'CANCELLED',
] as const;
export type OrderStatus = (typeof ORDER_STATUSES)[number];

/** Run statuses of the service contracts, section 0. */
export const RUN_STATUSES = ['OPEN', 'COMPLETE', 'FAILED', 'CANCELLED'] as const;
export type RunStatus = (typeof RUN_STATUSES)[number];

export type WorktreeStatus = 'CREATED' | 'READY' | 'ARCHIVED' | 'REMOVED' | 'QUARANTINED';
export type IntegrationStatus = 'READY' | 'STARTED' | 'PASSED' | 'FAILED' | 'INTEGRATED';
export type RecoveryStatus = 'REQUIRED' | 'STARTED' | 'COMPLETED';
export type ServiceStatus = 'HEALTHY' | 'DEGRADED';

/** Where something stands before its first event. */
export type None = 'NONE';

/** One row: the event moves from one of `from` to `to`; `note` is a condition, for readers. */
export type Transition<S extends string> = {
  readonly from: readonly (S | None)[];
  readonly to: S;
  readonly note?: string;
};
export type TransitionTable<S extends string> = {
  readonly [T in EventType]?: Transition<S>;
};

/**
 * Orders. A ledger may learn of an order late, so forward skips from NONE are legal wherever the
 * event itself proves the status; CANCELLED and COMPLETED are final (but see ORDER_REISSUED).
 */
export const ORDER_TRANSITIONS: TransitionTable<OrderStatus> = {
  ORDER_CREATED: { from: ['NONE'], to: 'QUEUED', note: 'once' },
  ORDER_ENQUEUED: { from: ['NONE', 'QUEUED'], to: 'QUEUED' },
  ORDER_CLAIMED: { from: ['NONE', 'QUEUED'], to: 'CLAIMED' },
  ORDER_STARTED: { from: ['NONE', 'QUEUED', 'CLAIMED', 'BLOCKED'], to: 'RUNNING' },
  ORDER_BLOCKED: { from: ['CLAIMED', 'RUNNING'], to: 'BLOCKED' },
  ORDER_COMPLETED: {
    from: ['NONE', 'QUEUED', 'CLAIMED', 'RUNNING', 'BLOCKED'],
    to: 'COMPLETED',
  },
  ORDER_FAILED: { from: ['NONE', 'QUEUED', 'CLAIMED', 'RUNNING', 'BLOCKED'], to: 'FAILED' },
  ORDER_REISSUED: {
    from: ['CLAIMED', 'RUNNING', 'BLOCKED', 'FAILED', 'COMPLETED'],
    to: 'QUEUED',
    note: 'begins the next attempt; from COMPLETED only after a failed integration or a recovery',
  },
  ORDER_CANCELLED: {
    from: ['NONE', 'QUEUED', 'CLAIMED', 'RUNNING', 'BLOCKED'],
    to: 'CANCELLED',
  },
};

/** Runs. Any event that names an unknown run opens it. */
export const RUN_TRANSITIONS: TransitionTable<RunStatus> = {
  RUN_CREATED: { from: ['NONE'], to: 'OPEN', note: 'once; any event opens an unknown run' },
  RUN_UPDATED: { from: ['NONE', 'OPEN'], to: 'OPEN' },
  RUN_PLANNED: { from: ['NONE', 'OPEN'], to: 'OPEN' },
  RUN_DISPATCHED: { from: ['NONE', 'OPEN'], to: 'OPEN' },
  RUN_REPLANNED: { from: ['NONE', 'OPEN'], to: 'OPEN' },
  RUN_PAUSED: { from: ['NONE', 'OPEN'], to: 'OPEN' },
  RUN_RESUMED: { from: ['NONE', 'OPEN'], to: 'OPEN' },
  RUN_COMPLETED: { from: ['NONE', 'OPEN'], to: 'COMPLETE' },
  RUN_FAILED: { from: ['NONE', 'OPEN'], to: 'FAILED' },
  RUN_CANCELLED: { from: ['NONE', 'OPEN'], to: 'CANCELLED' },
};

/** The worktree of an order. A new one may be made after it was removed or set aside. */
export const WORKTREE_TRANSITIONS: TransitionTable<WorktreeStatus> = {
  WORKTREE_CREATED: { from: ['NONE', 'REMOVED', 'QUARANTINED'], to: 'CREATED' },
  WORKTREE_READY: { from: ['NONE', 'CREATED'], to: 'READY' },
  WORKTREE_ARCHIVED: { from: ['NONE', 'CREATED', 'READY', 'QUARANTINED'], to: 'ARCHIVED' },
  WORKTREE_REMOVED: {
    from: ['NONE', 'CREATED', 'READY', 'ARCHIVED', 'QUARANTINED'],
    to: 'REMOVED',
  },
  WORKTREE_QUARANTINED: { from: ['NONE', 'CREATED', 'READY', 'ARCHIVED'], to: 'QUARANTINED' },
};

/** The integration of one attempt. A merge can still conflict after the gates have passed. */
export const INTEGRATION_TRANSITIONS: TransitionTable<IntegrationStatus> = {
  INTEGRATION_READY: { from: ['NONE', 'FAILED'], to: 'READY' },
  INTEGRATION_STARTED: { from: ['NONE', 'READY', 'FAILED'], to: 'STARTED' },
  INTEGRATION_PASSED: { from: ['NONE', 'STARTED'], to: 'PASSED' },
  INTEGRATION_FAILED: { from: ['NONE', 'STARTED', 'PASSED'], to: 'FAILED' },
  INTEGRATED: { from: ['NONE', 'PASSED'], to: 'INTEGRATED' },
};

/** The recovery of an order. A second cause may be reported while the first is open. */
export const RECOVERY_TRANSITIONS: TransitionTable<RecoveryStatus> = {
  RECOVERY_REQUIRED: { from: ['NONE', 'REQUIRED', 'COMPLETED'], to: 'REQUIRED' },
  RECOVERY_STARTED: { from: ['NONE', 'REQUIRED', 'COMPLETED'], to: 'STARTED' },
  RECOVERY_COMPLETED: { from: ['NONE', 'STARTED'], to: 'COMPLETED' },
};

/** A service that others depend on; events mark the edges only. */
export const SERVICE_TRANSITIONS: TransitionTable<ServiceStatus> = {
  SERVICE_DEGRADED: { from: ['NONE', 'HEALTHY'], to: 'DEGRADED' },
  SERVICE_RECOVERED: { from: ['NONE', 'DEGRADED'], to: 'HEALTHY' },
};

/** True where `type` may move something that stands at `from`. */
export function isLegal<S extends string>(
  table: TransitionTable<S>,
  type: EventType,
  from: S | None,
): boolean {
  return table[type]?.from.includes(from) ?? false;
}

/** True for a status that no unit works on any more: COMPLETED, FAILED or CANCELLED. */
export function isTerminal(status: OrderStatus): boolean {
  return status === 'COMPLETED' || status === 'FAILED' || status === 'CANCELLED';
}
