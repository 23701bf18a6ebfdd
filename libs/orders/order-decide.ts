import { LIMITS, type Usage } from '#libs/contracts';
import {
  clip,
  type Decision,
  decided,
  type EventDraft,
  fitting,
  notPossible,
  orderEvent,
  refuse,
} from './draft.ts';
import { mayReissue } from './order.ts';
import type { Artifact, OrderState } from './order-state.ts';
import { isLegal, isTerminal, ORDER_TRANSITIONS } from './tables.ts';

/** Puts an order on the queue; done already where this attempt was enqueued before. */
export function enqueueOrder(
  order: OrderState,
  command: { worktreePath: string; class: string },
): Decision {
  if (order.status !== 'QUEUED') return notPossible('Enqueueing the order', standing(order));
  if (order.enqueued_at !== null) return decided();
  const { worktreePath: worktree_path, class: workerClass } = command;
  const payload = { attempt: order.attempt, class: workerClass, worktree_path };
  return decided(orderEvent(order, 'ORDER_ENQUEUED', payload));
}

type UnitCommand = { attempt: number; unitId: string };

/** A unit takes the order; of two units one wins, the other is refused. */
export function claimOrder(
  order: OrderState,
  command: UnitCommand & { leaseMs?: number },
): Decision {
  const { attempt, unitId } = command;
  const held = guard(order, 'Claiming the order', command);
  if (held !== null) return held;
  if (order.status === 'CLAIMED' && order.unit_id === unitId) return decided();
  if (!isLegal(ORDER_TRANSITIONS, 'ORDER_CLAIMED', order.status)) {
    return notPossible('Claiming the order', standing(order));
  }
  const payload = { attempt, ...(command.leaseMs && { lease_ms: command.leaseMs }) };
  return decided(orderEvent(order, 'ORDER_CLAIMED', payload, { unitId, key: [unitId] }));
}

/** A unit begins to work, or goes on after it was blocked. */
export function startOrder(
  order: OrderState,
  command: UnitCommand & { worker?: string },
): Decision {
  const { attempt, unitId, worker } = command;
  const held = guard(order, 'Starting the order', command);
  if (held !== null) return held;
  if (order.status === 'RUNNING' && order.unit_id === unitId) return decided();
  if (!isLegal(ORDER_TRANSITIONS, 'ORDER_STARTED', order.status)) {
    return notPossible('Starting the order', standing(order));
  }
  const key = order.status === 'BLOCKED' ? [unitId, order.version] : [unitId];
  const payload = { attempt, ...(worker !== undefined && { worker }) };
  return decided(orderEvent(order, 'ORDER_STARTED', payload, { unitId, key }));
}

/**
 * A unit says why it cannot go on; where it wrote a report, that goes first. `resetsAt`: it goes on
 * by itself then, in the same attempt.
 */
export function blockOrder(
  order: OrderState,
  command: UnitReport & { reason: string; label?: string; resetsAt?: string },
): Decision {
  const { attempt, unitId, label, resetsAt } = command;
  const reason = clip(command.reason);
  const held = guard(order, 'Blocking the order', command);
  if (held !== null) return held;
  if (order.status === 'BLOCKED') return decided();
  if (!isLegal(ORDER_TRANSITIONS, 'ORDER_BLOCKED', order.status)) {
    return notPossible('Blocking the order', standing(order));
  }
  const payload = {
    attempt,
    reason,
    ...(label !== undefined && { label }),
    ...(resetsAt !== undefined && { resets_at: resetsAt }),
  };
  return decided(
    ...written(order, command),
    orderEvent(order, 'ORDER_BLOCKED', payload, { unitId, key: [unitId, order.version] }),
  );
}

/** What a unit reports at the end, whatever the end. */
export type UnitReport = UnitCommand & {
  artifacts?: readonly Artifact[];
  aar?: { path: string; status: 'completed' | 'failed' };
  durationMs?: number;
  usage?: Usage;
  costMicroUsd?: number;
};

/** The work is done and committed: ARTIFACT_WRITTEN for each, AAR_WRITTEN, ORDER_COMPLETED. */
export function completeOrder(
  order: OrderState,
  command: UnitReport & { commitSha: string },
): Decision {
  const { attempt, unitId, commitSha: commit_sha, artifacts = [], aar } = command;
  const held = guard(order, 'Completing the order', command);
  if (held !== null) return held;
  if (order.status === 'COMPLETED' && order.commit_sha === commit_sha) return decided();
  if (isTerminal(order.status)) return notPossible('Completing the order', standing(order));
  const payload = {
    attempt,
    commit_sha,
    artifacts: fitting(artifacts.map(({ path, type }) => ({ path, type }))),
    ...(aar && { aar }),
    ...spent(command),
  };
  return decided(
    ...written(order, command),
    orderEvent(order, 'ORDER_COMPLETED', payload, { unitId, key: [unitId] }),
  );
}

export type FailCommand = Omit<UnitReport, 'unitId'> & {
  /** Null: someone else than a unit says so, and speaks for whichever unit holds the order. */
  unitId: string | null;
  code: string;
  message: string;
  stage: string;
  retryable: boolean;
};

/** The attempt has failed; an AAR and artifacts that were still written go first. */
export function failOrder(order: OrderState, command: FailCommand): Decision {
  const { attempt, unitId, code, stage, retryable } = command;
  const message = clip(command.message);
  const held = guard(order, 'Failing the order', command);
  if (held !== null) return held;
  if (order.status === 'FAILED') return decided();
  if (isTerminal(order.status)) return notPossible('Failing the order', standing(order));
  const payload = { attempt, code, message, stage, retryable, ...spent(command) };
  const key = [unitId ?? '', code];
  return decided(
    ...written(order, command),
    orderEvent(order, 'ORDER_FAILED', payload, { unitId, key }),
  );
}

/** How often the order may be retried: the caller's cap, else its own, else the default. */
export function retriesOf(order: OrderState): number {
  return order.constraints?.max_retries ?? LIMITS.retriesDefault;
}

/** True while attempts, at most 1 + retries in all, are not used up. */
export function hasRetriesLeft(order: OrderState, maxRetries = retriesOf(order)): boolean {
  return order.attempt <= maxRetries;
}

/** Begins the next attempt; refused over the cap of 1 + `maxRetries` attempts. */
export function reissueOrder(
  order: OrderState,
  command: { reason: string; maxRetries?: number },
): Decision {
  const { maxRetries } = command;
  const reason = clip(command.reason);
  if (!mayReissue(order)) return notPossible('Reissuing the order', standing(order));
  if (!hasRetriesLeft(order, maxRetries)) {
    return notPossible('Reissuing the order', `all of its ${order.attempt} attempts are used`);
  }
  const payload = { attempt: order.attempt + 1, reason };
  return decided(orderEvent(order, 'ORDER_REISSUED', payload, { key: [reason] }));
}

/** Ends an order that is not to be done; refused once it has ended otherwise. */
export function cancelOrder(order: OrderState, command: { reason: string }): Decision {
  if (order.status === 'CANCELLED') return decided();
  if (isTerminal(order.status)) return notPossible('Cancelling the order', standing(order));
  const reason = clip(command.reason);
  return decided(orderEvent(order, 'ORDER_CANCELLED', { reason }, { key: [reason] }));
}

const RETRY_DELAYS_MS = [1_000, 5_000, 30_000, 120_000, 600_000];
const RETRY_JITTER = 0.2;

/**
 * How long to wait after attempt `attempt` failed: 1 s, 5 s, 30 s, 2 min, then 10 min, each up to
 * 20 % more or less as `jitter`, 0 to 1, says.
 */
export function delayMs(attempt: number, jitter: number): number {
  const index = Math.min(Math.max(attempt, 1), RETRY_DELAYS_MS.length) - 1;
  const base = RETRY_DELAYS_MS[index] ?? 0;
  return Math.round(base * (1 + RETRY_JITTER * (2 * jitter - 1)));
}

/** Refuses a unit that speaks for another attempt or for another unit's work. */
function guard(
  order: OrderState,
  what: string,
  command: { attempt: number; unitId: string | null },
): Decision | null {
  const { attempt, unitId } = command;
  const unknown = order.version === 0;
  if (!unknown && attempt !== order.attempt) {
    return notPossible(`${what} in attempt ${attempt}`, `attempt ${order.attempt} is current`);
  }
  if (unknown && !(Number.isInteger(attempt) && attempt >= 1)) {
    return refuse('INVALID_REQUEST', { reason: 'attempt: must be a whole number from 1' });
  }
  if (unitId === null || order.unit_id === null || order.unit_id === unitId) return null;
  return notPossible(`${what} by ${unitId}`, `${order.unit_id} holds it`);
}

/** The files that a report names; one event for each that the order does not know yet. */
function written(
  order: OrderState,
  report: Omit<UnitReport, 'unitId'> & { unitId: string | null },
) {
  const { attempt, unitId, artifacts = [], aar } = report;
  const events: EventDraft[] = artifacts.map((artifact) =>
    orderEvent(
      order,
      'ARTIFACT_WRITTEN',
      { attempt, ...artifact },
      {
        unitId,
        key: [artifact.path],
      },
    ),
  );
  if (aar) {
    const key = [aar.status];
    events.push(orderEvent(order, 'AAR_WRITTEN', { attempt, ...aar }, { unitId, key }));
  }
  return events;
}

function spent({
  durationMs,
  usage,
  costMicroUsd,
}: Pick<UnitReport, 'durationMs' | 'usage' | 'costMicroUsd'>) {
  return {
    ...(durationMs !== undefined && { duration_ms: durationMs }),
    ...(usage && { usage }),
    ...(costMicroUsd !== undefined && { cost_micro_usd: costMicroUsd }),
  };
}

function standing({ status, attempt }: OrderState): string {
  return `it is ${status} in attempt ${attempt}`;
}
