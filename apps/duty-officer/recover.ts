import { API, isAppError } from '#libs/contracts';
import { createAggregateStore, ledgerFilter } from '#libs/eventlog';
import {
  EMPTY_RUN,
  enqueueOrder,
  foldRun,
  type OrderState,
  presentWorktree,
  recoverOrder,
  type RunState,
} from '#libs/orders';
import { createOrderCommands, publishJob, type RoleContext } from '#libs/runtime';
import { faultOf, type Patience } from './overdue.ts';

/** What was done about one order. */
export type Outcome = { reissued?: true; failed?: true; requeued?: true; quarantined?: true };

export type Recovery = {
  /** Takes an order from a unit that does not get on; nothing where all is well by now. */
  recover(seen: OrderState): Promise<Outcome>;
  /** Puts an order on the queue whose next attempt nobody else does; false: another does. */
  requeue(seen: OrderState): Promise<boolean>;
};

type Context = Pick<RoleContext, 'broker' | 'client' | 'config' | 'log' | 'logger' | 'theaters'>;
type Place = { theater_id: string; order_id: string; run_id: string | null };

/** Every step looks at the order's own events and is appended on condition that they are the last. */
export function createRecovery(context: Context): Recovery {
  const { config, log } = context;
  const orders = createOrderCommands(log);
  const runOf = runLoader(context);
  const nowMs = () => log.defaults.now().getTime();
  const patience: Patience = { leaseMs: config.jobLeaseMs, graceMs: config.overdueGraceMs };

  const recover = async (seen: OrderState): Promise<Outcome> => {
    const place = placeOf(seen);
    if (place === undefined || faultOf(seen, nowMs(), patience) === null) return {};
    const order = await orders.load(place);
    const { budgetSeconds, maxRetries } = await limitsOf(context, order);
    const patient = { ...patience, ...(budgetSeconds && { budgetSeconds }) };
    const cap = maxRetries === undefined ? {} : { maxRetries };
    const fault = faultOf(order, nowMs(), patient);
    const run = await runOf(order);
    // The commanding officer cancels what is left of a run that has ended.
    if (fault === null || (run?.created && run.status !== 'OPEN')) return {};
    // It changes the plan, or asks a person, however long that takes.
    if (order.status === 'BLOCKED' && order.blocked_until === null && isCommanded(order, run)) {
      return {};
    }
    const quarantined = await quarantine(context, order, fault.reason);
    const { wrote, seq } = await orders.decide(place, (now) => {
      const same = now.attempt === order.attempt && faultOf(now, nowMs(), patient) !== null;
      if (!same) return { ok: true, events: [] };
      return recoverOrder(now, { ...fault, severity: 'HIGH', route: 'operator', ...cap });
    });
    const aside = quarantined && ({ quarantined: true } as const);
    if (!wrote) return { ...aside };
    const after = await orders.load(place, seq);
    const { order_id, attempt } = order;
    context.logger.warn({ order_id, attempt, ...fault, status: after.status }, 'order recovered');
    if (after.attempt === attempt) return { failed: true, ...aside };
    await requeue(after);
    return { reissued: true, ...aside };
  };

  const requeue = async (seen: OrderState): Promise<boolean> => {
    const place = placeOf(seen);
    if (place === undefined || isCommanded(seen, await runOf(seen))) return false;
    const worktreePath = await worktreeFor(context, seen, place);
    if (worktreePath === undefined) return false;
    const { attempt } = seen;
    const { seq } = await orders.decide(place, (now) =>
      now.attempt === attempt && now.status === 'QUEUED'
        ? enqueueOrder(now, { worktreePath, class: config.workerClass })
        : { ok: true, events: [] },
    );
    const order = await orders.load(place, seq);
    if (order.attempt !== attempt || order.status !== 'QUEUED') return false;
    await publishJob(context, order);
    return true;
  };

  return { recover, requeue };
}

/** True where the commanding officer moves the order on. */
function isCommanded({ created }: OrderState, run: RunState | undefined): boolean {
  const isLetGo = run?.dispatched || (run?.autopilot && run.planned);
  return created && run?.created === true && isLetGo === true;
}

function placeOf({ theater_id, order_id, run_id }: OrderState): Place | undefined {
  return theater_id === null ? undefined : { theater_id, order_id, run_id };
}

function runLoader({ broker, config }: Context) {
  const store = createAggregateStore(broker, EMPTY_RUN, (agg, events) => foldRun(events, agg));
  return async ({ theater_id, run_id }: OrderState): Promise<RunState | undefined> => {
    if (run_id === null) return undefined;
    const garrison_id = config.garrisonId;
    return (await store.load(ledgerFilter({ garrison_id, theater_id, run_id }))).state.run;
  };
}

type Limits = { budgetSeconds?: number | undefined; maxRetries?: number | undefined };

/** Budget and cap of an order that was only given to the queue stand in its order.json. */
async function limitsOf({ client }: Context, order: OrderState): Promise<Limits> {
  if (order.constraints !== null || presentWorktree(order) === null) return {};
  const { order_id } = order;
  try {
    const { constraints } = await client.call(API.vault.worktree, { order_id });
    if (constraints === null) return {};
    return { budgetSeconds: constraints.budget_seconds, maxRetries: constraints.max_retries };
  } catch (error) {
    if (!isAppError(error, 'WORKTREE_NOT_FOUND', 'THEATER_NOT_FOUND')) throw error;
    return {};
  }
}

/** Keeps what the unit may still be writing to from the next attempt. False: there is nothing. */
async function quarantine(
  { client }: Context,
  order: OrderState,
  reason: string,
): Promise<boolean> {
  if (presentWorktree(order) === null) return false;
  const { order_id, attempt } = order;
  try {
    await client.call(API.vault.quarantineWorktree, { order_id, attempt, reason });
    return true;
  } catch (error) {
    // Gone, or the order has moved on: then there is nothing to keep apart.
    if (isAppError(error, 'WORKTREE_NOT_FOUND', 'ILLEGAL_TRANSITION')) return false;
    throw error;
  }
}

/** The worktree of the next attempt; undefined where the order never had one. */
async function worktreeFor(
  { client, theaters }: Context,
  order: OrderState,
  { theater_id, order_id, run_id }: Place,
): Promise<string | undefined> {
  const present = presentWorktree(order);
  if (present?.path) return present.path;
  if (order.worktree === null || (await theaters.find(theater_id)) === undefined) return undefined;
  const made = await client.call(API.vault.createWorktree, {
    theater_id,
    order_id,
    run_id,
    as_before: true,
  });
  return made.worktree_path;
}
