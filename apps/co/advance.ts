import { isAppError } from '#libs/contracts';
import { Later } from '#libs/eventlog';
import {
  cancelLiveOrders,
  failRun,
  nextForRun,
  type RunAggregate,
  type RunStep,
} from '#libs/orders';
import type { Pauses, RoleContext } from '#libs/runtime';
import { ask, cleanUp, enqueue, reissue } from './order-steps.ts';
import { isFinal } from './planning.ts';
import type { Playbooks } from './playbooks.ts';
import { createReplanning } from './replanning.ts';
import { rulesFor } from './rules.ts';
import type { RunPlace, Runs } from './runs.ts';

/** Steps taken for one event before the rest is left to the next; far above what a plan needs. */
const ROUNDS = 20;

type Tools = { context: RoleContext; runs: Runs; playbooks: Playbooks; pauses: Pauses };
type Take = (place: RunPlace, agg: RunAggregate, step: RunStep) => Promise<boolean>;

/**
 * Moves a run on by everything that its current state asks for. Runs twice without harm: each step
 * is decided on the state and written with derived ids.
 * @throws {Later} a retry is due later
 */
export function createAdvance(tools: Tools) {
  const { context, runs, pauses } = tools;
  const take = createTake(tools);

  return async (place: RunPlace, minSeq: number): Promise<void> => {
    let known = minSeq;
    for (let round = 0; round < ROUNDS; round += 1) {
      const { state, seq } = await runs.load(place, known);
      known = Math.max(known, seq);
      let acted = false;
      let later: Later | undefined;
      for (const step of nextForRun(state, await rulesFor(runs, pauses, place, state))) {
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
      const { run } = state;
      if (run?.created && run.status !== 'OPEN') await cleanUp(context, state);
      return;
    }
  };
}

/** Takes one step; false: it is for another role to take. */
function createTake(tools: Tools): Take {
  const { runs } = tools;
  const replanning = createReplanning(tools);

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

  /** Nothing brings back the branch of a mission that is gone. */
  const orRefused = async (place: RunPlace, work: () => Promise<void>): Promise<void> => {
    try {
      await work();
    } catch (error) {
      if (!isAppError(error, 'BRANCH_REFUSED')) throw error;
      const { code, message: reason } = error;
      await runs.decide(place, (now) => failRun(now, { code, reason, stage: 'execution' }));
    }
  };

  return async (place, agg, step) => {
    switch (step.do) {
      case 'plan':
        await orFail(place, () => runs.plan(place));
        return true;
      case 'enqueue':
        await orRefused(place, async () => {
          for (const orderId of step.orderIds) await enqueue(tools, place, agg, orderId);
        });
        return true;
      case 'reissue':
        await reissue(tools, place, agg, step);
        return true;
      case 'fail': {
        const { reason, orderId, escalate } = step;
        const failure = { reason, orderId, escalate, code: 'ORDER_FAILED', stage: 'execution' };
        await runs.decide(place, (now) => failRun(now, failure));
        return true;
      }
      case 'extend':
        await orFail(place, () => replanning.extend(place, agg, step.orderId));
        return true;
      case 'replan':
        await orFail(place, () => replanning.replan(place, agg, step));
        return true;
      case 'ask':
        await ask(tools, place, agg, step);
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
}
