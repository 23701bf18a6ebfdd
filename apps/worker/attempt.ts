import { setTimeout as sleep } from 'node:timers/promises';
import { AppError, isAppError, type JobMessage, type OrderFile } from '#libs/contracts';
import type { ModelProvider } from '#libs/models';
import { completeOrder, type Decision, failOrder, type OrderState } from '#libs/orders';
import type { RoleContext } from '#libs/runtime';
import { AAR_PATH, aarOf, type ModelUsed, type Report, type Spent } from './aar.ts';
import { executeOrder, type UnitPorts, type UnitResult } from './execute.ts';
import { type Failure, failureOf, type Stage } from './failure.ts';
import { createModelCalls, type ModelCalls } from './model-calls.ts';
import { readOrder } from './order-file.ts';
import type { OrderBook } from './orders.ts';
import { createStages, type Stages } from './stages.ts';
import type { Workspace } from './workspace.ts';

/** Which model answers, and its name where a profile names none. */
export type WorkerModel = { provider: ModelProvider; defaultModel: string };

export type AttemptTools = {
  context: Pick<RoleContext, 'log' | 'logger'>;
  book: OrderBook;
  model: WorkerModel;
};

/** One attempt at an order that this process has claimed. */
export type Attempt = {
  job: JobMessage;
  runId: string | null;
  attempt: number;
  unitId: string;
  workspace: Workspace;
  startedAt: Date;
  /** Sequence of its ORDER_STARTED. */
  startedSeq: number;
  /** Aborted when the order is taken away: nothing more may be written then. */
  taken: AbortSignal;
};

/** The end of the budget kept for the report, the commit and the last events. */
const RESERVE_SHARE = 0.2;
const RESERVE_MS_MAX = 1_000;
const STORE_RETRY_MS = 250;

type Outcome =
  | ({ status: 'completed' } & UnitResult)
  | { status: 'failed'; failure: Failure; notes: string[] };

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

function failed(tools: AttemptTools, attempt: Attempt, error: unknown, stage: Stage): Outcome {
  const { log, logger } = tools.context;
  const { order_id } = attempt.job;
  const failure = failureOf(error, stage, log.defaults.now());
  logger.warn({ err: error, order_id, attempt: attempt.attempt, failure }, 'the order failed');
  return { status: 'failed', failure, notes: [] };
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

/** The model that the profile names; `default` stands for whichever is configured. */
function modelOf({ profile }: OrderFile): string | undefined {
  return profile === undefined || profile.model === 'default' ? undefined : profile.model;
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

type Known = { order: OrderFile | undefined; calls: ModelCalls | undefined };

async function finish(
  tools: AttemptTools,
  attempt: Attempt,
  known: Known,
  outcome: Outcome,
): Promise<void> {
  const { context, book } = tools;
  const { job, unitId } = attempt;
  // Another unit may be at work in the same folder by now.
  const { order } = await untilStored(() => book.load(job, attempt.startedSeq), attempt.taken);
  if (order.unit_id !== unitId || order.attempt !== attempt.attempt || order.status !== 'RUNNING') {
    const now = { status: order.status, attempt: order.attempt, unit_id: order.unit_id };
    context.logger.warn({ order_id: job.order_id, unitId, now }, 'the order moved on; given up');
    return;
  }
  let report = reportOf(tools, attempt, known, outcome);
  let commitSha: string | undefined;
  try {
    commitSha = await writeReport(attempt, report);
  } catch (error) {
    attempt.taken.throwIfAborted();
    if (report.status === 'completed') {
      const other = failed(tools, attempt, error, 'committing');
      report = reportOf(tools, attempt, known, other);
    }
    commitSha = await writeReportAlone(tools, attempt, report);
  }
  await writeState(tools, attempt, {
    attempt: attempt.attempt,
    unit_id: unitId,
    status: report.status === 'completed' ? 'COMPLETED' : 'FAILED',
  });
  await tellEnd(tools, attempt, report, commitSha);
}

function reportOf(tools: AttemptTools, attempt: Attempt, known: Known, outcome: Outcome): Report {
  const { job, runId, unitId, startedAt } = attempt;
  const { provider, defaultModel } = tools.model;
  const unasked: ModelUsed = {
    provider: provider.name,
    name: (known.order && modelOf(known.order)) ?? defaultModel,
  };
  const nothing: Spent = { usage: { input_tokens: 0, output_tokens: 0 }, costMicroUsd: 0 };
  return {
    ...outcome,
    order: { order_id: job.order_id, run_id: runId, theater_id: job.theater_id },
    attempt: attempt.attempt,
    unitId,
    startedAt,
    endedAt: tools.context.log.defaults.now(),
    model: known.calls?.used() ?? unasked,
    spent: known.calls?.spent() ?? nothing,
  };
}

async function writeReport(attempt: Attempt, report: Report, paths?: string[]): Promise<string> {
  const { workspace, taken } = attempt;
  const bytes = Buffer.from(`${JSON.stringify(aarOf(report), null, 2)}\n`);
  await workspace.writeFiles([{ path: AAR_PATH, bytes }]);
  taken.throwIfAborted();
  return workspace.commit(commitMessage(attempt, report), report.endedAt, paths);
}

/** What cannot be committed (as a link that the unit made) must not keep the report out. */
async function writeReportAlone(
  { context }: AttemptTools,
  attempt: Attempt,
  report: Report,
): Promise<string | undefined> {
  try {
    return await writeReport(attempt, report, [AAR_PATH]);
  } catch (error) {
    attempt.taken.throwIfAborted();
    const { order_id } = attempt.job;
    context.logger.error({ err: error, order_id }, 'the report could not be committed');
    return undefined;
  }
}

function commitMessage({ job, runId, attempt, unitId }: Attempt, { status }: Report): string {
  const trailers = [
    `Order: ${job.order_id}`,
    ...(runId === null ? [] : [`Run: ${runId}`]),
    `Attempt: ${attempt}`,
    `Unit: ${unitId}`,
  ];
  return `Order ${job.order_id} ${status}\n\n${trailers.join('\n')}\n`;
}

async function writeState(
  { context }: AttemptTools,
  { job, workspace }: Attempt,
  state: Record<string, unknown>,
): Promise<void> {
  const updated_at = context.log.defaults.now().toISOString();
  try {
    await workspace.writeState({ order_id: job.order_id, ...state, updated_at });
  } catch (error) {
    // It is for people who look into the folder; the ledger has the truth.
    context.logger.warn({ err: error, order_id: job.order_id }, 'state.json was not written');
  }
}

/** ARTIFACT_WRITTEN, AAR_WRITTEN and the end of the order, together or not at all. */
async function tellEnd(
  { context, book }: AttemptTools,
  { job, taken }: Attempt,
  report: Report,
  commitSha: string | undefined,
): Promise<void> {
  const decision = endOf(report, commitSha);
  const stored = await untilStored(() => book.decide(job, decision), taken);
  const about = { order_id: job.order_id, attempt: report.attempt, status: report.status };
  if (stored) context.logger.info(about, 'the order has ended');
  else context.logger.warn(about, 'the order moved on; its end is not told');
}

/** The decision that ends an order as a report says. */
export function endOf(
  report: Report,
  commitSha: string | undefined,
): (order: OrderState) => Decision {
  const { attempt, unitId, spent, startedAt, endedAt } = report;
  const end = {
    attempt,
    unitId,
    durationMs: Math.max(0, endedAt.getTime() - startedAt.getTime()),
    usage: spent.usage,
    costMicroUsd: spent.costMicroUsd,
    ...(commitSha !== undefined && { aar: { path: AAR_PATH, status: report.status } }),
  };
  if (report.status === 'completed') {
    if (commitSha === undefined) throw new Error('a completed order has a commit');
    return (order) => completeOrder(order, { ...end, commitSha, artifacts: report.artifacts });
  }
  const { resetAt, ...failure } = report.failure;
  return (order) => {
    const decision = failOrder(order, { ...end, ...failure });
    if (!decision.ok || resetAt === undefined) return decision;
    for (const event of decision.events) {
      if (event.type === 'ORDER_FAILED') event.payload.reset_at = resetAt;
    }
    return decision;
  };
}

/** Waits out a broker that is away; rejects when the order is taken away meanwhile. */
async function untilStored<T>(run: () => Promise<T>, taken: AbortSignal): Promise<T> {
  for (;;) {
    taken.throwIfAborted();
    try {
      return await run();
    } catch (error) {
      if (!isAppError(error, 'DEPENDENCY_UNAVAILABLE', 'VERSION_CONFLICT', 'VIEW_BEHIND'))
        throw error;
      await sleep(STORE_RETRY_MS);
    }
  }
}
