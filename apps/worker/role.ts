import { setTimeout as sleep } from 'node:timers/promises';
import { API } from '#libs/contracts';
import { modelFromEnv } from '#libs/models';
import {
  createPauses,
  healthHandler,
  type RoleContext,
  type RunningRole,
  stateLayout,
} from '#libs/runtime';
import { defineService } from '#libs/service';
import { detectIsolation, prepareUnitCode, type UnitHost } from '#libs/units';
import type { WorkerModel } from './attempt.ts';
import { createCostBudgets } from './budget.ts';
import { createJobHandler, Stopping } from './job.ts';
import { createOrderBook } from './orders.ts';
import { createProviderGate } from './provider-gate.ts';
import { startQueues } from './queues.ts';
import { submitJob } from './submit.ts';
import { openGitWorkspace, type OpenWorkspace } from './workspace.ts';

/** How long running orders may go on after `close`, before they are handed to another worker. */
const GRACE_MS = 5_000;

/**
 * A job is delivered at most so often. It is far more than an order's attempts need, and leaves room
 * for an hour of waiting for a provider; what uses them all up is moved to DEAD.
 */
/** Far beyond what failures need: a job that a pause holds back for weeks must not be given up. */
const JOB_DELIVERIES_MAX = 1_000_000;

export type WorkerOptions = {
  /** Default: as the environment says. */
  model?: WorkerModel;
  /** Default: git worktrees. */
  openWorkspace?: OpenWorkspace;
  /** Default 5 000 ms. */
  graceMs?: number;
};

/** Takes jobs from the queues of its theaters and executes their orders. */
export async function start(context: RoleContext): Promise<RunningRole> {
  const model = modelFromEnv(context.env, { logger: context.logger });
  context.logger.info(model.announcement);
  return createWorker(context, { model });
}

/** A worker with its effects given. */
export function createWorker(context: RoleContext, options: WorkerOptions = {}): RunningRole {
  const { broker, log, logger, config } = context;
  const { model = modelFromEnv(context.env, { logger }), graceMs = GRACE_MS } = options;
  const { openWorkspace = openGitWorkspace } = options;
  const book = createOrderBook(log, `${process.pid}:${log.defaults.newId()}`);
  const gate = createProviderGate(context, model.provider.name);
  const budgets = createCostBudgets(log, config.theaterBudgetMicroUsd);
  const units = createUnitHost(context);
  const stopping = new AbortController();
  const handle = createJobHandler({
    context,
    book,
    model,
    gate,
    budgets,
    units,
    openWorkspace,
    pauses: createPauses(log),
    stopping: stopping.signal,
  });
  const queues = startQueues({
    broker,
    logger,
    workerClass: config.workerClass,
    theaters: config.theaters,
    concurrency: config.workerConcurrency,
    leaseMs: config.jobLeaseMs,
    maxDeliver: JOB_DELIVERIES_MAX,
    heldMs: gate.waitMs,
    handle,
  });
  const service = defineService(API.worker, {
    submitJob: (job) => submitJob(context, book, job),
    health: healthHandler(context, 'worker'),
  });
  return {
    service,
    close: async () => {
      await queues.stop();
      const idle = queues.idle();
      const waiting = new AbortController();
      // Only our own abort makes it reject.
      const late = sleep(graceMs, 'late', { signal: waiting.signal }).catch(() => 'idle');
      if ((await Promise.race([idle.then(() => 'idle'), late])) === 'late') {
        logger.warn({ graceMs }, 'orders are still at work; their jobs are handed back');
        stopping.abort(new Stopping('this worker stops'));
      }
      waiting.abort();
      await idle;
      await gate.close();
    },
  };
}

/** Makes the host of the units when the first one needs it; tried again where that failed. */
function createUnitHost({ config, logger }: RoleContext): () => Promise<UnitHost> {
  const make = async (): Promise<UnitHost> => {
    const isolation = await detectIsolation();
    logger.info(isolation.notice);
    return { codePath: await prepareUnitCode(stateLayout(config.stateDir).units), isolation };
  };
  let host: Promise<UnitHost> | undefined;
  return () => {
    host ??= make();
    host.catch(() => {
      host = undefined;
    });
    return host;
  };
}
