import { API, isAppError } from '#libs/contracts';
import { Later } from '#libs/eventlog';
import {
  cancelLiveOrders,
  delayMs,
  type Decision,
  enqueueOrder,
  escalate,
  failRun,
  nextForRun,
  type OrderState,
  presentWorktree,
  questionCause,
  reissueOrder,
  type RunAggregate,
  type RunRules,
  type RunStep,
} from '#libs/orders';
import type { Pauses, RoleContext } from '#libs/runtime';
import { orderFiles } from './order-files.ts';
import { createPlanning, isFinal } from './planning.ts';
import type { Playbooks } from './playbooks.ts';
import type { RunPlace, Runs } from './runs.ts';

/** Steps taken for one event before the rest is left to the next; far above what a plan needs. */
const ROUNDS = 20;
const NOTHING: Decision = { ok: true, events: [] };

/**
 * Moves a run on by everything that its current state asks for. Runs twice without harm: each step
 * is decided on the state and written with derived ids.
 * @throws {Later} a retry is due later
 */
export function createAdvance(
  context: RoleContext,
  runs: Runs,
  playbooks: Playbooks,
  pauses: Pauses,
) {
  const planning = createPlanning(context, runs, playbooks);
  const { client, config, log } = context;

  const take = async (place: RunPlace, agg: RunAggregate, step: RunStep): Promise<boolean> => {
    switch (step.do) {
      case 'plan':
        await orFail(place, () => runs.plan(place));
        return true;
      case 'enqueue':
        for (const orderId of step.orderIds) await enqueue(place, agg, orderId);
        return true;
      case 'reissue':
        await reissue(place, agg, step);
        return true;
      case 'fail': {
        const { reason, orderId, escalate: told } = step;
        const failure = { reason, orderId, code: 'ORDER_FAILED', stage: 'execution' };
        await runs.decide(place, (now) => failRun(now, { ...failure, escalate: told }));
        return true;
      }
      case 'extend':
        await orFail(place, () => planning.extend(place, agg, step.orderId));
        return true;
      case 'replan':
        await orFail(place, () => planning.replan(place, agg, step));
        return true;
      case 'ask':
        await ask(place, agg, step);
        return true;
      case 'cancel-orders':
        await runs.decide(place, (now) => cancelLiveOrders(now, { reason: 'the run has ended' }));
        return true;
      case 'synthesize':
        await runs.synthesize(place);
        return true;
      case 'integrate':
        // The integration role follows the ledger itself.
        return false;
    }
  };

  /** A plan that cannot be made ends the run: nobody else would tell the user. */
  const orFail = async (place: RunPlace, plan: () => Promise<unknown>): Promise<void> => {
    try {
      await plan();
    } catch (error) {
      if (!isFinal(error)) throw error;
      const { code, message: reason } = error;
      await runs.decide(place, (now) => failRun(now, { code, reason, stage: 'planning' }));
    }
  };

  /** Asks a person; the escalation's deadline is kept by a timer, set as the event is seen. */
  const ask = async (place: RunPlace, agg: RunAggregate, step: RunStep & { do: 'ask' }) => {
    const { orderId, question, reason } = step;
    if (agg.run === undefined) return;
    const waitMs = runs.behaviour(agg.run).decision_seconds * 1_000;
    const decisionBy = new Date(log.defaults.now().getTime() + waitMs).toISOString();
    await decideOrder(place, orderId, (order) =>
      escalate(order, {
        severity: question === 'approval' ? 'MEDIUM' : 'HIGH',
        route: 'operator',
        reason,
        cause: questionCause(order, question),
        decisionBy,
      }),
    );
  };

  /** What settings and pauses say about a run. */
  const rulesFor = async (
    place: RunPlace,
    { run }: RunAggregate,
  ): Promise<RunRules | undefined> => {
    if (run === undefined) return undefined;
    const { replans, run_retries, ask: asks } = runs.behaviour(run);
    const held = (await pauses.heldBy({ theater_id: place.theater_id })) !== null;
    return { held, replans, retries: run_retries, ask: asks };
  };

  const enqueue = async (place: RunPlace, agg: RunAggregate, orderId: string): Promise<void> => {
    const order = agg.orders.get(orderId);
    if (order === undefined) return;
    const worktree_path = await makeWorktree(place, agg, order);
    await decideOrder(place, orderId, (now) =>
      enqueueOrder(now, { worktreePath: worktree_path, class: config.workerClass }),
    );
  };

  /** A fresh worktree from the mainline's tip; what an earlier attempt left is archived first. */
  const makeWorktree = async (
    place: RunPlace,
    agg: RunAggregate,
    order: OrderState,
  ): Promise<string> => {
    const { order_id } = order;
    const theater_id = place.theater_id;
    if ((await context.theaters.find(theater_id)) === undefined) {
      await client.call(API.vault.openTheater, { theater_id });
    }
    // One in quarantine has made room already, and stays where it is.
    if (order.attempt > 1 && presentWorktree(order) !== null) await clearWorktree(order);
    const { worktree_path } = await client.call(API.vault.createWorktree, {
      theater_id,
      order_id,
      run_id: place.run_id,
    });
    await client.call(API.vault.prepareWorktree, {
      order_id,
      ...(await orderFiles(context.broker, agg, order, playbooks)),
    });
    return worktree_path;
  };

  const clearWorktree = async ({ order_id }: OrderState): Promise<void> => {
    try {
      await client.call(API.vault.archiveWorktree, { order_id });
      await client.call(API.vault.removeWorktree, { order_id });
    } catch (error) {
      if (!isAppError(error, 'WORKTREE_NOT_FOUND')) throw error;
    }
  };

  const reissue = async (
    place: RunPlace,
    agg: RunAggregate,
    step: RunStep & { do: 'reissue' },
  ): Promise<void> => {
    const order = agg.orders.get(step.orderId);
    const endedAt = Date.parse(order?.updated_at ?? '');
    const dueAt = endedAt + delayMs(step.attempt, jitterOf(`${step.orderId}/${step.attempt}`));
    const waitMs = step.granted ? 0 : dueAt - log.defaults.now().getTime();
    if (waitMs > 0) throw new Later(waitMs);
    await decideOrder(place, step.orderId, (now) => {
      // Another handler may have begun the attempt that was granted here.
      if (now.attempt !== step.attempt) return NOTHING;
      const cap = step.granted ? { maxRetries: now.attempt } : {};
      return reissueOrder(now, { reason: step.reason, ...cap });
    });
  };

  const decideOrder = (place: RunPlace, orderId: string, decide: (order: OrderState) => Decision) =>
    runs.decide(place, ({ orders }) => {
      const order = orders.get(orderId);
      return order === undefined ? NOTHING : decide(order);
    });

  /** Packs and removes the worktrees of a run that has ended. */
  const cleanUp = async (agg: RunAggregate): Promise<void> => {
    for (const order of agg.orders.values()) {
      if (presentWorktree(order) !== null) await clearWorktree(order);
    }
  };

  return async (place: RunPlace, minSeq: number): Promise<void> => {
    let known = minSeq;
    for (let round = 0; round < ROUNDS; round += 1) {
      const { state, seq } = await runs.load(place, known);
      known = Math.max(known, seq);
      let acted = false;
      let later: Later | undefined;
      for (const step of nextForRun(state, await rulesFor(place, state))) {
        try {
          acted = (await take(place, state, step)) || acted;
        } catch (error) {
          // Another order of the run may be ready now although this one has to wait.
          if (!(error instanceof Later)) throw error;
          if (later === undefined || error.delayMs < later.delayMs) later = error;
        }
      }
      if (acted) continue;
      if (later !== undefined) throw later;
      if (state.run !== undefined && state.run.status !== 'OPEN' && state.run.created)
        await cleanUp(state);
      return;
    }
  };
}

/** 0 to 1 out of a text: retries of different orders do not fall on one moment, yet are repeatable. */
function jitterOf(text: string): number {
  let hash = 2_166_136_261;
  for (let i = 0; i < text.length; i += 1) hash = Math.imul(hash ^ text.charCodeAt(i), 16_777_619);
  return (hash >>> 0) / 0xffff_ffff;
}
