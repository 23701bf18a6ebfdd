import type { OrderFile } from '#libs/contracts';
import { blockOrder, completeOrder, type Decision, failOrder, type OrderState } from '#libs/orders';
import { AAR_PATH, aarOf, type ModelUsed, type Report, type Spent } from './aar.ts';
import {
  type Attempt,
  type AttemptTools,
  failed,
  modelOf,
  type Outcome,
  untilStored,
  writeState,
} from './attempt.ts';
import { BLOCKED } from './failure.ts';
import type { ModelCalls } from './model-calls.ts';
import type { ToolLog } from './tool-log.ts';

type Known = { order: OrderFile | undefined; calls: ModelCalls | undefined; tools: ToolLog };

/** Writes the report of an attempt, commits, and tells the end, unless the order moved on. */
export async function finish(
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
    toolCalls: known.tools.entries(),
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
  if (failure.code === BLOCKED) {
    return (order) => blockOrder(order, { ...end, reason: failure.message, label: 'unit.blocked' });
  }
  return (order) => {
    const decision = failOrder(order, { ...end, ...failure });
    if (!decision.ok || resetAt === undefined) return decision;
    for (const event of decision.events) {
      if (event.type === 'ORDER_FAILED') event.payload.reset_at = resetAt;
    }
    return decision;
  };
}
