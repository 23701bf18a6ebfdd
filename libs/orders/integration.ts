import type { GateResult } from '#libs/contracts';
import { awaitsApproval } from './decision.ts';
import { clip, type Decision, decided, notPossible, orderEvent } from './draft.ts';
import type { OrderState } from './order-state.ts';
import { INTEGRATION_TRANSITIONS, isLegal } from './tables.ts';

/** Files in conflict that an event names. */
const CONFLICT_FILES = 256;

type IntegrationEvent =
  | 'INTEGRATION_READY'
  | 'INTEGRATION_STARTED'
  | 'INTEGRATION_PASSED'
  | 'INTEGRATION_FAILED'
  | 'INTEGRATED';

/** The result was checked and may be integrated. */
export function integrationReady(order: OrderState): Decision {
  const state = order.integration?.state;
  if (state !== undefined && state !== 'FAILED') return decided();
  const { attempt, commit_sha } = order;
  return move(order, 'INTEGRATION_READY', {
    attempt,
    ...(commit_sha !== null && { commit_sha }),
  });
}

/** The gates begin; where an earlier run of them did not end, it goes on. */
export function startIntegration(order: OrderState, command: { gateProfile: string }): Decision {
  const state = order.integration?.state;
  if (state === 'STARTED' || state === 'PASSED' || state === 'INTEGRATED') return decided();
  if (awaitsApproval(order)) return notPossible('Integrating', 'nobody has approved the result');
  const { attempt } = order;
  return move(order, 'INTEGRATION_STARTED', { attempt, gate_profile: command.gateProfile });
}

/** All gates let the branch's commit `headSha` through: that very commit is to be merged. */
export function passIntegration(
  order: OrderState,
  command: { headSha: string; gates: GateResult[] },
): Decision {
  const state = order.integration?.state;
  if (state === 'PASSED' || state === 'INTEGRATED') return decided();
  const { headSha: commit_sha, gates } = command;
  return move(order, 'INTEGRATION_PASSED', { attempt: order.attempt, commit_sha, gates });
}

/** A gate or the merge refuses the result; the mainline is as it was. */
export function failIntegration(
  order: OrderState,
  command: { gate: string; message: string; gates?: GateResult[]; files?: string[] },
): Decision {
  if (order.integration?.state === 'FAILED') return decided();
  const { gate, message, gates, files } = command;
  return move(order, 'INTEGRATION_FAILED', {
    attempt: order.attempt,
    gate,
    message: clip(message),
    ...(gates && { gates }),
    ...(files && { files: files.slice(0, CONFLICT_FILES) }),
  });
}

/** The result is on `mainline`, the theater's or the mission's branch, as `commitSha`. */
export function integrated(
  order: OrderState,
  command: { commitSha: string; mainline: string },
): Decision {
  if (order.integration?.state === 'INTEGRATED') return decided();
  const { commitSha: commit_sha, mainline } = command;
  const { attempt, mission } = order;
  return move(order, 'INTEGRATED', {
    attempt,
    commit_sha,
    mainline,
    ...(mission && { mission }),
  });
}

function move(
  order: OrderState,
  type: IntegrationEvent,
  payload: Parameters<typeof orderEvent<IntegrationEvent>>[2],
): Decision {
  if (!isDone(order)) return notPossible(type, `the order is ${order.status}`);
  const state = order.integration?.state ?? 'NONE';
  // NONE is open to a ledger that missed the beginning, not to a decision of ours.
  const begins = type === 'INTEGRATION_READY' || type === 'INTEGRATION_STARTED';
  if (!isLegal(INTEGRATION_TRANSITIONS, type, state) || (state === 'NONE' && !begins)) {
    return notPossible(type, `the integration is ${state}`);
  }
  return decided(orderEvent(order, type, payload, { key: [order.version] }));
}

/** Completed, or work that was done outside: a worktree whose order the ledger never saw begin. */
function isDone(order: OrderState): boolean {
  const unseen = order.status === 'QUEUED' && !order.created && order.enqueued_at === null;
  return order.status === 'COMPLETED' || unseen;
}
