import { consumeTimers } from '#libs/broker';
import { API } from '#libs/contracts';
import {
  armPeriodic,
  healthHandler,
  nextBoundary,
  PATROL_TIMER,
  type RoleContext,
  type RunningRole,
} from '#libs/runtime';
import { defineService } from '#libs/service';
import { createPatrol } from './patrol.ts';

/** Patrols the garrison: overdue orders, observers, dependencies. It does no mission work. */
export async function start(context: RoleContext): Promise<RunningRole> {
  const { broker, config, log, logger } = context;
  const patrol = createPatrol(context);
  const arm = () => armPeriodic(context, PATROL_TIMER, config.patrolMs);

  const timers = consumeTimers(broker, {
    durable: 'duty-officer',
    kinds: [PATROL_TIMER],
    logger,
    handle: async ({ payload, firedAt }) => {
      // First the next one: whatever becomes of this patrol, there is another.
      await arm();
      const { at } = (payload ?? {}) as { at?: unknown };
      const fired = firedAt.getTime();
      const period =
        typeof at === 'number' ? at : nextBoundary(fired, config.patrolMs) - config.patrolMs;
      await patrol.run({ cause: `timer/${period}`, period, source: 'timer' });
    },
  });
  await arm();
  void patrol.look().catch((error: unknown) => {
    logger.warn({ err: error }, 'the roles were not looked at; the first patrol does it');
  });

  const service = defineService(API['duty-officer'], {
    patrol: ({ source }) => patrol.run({ cause: `${source}/${log.defaults.newId()}`, source }),
    health: healthHandler(context, 'duty-officer'),
  });
  return { service, close: () => timers.stop() };
}
