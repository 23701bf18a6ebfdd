import { API, isAppError } from '#libs/contracts';
import { Later } from '#libs/eventlog';
import {
  type Decision,
  delayMs,
  enqueueOrder,
  escalate,
  type OrderState,
  presentWorktree,
  questionCause,
  reissueOrder,
  type RunAggregate,
  type RunStep,
} from '#libs/orders';
import type { RoleContext } from '#libs/runtime';
import { orderFiles } from './order-files.ts';
import type { Playbooks } from './playbooks.ts';
import type { RunPlace, Runs } from './runs.ts';

const NOTHING: Decision = { ok: true, events: [] };

type Tools = { context: RoleContext; runs: Runs; playbooks: Playbooks };

/** Puts an order on the queue, in a fresh worktree from the mainline's tip. */
export async function enqueue(
  tools: Tools,
  place: RunPlace,
  agg: RunAggregate,
  orderId: string,
): Promise<void> {
  const order = agg.orders.get(orderId);
  if (order === undefined) return;
  const worktreePath = await makeWorktree(tools, place, agg, order);
  const { workerClass } = tools.context.config;
  await decideOrder(tools, place, orderId, (now) =>
    enqueueOrder(now, { worktreePath, class: workerClass }),
  );
}

/** Of a fresh attempt; who asks for the same one gets the same. */
async function makeWorktree(
  { context, playbooks }: Tools,
  { theater_id, run_id }: RunPlace,
  agg: RunAggregate,
  order: OrderState,
): Promise<string> {
  const { client } = context;
  const { order_id, attempt } = order;
  if ((await context.theaters.find(theater_id)) === undefined) {
    await client.call(API.vault.openTheater, { theater_id });
  }
  const wanted = { theater_id, order_id, run_id, attempt };
  const made = await client.call(API.vault.createWorktree, wanted);
  await client.call(API.vault.prepareWorktree, {
    order_id,
    ...(await orderFiles(context.broker, agg, order, playbooks)),
  });
  return made.worktree_path;
}

/** Packs a worktree and removes it; where there is nothing to pack, what is left of it is removed. */
async function clearWorktree({ client }: RoleContext, { order_id }: OrderState): Promise<void> {
  for (const step of [API.vault.archiveWorktree, API.vault.removeWorktree]) {
    try {
      await client.call(step, { order_id });
    } catch (error) {
      if (!isAppError(error, 'WORKTREE_NOT_FOUND')) throw error;
    }
  }
}

/** Packs and removes the worktrees of a run that has ended. */
export async function cleanUp(context: RoleContext, agg: RunAggregate): Promise<void> {
  for (const order of agg.orders.values()) {
    if (presentWorktree(order) !== null) await clearWorktree(context, order);
    else if (wasDue(agg, order)) await removeUntold(context, order);
  }
}

/** It was cancelled when its worktree was to be made. */
function wasDue({ orders }: RunAggregate, { status, depends_on }: OrderState): boolean {
  if (status !== 'CANCELLED') return false;
  return depends_on.every((id) => orders.get(id)?.integration?.state === 'INTEGRATED');
}

/** A vault that died between making a worktree and telling of it leaves one that nobody knows. */
async function removeUntold({ client, logger }: RoleContext, { order_id }: OrderState) {
  try {
    const { removed } = await client.call(API.vault.removeWorktree, { order_id });
    if (removed) logger.info({ order_id }, 'removed a worktree that no event tells of');
  } catch (error) {
    // What is not the vault's own it leaves alone; observers tell of it.
    const left = ['WORKTREE_NOT_FOUND', 'WORKTREE_CONFLICT', 'WORKTREE_DIRTY'] as const;
    if (!isAppError(error, ...left)) throw error;
  }
}

/** Begins the next attempt of an order. @throws {Later} its time has not come */
export async function reissue(
  tools: Tools,
  place: RunPlace,
  agg: RunAggregate,
  step: RunStep & { do: 'reissue' },
): Promise<void> {
  const { orderId, attempt, reason, granted } = step;
  const endedAt = Date.parse(agg.orders.get(orderId)?.updated_at ?? '');
  const dueAt = endedAt + delayMs(attempt, jitterOf(`${orderId}/${attempt}`));
  const waitMs = granted ? 0 : dueAt - tools.context.log.defaults.now().getTime();
  if (waitMs > 0) throw new Later(waitMs);
  await decideOrder(tools, place, orderId, (now) => {
    // Another handler may have begun the attempt that was granted here.
    if (now.attempt !== attempt) return NOTHING;
    return reissueOrder(now, { reason, ...(granted && { maxRetries: now.attempt }) });
  });
}

/** Asks a person; the escalation's deadline is kept by a timer, set as the event is seen. */
export async function ask(
  tools: Tools,
  place: RunPlace,
  { run }: RunAggregate,
  { orderId, question, reason }: RunStep & { do: 'ask' },
): Promise<void> {
  if (run === undefined) return;
  const waitMs = tools.runs.behaviour(run).decision_seconds * 1_000;
  const decisionBy = new Date(tools.context.log.defaults.now().getTime() + waitMs).toISOString();
  await decideOrder(tools, place, orderId, (order) =>
    escalate(order, {
      severity: question === 'approval' ? 'MEDIUM' : 'HIGH',
      route: 'operator',
      reason,
      cause: questionCause(order, question),
      decisionBy,
    }),
  );
}

function decideOrder(
  { runs }: Tools,
  place: RunPlace,
  orderId: string,
  decide: (order: OrderState) => Decision,
) {
  return runs.decide(place, ({ orders }) => {
    const order = orders.get(orderId);
    return order === undefined ? NOTHING : decide(order);
  });
}

/** 0 to 1 out of a text: retries of different orders do not fall on one moment, yet are repeatable. */
function jitterOf(text: string): number {
  let hash = 2_166_136_261;
  for (let i = 0; i < text.length; i += 1) hash = Math.imul(hash ^ text.charCodeAt(i), 16_777_619);
  return (hash >>> 0) / 0xffff_ffff;
}
