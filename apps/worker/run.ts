import { AppError, type OrderFile } from '#libs/contracts';
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
import { executeOrder, type UnitPorts } from './execute.ts';
import type { Stage } from './failure.ts';
import { createModelCalls, type ModelCalls } from './model-calls.ts';
import { readOrder } from './order-file.ts';
import { createStages, type Stages } from './stages.ts';

/** The end of the budget kept for the report, the commit and the last events. */
const RESERVE_SHARE = 0.2;
const RESERVE_MS_MAX = 1_000;

/**
 * Executes the order, writes its report, commits, and tells the end in one batch of events. A
 * failure of the order is an end too.
 * @throws the reason of `taken`: the order is somebody else's now
 */
export async function runAttempt(tools: AttemptTools, attempt: Attempt): Promise<void> {
  const { unitId, taken } = attempt;
  const stages = createStages((stage) => signalStage(tools, attempt, stage));
  const deadline = startDeadline(attempt.startedAt, tools.context.log.defaults.now);
  const signal = AbortSignal.any([taken, deadline.signal]);
  const state = { attempt: attempt.attempt, unit_id: unitId };
  let calls: ModelCalls | undefined;
  let order: OrderFile | undefined;
  let outcome: Outcome;
  try {
    stages.enter('starting');
    await writeState(tools, attempt, { ...state, status: 'RUNNING' });
    stages.enter('initializing');
    order = await readOrder(attempt.workspace.readFile, attempt.job);
    deadline.set(order.constraints.budget_seconds * 1_000);
    calls = modelCalls(tools, attempt, order, signal);
    const input = { order, model: modelOf(order) ?? tools.model.defaultModel };
    const result = await executeOrder(input, unitPorts(attempt, calls, stages, signal));
    signal.throwIfAborted();
    outcome = { status: 'completed', ...result };
  } catch (error) {
    taken.throwIfAborted();
    outcome = failed(tools, attempt, error, stages.current());
  } finally {
    deadline.clear();
    stages.enter('committing');
    await stages.end();
  }
  await finish(tools, attempt, { order, calls }, outcome);
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
  { book, context, model }: AttemptTools,
  { job, runId, attempt, unitId, taken }: Attempt,
  order: OrderFile,
  signal: AbortSignal,
): ModelCalls {
  const { order_id, theater_id } = job;
  const place = { order_id, theater_id, run_id: runId };
  return createModelCalls({
    provider: model.provider,
    profileModel: modelOf(order),
    attempt,
    signal,
    now: context.log.defaults.now,
    emit: (type, payload, index) =>
      untilStored(() => book.tell(place, unitId, type, payload, [attempt, index]), taken),
  });
}

function unitPorts(
  { workspace }: Attempt,
  calls: ModelCalls,
  stages: Stages,
  signal: AbortSignal,
): UnitPorts {
  const checked = <T>(run: () => Promise<T>): Promise<T> => {
    signal.throwIfAborted();
    return run();
  };
  return {
    readFile: async (path, maxBytes) => checked(() => workspace.readFile(path, maxBytes)),
    listFiles: async (folder) => checked(() => workspace.listFiles(folder)),
    writeFiles: async (files) => checked(() => workspace.writeFiles(files)),
    callModel: calls.call,
    stage: stages.enter,
  };
}

/** A signal is worth no retry: the next one tells more. */
async function signalStage(tools: AttemptTools, run: Attempt, stage: Stage): Promise<void> {
  if (run.taken.aborted) return;
  const { order_id, theater_id } = run.job;
  const place = { order_id, theater_id, run_id: run.runId };
  const { attempt, unitId } = run;
  try {
    await tools.book.tell(place, unitId, 'UNIT_SIGNAL', { attempt, stage }, [attempt, stage]);
  } catch (error) {
    tools.context.logger.info({ err: error, order_id, stage }, 'a signal was not stored');
  }
}
