import { setTimeout as sleep } from 'node:timers/promises';
import { isAppError, type JobMessage, type OrderFile } from '#libs/contracts';
import type { ModelProvider } from '#libs/models';
import type { RoleContext } from '#libs/runtime';
import type { UnitHost } from '#libs/units';
import type { WrittenArtifact } from './aar.ts';
import type { CostBudgets } from './budget.ts';
import { type Failure, failureOf, type Stage } from './failure.ts';
import type { OrderBook } from './orders.ts';
import type { ProviderGate } from './provider-gate.ts';
import type { Workspace } from './workspace.ts';

/** Which model answers, and its name where a profile names none. */
export type WorkerModel = { provider: ModelProvider; defaultModel: string };

export type AttemptTools = {
  context: Pick<RoleContext, 'log' | 'logger' | 'config'>;
  book: OrderBook;
  model: WorkerModel;
  gate: ProviderGate;
  budgets: CostBudgets;
  /** How units are started; made once, when it is first needed. */
  units: () => Promise<UnitHost>;
};

/** One attempt at an order that this process has claimed. */
export type Attempt = {
  job: JobMessage;
  runId: string | null;
  attempt: number;
  unitId: string;
  workspace: Workspace;
  startedAt: Date;
  /** When the attempt began at first: before `startedAt` where it waited for a provider. */
  begunAt: Date;
  /** Sequence of its ORDER_STARTED. */
  startedSeq: number;
  /** Aborted when the order is taken away: nothing more may be written then. */
  taken: AbortSignal;
};

const STORE_RETRY_MS = 250;

/** How an attempt ended, before it is reported. */
export type Outcome =
  | { status: 'completed'; summary: string; artifacts: WrittenArtifact[]; notes: string[] }
  /** Code ORDER_BLOCKED: the unit gave up and said why. */
  | { status: 'failed'; failure: Failure; notes: string[] };

/** The end of an attempt in which `error` was thrown. */
export function failed(
  tools: AttemptTools,
  attempt: Attempt,
  error: unknown,
  stage: Stage,
): Outcome {
  const { log, logger } = tools.context;
  const { order_id } = attempt.job;
  const failure = failureOf(error, stage, log.defaults.now());
  logger.warn({ err: error, order_id, attempt: attempt.attempt, failure }, 'the order failed');
  return { status: 'failed', failure, notes: [] };
}

/** The model that the profile names; `default` stands for whichever is configured. */
export function modelOf({ profile }: OrderFile): string | undefined {
  return profile === undefined || profile.model === 'default' ? undefined : profile.model;
}

/** Writes state.json; that it cannot be written is only logged. */
export async function writeState(
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

/** Waits out a broker that is away; rejects when the order is taken away meanwhile. */
export async function untilStored<T>(run: () => Promise<T>, taken: AbortSignal): Promise<T> {
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
