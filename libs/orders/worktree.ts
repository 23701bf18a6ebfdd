import { type Decision, decided, notPossible, orderEvent, refuse } from './draft.ts';
import type { OrderState, Worktree } from './order-state.ts';
import { isLegal, WORKTREE_TRANSITIONS, type WorktreeStatus } from './tables.ts';

/** The worktree of `order` if there is one now: made, and neither removed nor set aside. */
export function presentWorktree(order: OrderState): Worktree | null {
  const { worktree } = order;
  const gone = worktree?.state === 'REMOVED' || worktree?.state === 'QUARANTINED';
  return gone ? null : worktree;
}

/** A worktree was made; done already where the same one is there. A cancelled order gets none. */
export function worktreeCreated(
  order: OrderState,
  command: { path: string; branch: string; baseSha: string },
): Decision {
  const { path, branch, baseSha } = command;
  const present = presentWorktree(order);
  if (present === null) {
    if (order.status === 'CANCELLED') return notPossible('WORKTREE_CREATED', 'CANCELLED');
    const payload = { worktree_path: path, branch, base_sha: baseSha };
    return decided(orderEvent(order, 'WORKTREE_CREATED', payload, { key: [order.version] }));
  }
  if (present.path !== path || present.branch !== branch) {
    return refuse('WORKTREE_CONFLICT', { id: order.order_id });
  }
  return decided();
}

/** The worktree may be used. */
export function worktreeReady(order: OrderState): Decision {
  const { path, branch } = order.worktree ?? {};
  return move(order, 'WORKTREE_READY', 'READY', {
    ...(path && { worktree_path: path }),
    ...(branch && { branch }),
  });
}

/** What the worktree held is kept in an archive. */
export function worktreeArchived(
  order: OrderState,
  command: { archivePath: string; commitSha?: string; bytes?: number },
): Decision {
  const { archivePath, commitSha, bytes } = command;
  return move(order, 'WORKTREE_ARCHIVED', 'ARCHIVED', {
    archive_path: archivePath,
    ...(commitSha !== undefined && { commit_sha: commitSha }),
    ...(bytes !== undefined && { bytes }),
  });
}

/** The folder is gone; the branch remains. */
export function worktreeRemoved(order: OrderState, command: { reason: string }): Decision {
  return move(order, 'WORKTREE_REMOVED', 'REMOVED', { reason: command.reason });
}

/** The worktree is kept elsewhere, for inspection, and not used again. */
export function worktreeQuarantined(order: OrderState, command: { reason: string }): Decision {
  return move(order, 'WORKTREE_QUARANTINED', 'QUARANTINED', { reason: command.reason });
}

type WorktreeEvent =
  | 'WORKTREE_READY'
  | 'WORKTREE_ARCHIVED'
  | 'WORKTREE_REMOVED'
  | 'WORKTREE_QUARANTINED';

function move(
  order: OrderState,
  type: WorktreeEvent,
  to: WorktreeStatus,
  payload: Parameters<typeof orderEvent<WorktreeEvent>>[2],
): Decision {
  const { worktree } = order;
  if (worktree === null) return refuse('WORKTREE_NOT_FOUND', { id: order.order_id });
  if (worktree.state === to) return decided();
  if (!isLegal(WORKTREE_TRANSITIONS, type, worktree.state)) {
    return notPossible(type, `the worktree is ${worktree.state}`);
  }
  return decided(orderEvent(order, type, payload, { key: [order.version] }));
}
