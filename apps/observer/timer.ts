import { type Broker, consumeTimers, scheduleTimer } from '#libs/broker';
import type { Logger } from 'pino';

export type PatrolTimerOptions = {
  garrisonId: string;
  periodMs: number;
  logger: Logger;
  /** May run twice for one period, by other observers too. */
  patrol(): Promise<void>;
};

const KIND = 'observer-patrol';

/** When the period that `now` lies in ends. */
export function periodEnd(now: number, periodMs: number): number {
  return (Math.floor(now / periodMs) + 1) * periodMs;
}

/** How long until the middle of a period, more than 0. */
export function untilMiddle(now: number, periodMs: number): number {
  const past = (now + periodMs / 2) % periodMs;
  return Math.max(1, periodMs - past);
}

/**
 * Patrols once in each period, by one of all observers. In the middle of a period every observer
 * sets the one timer to its end; setting it again changes nothing, so nobody leads and a timer that
 * was lost is back a period later.
 */
export function startPatrolTimer(broker: Broker, options: PatrolTimerOptions) {
  const { garrisonId, periodMs, logger } = options;
  let next: NodeJS.Timeout | undefined;
  let arming: Promise<void> = Promise.resolve();

  const arm = async (): Promise<void> => {
    try {
      const at = new Date(periodEnd(Date.now(), periodMs));
      await scheduleTimer(broker, { kind: KIND, id: garrisonId, at, payload: null });
    } catch (error) {
      logger.warn({ err: error }, 'the patrol timer was not set; again in the next period');
    }
  };
  const wait = (): void => {
    next = setTimeout(
      () => {
        arming = arm();
        wait();
      },
      untilMiddle(Date.now(), periodMs),
    );
  };
  wait();
  const timers = consumeTimers(broker, {
    durable: KIND,
    kinds: [KIND],
    logger,
    handle: () => options.patrol(),
  });
  return {
    async stop(): Promise<void> {
      clearTimeout(next);
      await arming;
      await timers.stop();
    },
  };
}
