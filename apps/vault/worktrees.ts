import { type API, AppError, type InputOf, isAppError } from '#libs/contracts';
import { ledgerSubject, subjectVersion } from '#libs/eventlog';
import {
  type OrderState,
  presentWorktree,
  worktreeArchived,
  worktreeCreated,
  worktreeReady,
  worktreeRemoved,
} from '#libs/orders';
import { type OrderCommands, type OrderPlace, type RoleContext, theaterFor } from '#libs/runtime';
import {
  archiveWorktree,
  createWorktree,
  inOrderTurn,
  prepareWorktree,
  removeWorktree,
  type Theater,
} from '#libs/worktrees';
import { NOT_IN_GIT } from './prepare.ts';
import { preparedBefore } from './quarantine.ts';

type CreateInput = Omit<InputOf<typeof API.vault.createWorktree>, 'theater_id'>;

/** Makes, packs and removes worktrees, and tells of it. Every step can be repeated. */
export function createWorktrees({ log, config }: RoleContext, orders: OrderCommands) {
  /** The order as the leader of the stream has it. */
  const loadNewest = async (place: OrderPlace): Promise<OrderState> => {
    const subject = ledgerSubject({ ...place, garrison_id: config.garrisonId });
    return orders.load(place, await subjectVersion(log.broker, subject));
  };

  const makeNow = async (theater: Theater, input: CreateInput) => {
    const { order_id, run_id } = input;
    const order = await loadNewest({ theater_id: theater.theaterId, order_id, run_id });
    return make(orders, theaterFor(theater, order), input);
  };

  /**
   * Two processes may make the worktree of one attempt at once, or one late, when a unit works in it
   * already: only an order that still waits gets one, and only what is of an earlier attempt goes.
   */
  const makeForAttempt = (theater: Theater, input: CreateInput, attempt: number) =>
    inOrderTurn(theater, input.order_id, async () => {
      const { order_id, run_id } = input;
      const order = await loadNewest({ theater_id: theater.theaterId, order_id, run_id });
      if (order.attempt !== attempt || order.status !== 'QUEUED' || order.enqueued_at !== null) {
        const status = `the order is ${order.status} in attempt ${order.attempt}`;
        throw new AppError('ILLEGAL_TRANSITION', { what: 'Making a worktree', status });
      }
      const present = presentWorktree(order);
      if (present !== null && present.attempt < attempt) await clear(orders, theater, order_id);
      return make(orders, theaterFor(theater, order), input);
    });

  return {
    create: (theater: Theater, input: CreateInput) =>
      input.attempt === undefined
        ? makeNow(theater, input)
        : makeForAttempt(theater, input, input.attempt),
    archive: (theater: Theater, orderId: string) => archive(orders, theater, orderId),
    remove: (theater: Theater, orderId: string) => remove(orders, theater, orderId),
  };
}

async function make(orders: OrderCommands, theater: Theater, input: CreateInput) {
  const { order_id, run_id, branch, as_before } = input;
  const made = await createWorktree({
    theater,
    orderId: order_id,
    ...(branch !== undefined && { branch }),
  });
  const { worktreePath, baseSha } = made;
  if (as_before) {
    const files = preparedBefore(theater, order_id);
    await prepareWorktree({ worktreePath, files, exclude: NOT_IN_GIT });
  }
  const place = { theater_id: theater.theaterId, order_id, run_id };
  try {
    await orders.decide(place, (order) =>
      worktreeCreated(order, { path: worktreePath, branch: made.branch, baseSha }),
    );
  } catch (error) {
    // Cancelled while it was made: what no event tells of, nobody would remove.
    if (isAppError(error, 'ILLEGAL_TRANSITION')) {
      await removeWorktree({ theater, orderId: order_id, force: true });
    }
    throw error;
  }
  await orders.decide(place, worktreeReady);
  return {
    worktree_path: worktreePath,
    branch: made.branch,
    base_sha: baseSha,
    created: made.created,
  };
}

async function archive(orders: OrderCommands, theater: Theater, orderId: string) {
  const place = { theater_id: theater.theaterId, order_id: orderId };
  const { worktree } = await orders.load(place);
  // What was archived before is not what is kept in quarantine.
  if (worktree?.state === 'QUARANTINED') {
    throw new AppError('WORKTREE_NOT_FOUND', { id: orderId }, { field: 'order_id' });
  }
  const { archivePath, commitSha, bytes } = await archiveWorktree({ theater, orderId });
  await orders.decide(place, (order) => worktreeArchived(order, { archivePath, commitSha, bytes }));
  return { archive_path: archivePath, bytes, commit_sha: commitSha };
}

async function remove(orders: OrderCommands, theater: Theater, orderId: string) {
  const { removed } = await removeWorktree({ theater, orderId });
  const place = { theater_id: theater.theaterId, order_id: orderId };
  const { worktree } = await orders.load(place);
  if (worktree !== null && worktree.state !== 'QUARANTINED') {
    await orders.decide(place, (now) => worktreeRemoved(now, { reason: 'removed on request' }));
  }
  return { removed };
}

async function clear(orders: OrderCommands, theater: Theater, orderId: string): Promise<void> {
  try {
    await archive(orders, theater, orderId);
  } catch (error) {
    if (!isAppError(error, 'WORKTREE_NOT_FOUND')) throw error; // there is nothing to pack
  }
  await remove(orders, theater, orderId);
}
