import { type API, AppError, constraints, isAppError, type InputOf, LIMITS } from '#libs/contracts';
import { type Decision, mayReissue, type OrderState, worktreeQuarantined } from '#libs/orders';
import type { OrderCommands, OrderPlace } from '#libs/runtime';
import {
  type FileInput,
  listQuarantined,
  quarantineWorktree,
  readFileInside,
  readQuarantined,
  type Theater,
} from '#libs/worktrees';
import { NOT_IN_GIT } from './prepare.ts';

type QuarantineInput = InputOf<typeof API.vault.quarantineWorktree>;

/**
 * Sets the worktree of an order aside. The event comes first and is decided on the order's state, so
 * of two callers, or of one that is late, only the attempt that was meant loses its worktree.
 * @throws {WORKTREE_NOT_FOUND} · {ILLEGAL_TRANSITION} another attempt is current, or its work is done
 */
export async function setAside(
  orders: OrderCommands,
  theater: Theater,
  input: QuarantineInput,
): Promise<{ quarantined: boolean; worktree_path: string }> {
  const { order_id, reason, attempt } = input;
  const place: OrderPlace = { theater_id: theater.theaterId, order_id };
  const confirm = async (): Promise<void> => {
    await orders.decide(place, (order) => quarantine(order, reason, attempt));
  };
  try {
    const aside = await quarantineWorktree({ theater, orderId: order_id, reason, confirm });
    return { quarantined: true, worktree_path: aside.worktreePath };
  } catch (error) {
    const before = listQuarantined(theater, order_id).at(-1);
    if (before === undefined || !isAppError(error, 'WORKTREE_NOT_FOUND')) throw error;
    return { quarantined: true, worktree_path: before.worktreePath };
  }
}

function quarantine(order: OrderState, reason: string, attempt: number | undefined): Decision {
  const standing = `the order is ${order.status} in attempt ${order.attempt}`;
  const isOther = attempt !== undefined && order.version > 0 && attempt !== order.attempt;
  // What is done and not found wanting is still to be integrated.
  const isWanted = order.status === 'COMPLETED' && !mayReissue(order);
  if (isOther || isWanted) {
    const params = { what: 'Quarantine of the worktree', status: standing };
    return { ok: false, error: new AppError('ILLEGAL_TRANSITION', params) };
  }
  const decision = worktreeQuarantined(order, { reason });
  // A worktree that the ledger does not tell of can be set aside all the same.
  return order.worktree === null ? { ok: true, events: [] } : decision;
}

/** The files that the order's newest quarantined worktree was prepared with. */
export function preparedBefore(theater: Theater, orderId: string): FileInput[] {
  const aside = listQuarantined(theater, orderId).at(-1);
  if (aside === undefined) return [];
  return readQuarantined(aside, ['order.json', 'task.md', ...NOT_IN_GIT]);
}

/** The constraints in order.json; null where there are none that can be read. */
export async function constraintsIn(worktreePath: string) {
  try {
    const maxBytes = LIMITS.bodyBytes;
    const bytes = await readFileInside(worktreePath, 'order.json', { maxBytes });
    const order = JSON.parse(new TextDecoder().decode(bytes)) as { constraints?: unknown } | null;
    return constraints.safeParse(order?.constraints).data ?? null;
  } catch (error) {
    // The unit fails at the same file and says so.
    if (isAppError(error) || error instanceof SyntaxError) return null;
    throw error;
  }
}
