import { consumeTimers } from '#libs/broker';
import { armPeriodic, type RoleContext } from '#libs/runtime';

const KIND = 'observer-patrol';

/** How long until the middle of a period, more than 0. */
export function untilMiddle(nowMs: number, periodMs: number): number {
  const past = (nowMs + periodMs / 2) % periodMs;
  return Math.max(1, periodMs - past);
}

/**
 * Patrols once in each period, by one of all observers. In the middle of a period every observer
 * sets the one timer to its end; setting it again changes nothing, so nobody leads and a timer that
 * was lost is back a period later.
 * @param patrol may run twice for one period, by other observers too
 */
export function startPatrolTimer(context: RoleContext, patrol: () => Promise<void>) {
  const { broker, config, log, logger } = context;
  let next: NodeJS.Timeout | undefined;
  let arming: Promise<void> = Promise.resolve();

  const arm = async (): Promise<void> => {
    try {
      await armPeriodic(context, KIND, config.patrolMs);
    } catch (error) {
      logger.warn({ err: error }, 'the patrol timer was not set; again in the next period');
    }
  };
  const wait = (): void => {
    const waitMs = untilMiddle(log.defaults.now().getTime(), config.patrolMs);
    next = setTimeout(() => {
      arming = arm();
      wait();
    }, waitMs);
  };
  wait();
  const timers = consumeTimers(broker, { durable: KIND, kinds: [KIND], logger, handle: patrol });
  return {
    async stop(): Promise<void> {
      clearTimeout(next);
      await arming;
      await timers.stop();
    },
  };
}
