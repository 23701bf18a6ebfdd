import { isAppError, type PayloadOf } from '#libs/contracts';
import { type Attempt, type AttemptTools, untilStored } from './attempt.ts';
import type { Stage } from './failure.ts';
import type { Stages } from './stages.ts';

type Signal = { stage: string; message?: string };

/** Tells where a unit stands. A signal is worth no retry: the next one tells more. */
export function signalStages(tools: AttemptTools, run: Attempt, stage: Stage): Promise<void> {
  return tellSignal(tools, run, { stage }, stage);
}

async function tellSignal(
  { book, context }: AttemptTools,
  run: Attempt,
  signal: Signal,
  key: string,
): Promise<void> {
  if (run.taken.aborted) return;
  const { attempt, unitId, startedSeq } = run;
  const { order_id } = run.job;
  try {
    const payload = { attempt, ...signal };
    await book.tell(placeOf(run), unitId, 'UNIT_SIGNAL', payload, [attempt, startedSeq, key]);
  } catch (error) {
    context.logger.info({ err: error, order_id, ...signal }, 'a signal was not stored');
  }
}

/** Signs of life while a unit is at work; at each of them the order is looked at as well. */
export function startHeartbeat(
  tools: AttemptTools,
  run: Attempt,
  { stages, look }: { stages: Stages; look: () => Promise<void> },
): { stop: () => Promise<void> } {
  const { config, logger } = tools.context;
  let beats = 0;
  let beating = Promise.resolve();
  const beat = async (): Promise<void> => {
    beats += 1;
    const signal = { stage: 'heartbeat', message: stages.current() };
    await tellSignal(tools, run, signal, `heartbeat/${beats}`);
    try {
      await look();
    } catch (error) {
      if (!isAppError(error)) throw error;
      logger.info({ err: error, order_id: run.job.order_id }, 'the order could not be looked at');
    }
  };
  const timer = setInterval(() => {
    beating = beating.then(beat);
  }, config.heartbeatEveryMs);
  return {
    stop: () => {
      clearInterval(timer);
      return beating;
    },
  };
}

/** Tells tool calls; they are given up only with the order itself. */
export async function tellTools(
  { book, context }: AttemptTools,
  run: Attempt,
  calls: readonly PayloadOf<'TOOL_CALLED'>[],
): Promise<void> {
  const { attempt, unitId, startedSeq, taken } = run;
  const facts = calls.map((payload) => ({
    payload,
    key: [attempt, startedSeq, payload.index ?? 0],
  }));
  try {
    await untilStored(() => book.tellAll(placeOf(run), unitId, 'TOOL_CALLED', facts), taken);
  } catch (error) {
    context.logger.warn({ err: error, order_id: run.job.order_id }, 'tool calls were not told');
  }
}

function placeOf({ job, runId }: Attempt) {
  return { order_id: job.order_id, theater_id: job.theater_id, run_id: runId };
}
