import { retryDelayMs } from '#libs/broker';
import {
  type AppError,
  isAppError,
  invalid,
  jobMessage,
  type JobMessage,
  parse,
} from '#libs/contracts';
import { jobSubject, setAside } from '#libs/eventlog';
import { deadLetterJob, failOrder, hasRetriesLeft, type OrderState } from '#libs/orders';
import type { Pauses, RoleContext } from '#libs/runtime';
import { assertWorktree } from '#libs/worktrees';
import type { AttemptTools } from './attempt.ts';
import { type Delivery, holdLease, type Lease, LeaseLost } from './lease.ts';
import { type Beginning, type Held, judge } from './orders.ts';
import { runAttempt } from './run.ts';
import { finishCommitted, giveUp, REISSUE_REASON, retryCap } from './takeover.ts';
import type { OpenWorkspace, Workspace } from './workspace.ts';

export type JobTools = AttemptTools & {
  context: RoleContext;
  openWorkspace: OpenWorkspace;
  pauses: Pauses;
  /** Aborted, with `Stopping`, when the jobs at work have to be handed back. */
  stopping: AbortSignal;
};

/** Why jobs are handed back: this process ends. */
export class Stopping extends Error {}

/** A job that cannot be worked on yet. */
class TooEarly extends Error {}

/** A job that has to wait: for the model provider, or for a pause to end. */
class OnHold extends Error {
  readonly delayMs: number;
  constructor(delayMs: number, cause: string) {
    super(`on hold for ${delayMs} ms: ${cause}`);
    this.delayMs = delayMs;
  }
}

/** A job that can never be worked on; its cause says why. */
class Poison extends Error {
  override readonly cause: AppError;
  constructor(cause: AppError) {
    super(cause.message, { cause });
    this.cause = cause;
  }
}

const DELIVERIES_MAX = 20;
/** A job held back by a pause is looked at again after this at the latest. */
const PAUSE_WAIT_MS_MAX = 10_000;
/** Looks at an order before its job is handed back. */
const ROUNDS = 5;

/** Makes the function that settles deliveries: it never rejects and may meet a job many times. */
export function createJobHandler(tools: JobTools): (delivery: Delivery) => Promise<void> {
  const { jobLeaseMs } = tools.context.config;
  const atWork = new Map<number, { lease: Lease; done: Promise<void> }>();

  return async (delivery) => {
    const before = atWork.get(delivery.seq);
    if (before !== undefined) {
      // The lease ran out (the broker was away) while the unit here is still at work.
      if (!before.lease.signal.aborted) return before.lease.adopt(delivery);
      await before.done;
    }
    const lease = holdLease(delivery, jobLeaseMs);
    const done = settle(tools, lease).finally(() => {
      lease.end();
      if (atWork.get(delivery.seq)?.lease === lease) atWork.delete(delivery.seq);
    });
    atWork.set(delivery.seq, { lease, done });
    await done;
  };
}

async function settle(tools: JobTools, lease: Lease): Promise<void> {
  const { logger } = tools.context;
  const { seq, deliveries } = lease.delivery();
  try {
    await take(tools, lease);
    answer(tools, lease, (delivery) => delivery.ack());
  } catch (error) {
    if (error instanceof LeaseLost) {
      logger.warn({ seq, reason: error.message }, 'lost the job; another worker may have it');
    } else if (error instanceof OnHold) {
      // Spread over a moment, so that not all of them come back at once.
      const delayMs = Math.ceil(
        error.delayMs + Math.random() * Math.min(error.delayMs / 10, 2_000),
      );
      logger.info({ seq, delayMs, reason: error.message }, 'the job waits');
      answer(tools, lease, (delivery) => delivery.nak(delayMs));
    } else if (error instanceof Stopping) {
      answer(tools, lease, (delivery) => delivery.nak(0));
    } else if (error instanceof Poison) {
      await bury(tools, lease, error.cause);
    } else if (deliveries < DELIVERIES_MAX || isTransient(error)) {
      const delayMs = retryDelayMs(deliveries, Math.random());
      logger.warn({ err: error, seq, deliveries, delayMs }, 'the job will be delivered again');
      answer(tools, lease, (delivery) => delivery.nak(delayMs));
    } else {
      await bury(tools, lease, error);
    }
  }
}

function isTransient(error: unknown): boolean {
  return isAppError(error, 'DEPENDENCY_UNAVAILABLE', 'VERSION_CONFLICT', 'VIEW_BEHIND');
}

function answer({ context }: JobTools, lease: Lease, send: (delivery: Delivery) => void): void {
  try {
    send(lease.delivery());
  } catch (error) {
    // Then it is delivered again, and judged by what the ledger says.
    context.logger.warn({ err: error, seq: lease.delivery().seq }, 'a job could not be answered');
  }
}

/** Sets a job aside that nobody can work on. */
async function bury(tools: JobTools, lease: Lease, error: unknown): Promise<void> {
  const { broker, log, logger } = tools.context;
  const { seq, subject, data } = lease.delivery();
  const reason = error instanceof Error ? error.message : String(error);
  const code = isAppError(error) ? error.code : 'INTERNAL';
  logger.error({ err: error, seq, subject }, 'the job is set aside');
  try {
    const deadSeq = await setAside(broker, {
      channel: 'jobs',
      code,
      reason,
      source: { stream: 'JOBS', seq, subject },
      at: log.defaults.now().toISOString(),
      data,
    });
    const job = readJob(lease.delivery());
    if (job !== undefined) {
      const { attempt } = job;
      await tools.book.decide(job, (order) => deadLetterJob(order, { attempt, reason, deadSeq }));
    }
  } catch (failure) {
    logger.warn({ err: failure, seq }, 'the job could not be set aside; it is delivered again');
    return;
  }
  answer(tools, lease, (delivery) => delivery.term(reason));
}

/** Does with a job what the state of its order asks for. */
async function take(tools: JobTools, lease: Lease): Promise<void> {
  const { seq } = lease.delivery();
  const job = readJob(lease.delivery());
  if (job === undefined) throw new Poison(invalid('job', 'is not a job message of this queue'));
  for (let round = 0; round < ROUNDS; round += 1) {
    if (await act(tools, lease, job)) return;
    // What was read was old (a replica may be behind), or somebody was faster: look again.
  }
  throw new TooEarly(`job ${seq}: its order changes faster than it can be read`);
}

/** One look and one step; false: the order stood otherwise than it seemed. */
async function act(tools: JobTools, lease: Lease, job: JobMessage): Promise<boolean> {
  const { context, book } = tools;
  const { seq } = lease.delivery();
  const { order_id, attempt } = job;
  const held = await book.load(job);
  const verdict = judge(held, job, seq);
  if (verdict.do === 'drop') {
    const { reason } = verdict;
    context.logger.info({ order_id, attempt, seq, reason }, 'the job is dropped');
    return true;
  }
  if (verdict.do === 'wait') {
    throw new TooEarly(`attempt ${attempt} of order ${order_id} is not in the ledger`);
  }
  const waitMs = Math.max(
    tools.gate.waitMs(),
    verdict.do === 'resume' ? untilMs(tools, verdict) : 0,
  );
  if (verdict.do !== 'take over') {
    if (waitMs > 0) throw new OnHold(waitMs, 'the model provider takes no work');
    await holdBack(tools, lease, job);
  }
  const workspace = await openOrFail(tools, job, held.order);
  if (workspace === undefined) return true;
  if (verdict.do === 'take over') return takeOver(tools, lease, job, held.order, workspace);
  if (verdict.do === 'resume') return resume(tools, lease, job, held, workspace);
  const beginning = newBeginning(tools, lease, attempt, job.unit_id);
  return work(tools, lease, { job, order: held.order, workspace, beginning }, (startedBy) =>
    book.begin(job, startedBy),
  );
}

/** Goes on with an order whose provider takes work again: the same unit, the same attempt. */
function resume(
  tools: JobTools,
  lease: Lease,
  job: JobMessage,
  { order }: Held,
  workspace: Workspace,
): Promise<boolean> {
  const beginning = newBeginning(tools, lease, order.attempt, order.unit_id);
  const begunAt = order.started_at === null ? undefined : new Date(order.started_at);
  return work(tools, lease, { job, order, workspace, beginning, begunAt }, (startedBy) =>
    tools.book.resume(job, startedBy),
  );
}

/** @throws {OnHold} the run, the theater or the class is paused */
async function holdBack({ pauses }: JobTools, lease: Lease, job: JobMessage): Promise<void> {
  const { subject, deliveries } = lease.delivery();
  const { theater_id, run_id } = job;
  const held = await pauses.heldBy({ theater_id, run_id, class: subject.split('.')[3] });
  if (held !== null)
    throw new OnHold(Math.min(PAUSE_WAIT_MS_MAX, 500 * deliveries), `${held} is paused`);
}

function untilMs({ context }: JobTools, { notBefore }: { notBefore: string }): number {
  return Math.max(0, Date.parse(notBefore) - context.log.defaults.now().getTime());
}

/** The job in a message; undefined where it is none, or lies in another theater's queue. */
function readJob({ data, subject }: Delivery): JobMessage | undefined {
  try {
    const job = parse(jobMessage, JSON.parse(new TextDecoder().decode(data)));
    const [, , , workerClass = ''] = subject.split('.');
    return jobSubject(job.theater_id, workerClass) === subject ? job : undefined;
  } catch (error) {
    if (error instanceof SyntaxError || isAppError(error)) return undefined;
    throw error;
  }
}

/** Opens the order's files. Where that cannot be, an order that is known fails. */
async function openOrFail(
  tools: JobTools,
  job: JobMessage,
  order: OrderState,
): Promise<Workspace | undefined> {
  const { theaters } = tools.context;
  try {
    const theater = await theaters.get(job.theater_id);
    return tools.openWorkspace(
      theater,
      await assertWorktree(theater, job.worktree_path, job.order_id),
    );
  } catch (error) {
    if (!isAppError(error) || error.retry !== 'never') throw error;
    if (order.version === 0) throw new Poison(error);
    await failUnopened(tools, job, order, error);
    return undefined;
  }
}

async function failUnopened(
  { book }: JobTools,
  job: JobMessage,
  { attempt }: OrderState,
  { code, message }: AppError,
): Promise<void> {
  // The next attempt gets a new worktree; nothing helps against a path that is another's.
  const retryable = code === 'WORKTREE_NOT_FOUND';
  const failure = { code, message, stage: 'initializing', retryable };
  await book.decide(job, (order) => failOrder(order, { attempt, unitId: null, ...failure }));
}

function newBeginning(
  { context }: JobTools,
  lease: Lease,
  attempt: number,
  unitId: string | null | undefined,
): Beginning {
  return {
    attempt,
    unitId: unitId ?? `assault_${context.log.defaults.newId()}`,
    jobSeq: lease.delivery().seq,
    leaseMs: context.config.jobLeaseMs,
  };
}

type Work = {
  job: JobMessage;
  order: OrderState;
  workspace: Workspace;
  beginning: Beginning;
  /** When the attempt began at first, where it was not now. */
  begunAt?: Date | undefined;
};

/** Claims the order and executes it; false: it could not be claimed. */
async function work(
  tools: JobTools,
  lease: Lease,
  { job, order, workspace, beginning, begunAt }: Work,
  claim: (beginning: Beginning) => Promise<number | null>,
): Promise<boolean> {
  const startedAt = tools.context.log.defaults.now();
  const startedSeq = await claim(beginning);
  if (startedSeq === null) return false;
  const { attempt, unitId } = beginning;
  const taken = AbortSignal.any([lease.signal, tools.stopping]);
  const { run_id: runId } = order;
  const times = { startedAt, begunAt: begunAt ?? startedAt, startedSeq };
  const waitMs = await runAttempt(tools, {
    job,
    runId,
    attempt,
    unitId,
    workspace,
    ...times,
    taken,
  });
  if (waitMs !== undefined) throw new OnHold(waitMs, 'the model provider takes no work');
  return true;
}

/** The unit of this job has died: its work is finished, handed to the planner, or begun again here. */
async function takeOver(
  tools: JobTools,
  lease: Lease,
  job: JobMessage,
  order: OrderState,
  workspace: Workspace,
): Promise<boolean> {
  const { context, book } = tools;
  if (await finishCommitted(tools, job, order, workspace)) return true;
  const maxRetries = await retryCap(job, order, workspace);
  const { order_id, attempt, unit_id } = order;
  context.logger.warn({ order_id, attempt, unit_id }, 'a unit has fallen silent');
  if (order.created || !hasRetriesLeft(order, maxRetries)) {
    // Who created the order makes a new worktree and a new job for the next attempt.
    await book.decide(job, giveUp(order, maxRetries));
    return true;
  }
  const beginning = newBeginning(tools, lease, attempt + 1, null);
  return work(tools, lease, { job, order, workspace, beginning }, (next) =>
    book.restart(job, next, { reason: REISSUE_REASON, maxRetries }),
  );
}
