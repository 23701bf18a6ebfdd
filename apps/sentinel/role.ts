import { consumeTimers } from '#libs/broker';
import { API } from '#libs/contracts';
import { armPeriodic, healthHandler, type RoleContext, type RunningRole } from '#libs/runtime';
import { defineService } from '#libs/service';
import { createAudit } from './audit.ts';

const AUDIT_TIMER = 'sentinel-audit';

/** Watches the duty officer: is it alive, and does its watch achieve anything. */
export async function start(context: RoleContext): Promise<RunningRole> {
  const { broker, config, logger } = context;
  const audit = createAudit(context);
  const arm = () => armPeriodic(context, AUDIT_TIMER, config.auditMs);

  const timers = consumeTimers(broker, {
    durable: 'sentinel',
    kinds: [AUDIT_TIMER],
    logger,
    handle: async () => {
      await arm();
      const { verdict, actions } = await audit({ byTimer: true });
      if (verdict !== 'ok') logger.error({ verdict, actions }, 'the oversight fails');
    },
  });
  await arm();

  const service = defineService(API.sentinel, {
    audit: () => audit({ byTimer: false }),
    health: healthHandler(context, 'sentinel'),
  });
  return { service, close: () => timers.stop() };
}
