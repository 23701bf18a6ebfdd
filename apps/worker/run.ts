import { AppError, isAppError, type OrderFile } from '#libs/contracts';
import { blockOrder } from '#libs/orders';
import {
  type Attempt,
  type AttemptTools,
  failed,
  modelOf,
  type Outcome,
  untilStored,
  writeState,
} from './attempt.ts';
import { finish } from './end.ts';
import { createModelCalls, type ModelCalls } from './model-calls.ts';
import { readOrder } from './order-file.ts';
import { signalStages, startHeartbeat, tellTools } from './signals.ts';
import { createStages } from './stages.ts';
import { createToolLog } from './tool-log.ts';
import { executeOrder } from './unit-run.ts';
import { type OrderGone, watchOrder } from './watch.ts';

/** The end of the budget kept for the report, the commit and the last events. */
const RESERVE_SHARE = 0.2;
const RESERVE_MS_MAX = 1_000;

/**
 * Executes the order, writes its report, commits, and tells the end in one batch of events. A
 * failure of the order is an end too. Where the provider refuses work for now the order is BLOCKED
 * until then, and the time to wait, in ms, is answered. Nothing more is written once the order was
 * cancelled or given to another.
 * @throws the reason of `taken`: the order is somebody else's now
 */
export async function runAttempt(
  tools: AttemptTools,
  attempt: Attempt,
): Promise<number | undefined> {
  const { unitId, taken } = attempt;
  const stages = createStages((stage) => signalStages(tools, attempt, stage));
  const toolLog = createToolLog(attempt.attempt, (calls) => tellTools(tools, attempt, calls));
  const deadline = startDeadline(attempt.startedAt, tools.context.log.defaults.now);
  const watch = watchOrder(tools, attempt);
  const heartbeat = startHeartbeat(tools, attempt, { stages, look: watch.look });
  const signal = AbortSignal.any([taken, watch.signal, deadline.signal]);
  let calls: ModelCalls | undefined;
  let order: OrderFile | undefined;
  let outcome: Outcome | { status: 'waiting'; error: AppError };
  try {
    stages.enter('starting');
    const state = { attempt: attempt.attempt, unit_id: unitId };
    await writeState(tools, attempt, { ...state, status: 'RUNNING' });
    stages.enter('initializing');
    order = await readOrder(attempt.workspace.readFile, attempt.job);
    deadline.set(order.constraints.budget_seconds * 1_000);
    calls = modelCalls(tools, attempt, order, signal);
    outcome = await executeOrder(tools, attempt, { order, calls, toolLog, stages, signal });
    signal.throwIfAborted();
  } catch (error) {
    taken.throwIfAborted();
    if (watch.signal.aborted) return gone(tools, attempt, watch.signal.reason as OrderGone);
    outcome = isAppError(error, 'MODEL_QUOTA')
      ? { status: 'waiting', error }
      : failed(tools, attempt, error, stages.current());
  } finally {
    deadline.clear();
    watch.stop();
    await heartbeat.stop();
    await Promise.all([stages.end(), toolLog.end()]);
  }
  if (outcome.status === 'waiting') {
    const waitMs = await waitForProvider(tools, attempt, outcome.error);
    if (waitMs !== 'too long') return waitMs;
    outcome = failed(tools, attempt, outcome.error, 'calling_model');
  }
  stages.enter('committing');
  await stages.end();
  await finish(tools, attempt, { order, calls, tools: toolLog }, outcome);
  return undefined;
}

function gone({ context }: AttemptTools, { job, unitId }: Attempt, reason: OrderGone): undefined {
  const { order_id } = job;
  context.logger.warn({ order_id, unitId, reason: reason.message }, 'the unit was stopped');
}

/** Blocks the order until the provider takes work again, unless it has waited too long for that. */
async function waitForProvider(
  { book, context, gate }: AttemptTools,
  { job, attempt, unitId, begunAt, taken }: Attempt,
  error: AppError,
): Promise<number | undefined | 'too long'> {
  const now = context.log.defaults.now().getTime();
  const held = error.details?.['held'] === true;
  const until = held ? new Date(now + (error.retryAfterMs ?? 0)) : gate.refused(error);
  if (until.getTime() - begunAt.getTime() > context.config.quotaWaitMs) return 'too long';
  const resetsAt = until.toISOString();
  const reason = `${error.message}; it takes work again at ${resetsAt}`;
  const command = { attempt, unitId, reason, label: 'quota', resetsAt };
  const stored = await untilStored(
    () => book.decide(job, (order) => blockOrder(order, command)),
    taken,
  );
  return stored ? Math.max(0, until.getTime() - now) : undefined;
}

/** The time budget: it counts from the claim, so that a slow start does not stretch it. */
function startDeadline(startedAt: Date, now: () => Date) {
  const over = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  return {
    signal: over.signal,
    set: (budgetMs: number) => {
      const reserveMs = Math.min(budgetMs * RESERVE_SHARE, RESERVE_MS_MAX);
      const waitMs = startedAt.getTime() + budgetMs - reserveMs - now().getTime();
      const error = new AppError('TIMEOUT', { what: 'The order', limit_ms: budgetMs });
      timer = setTimeout(() => over.abort(error), Math.max(0, waitMs));
    },
    clear: () => clearTimeout(timer),
  };
}

function modelCalls(
  { book, budgets, context, gate, model }: AttemptTools,
  { job, runId, attempt, unitId, startedSeq, taken }: Attempt,
  order: OrderFile,
  signal: AbortSignal,
): ModelCalls {
  const { order_id, theater_id } = job;
  const place = { order_id, theater_id, run_id: runId };
  const stored = <T>(run: () => Promise<T>) => untilStored(run, taken);
  return createModelCalls({
    provider: model.provider,
    profileModel: modelOf(order),
    attempt,
    signal,
    gate,
    budget: {
      demand: () => stored(() => budgets.demand(place)),
      note: () => stored(() => budgets.note(place)),
    },
    now: context.log.defaults.now,
    // An attempt that waited for its provider asks again, from 0: the start tells them apart.
    emit: (type, payload, index) =>
      stored(() => book.tell(place, unitId, type, payload, [attempt, startedSeq, index])),
  });
}
