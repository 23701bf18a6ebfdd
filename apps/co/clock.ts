import { cancelTimer, type Consuming, consumeTimers, scheduleTimer } from '#libs/broker';
import { failRun, runDeadlineMs, type RunState } from '#libs/orders';
import type { Pauses, RoleContext } from '#libs/runtime';
import { z } from 'zod';
import type { RunPlace, Runs } from './runs.ts';

const KIND = 'run-limit';
/** A clock that stands still is looked at so often; it is set anew as it goes on. */
const HELD_MS = 60_000;

const timerPayload = z.object({ theater_id: z.string() });

/** Ends runs that take longer than `run_seconds`; one timer a run, which survives restarts. */
export function createRunClock(context: RoleContext, runs: Runs, pauses: Pauses) {
  const { broker, log, logger } = context;
  const now = (): number => log.defaults.now().getTime();

  const deadlineOf = async (run: RunState): Promise<number | null> => {
    const limitMs = runs.behaviour(run).run_seconds * 1_000;
    const deadline = runDeadlineMs(run, limitMs, now());
    if (deadline === null || run.theater_id === null) return deadline;
    // After a pause of its theater a run has its whole time again.
    const resumedAt = await pauses.resumedAt(run.theater_id);
    const again = resumedAt === null ? 0 : Date.parse(resumedAt);
    return again > Date.parse(run.clock_from ?? '')
      ? Math.max(deadline, again + limitMs)
      : deadline;
  };

  const set = async (run: RunState, at: number): Promise<void> => {
    const { run_id: id, theater_id } = run;
    await scheduleTimer(broker, { kind: KIND, id, at: new Date(at), payload: { theater_id } });
  };

  const ring = async (place: RunPlace): Promise<void> => {
    const { run } = (await runs.load(place)).state;
    if (run?.status !== 'OPEN' || !run.created) return;
    const deadline = await deadlineOf(run);
    if (deadline === null) return;
    const held =
      run.held_since !== null || (await pauses.heldBy({ theater_id: place.theater_id })) !== null;
    if (held) return set(run, Math.max(deadline, now() + HELD_MS));
    if (deadline > now()) return set(run, deadline);
    const limit = runs.behaviour(run).run_seconds;
    const reason = `the run took longer than ${limit} s`;
    await runs.decide(place, (agg) =>
      failRun(agg, { reason, code: 'TIMEOUT', stage: 'execution' }),
    );
  };

  return {
    /** Sets the timer of an open run anew, or takes away that of one that has ended. */
    wind: async (place: RunPlace, minSeq: number): Promise<void> => {
      const { run } = (await runs.load(place, minSeq)).state;
      if (run === undefined || !run.created) return;
      if (run.status !== 'OPEN') return cancelTimer(broker, KIND, run.run_id);
      const deadline = await deadlineOf(run);
      if (deadline !== null) await set(run, deadline);
    },
    /** Looks at runs as their timers fire, until stopped. */
    consume: (): Consuming =>
      consumeTimers(broker, {
        durable: 'co-clock',
        kinds: [KIND],
        logger,
        concurrency: 8,
        handle: async ({ id, payload }) => {
          await ring({ run_id: id, theater_id: timerPayload.parse(payload).theater_id });
        },
      }),
  };
}
