import { API, isAppError } from '#libs/contracts';
import { startReactor } from '#libs/eventlog';
import {
  createOrderCommands,
  healthHandler,
  type RoleContext,
  type RunningRole,
} from '#libs/runtime';
import { defineService } from '#libs/service';
import { integrateOrder } from './integrate.ts';

/** Refusals that are told by INTEGRATION_FAILED: whoever started the order decides what follows. */
const TOLD = ['GATE_FAILED', 'MERGE_CONFLICT', 'MAINLINE_DIRTY'] as const;

/** Checks completed orders and promotes them to the mainline of their theater. */
export async function start(context: RoleContext): Promise<RunningRole> {
  const { broker, log, logger } = context;
  const orders = createOrderCommands(log);

  const reactor = startReactor(broker, {
    name: 'integration',
    logger,
    // An observer has looked at the result by then.
    types: ['INTEGRATION_READY'],
    // One at a time for each theater; the merge itself holds a lock across processes.
    key: ({ theater_id }) => theater_id ?? '',
    handle: async ({ theater_id, order_id, seq }) => {
      if (theater_id === null || order_id === null) return;
      const order = await orders.load({ theater_id, order_id }, seq);
      // Orders that no plan created are promoted when somebody asks for it.
      if (!order.created || order.status !== 'COMPLETED') return;
      const state = order.integration?.state;
      if (state === undefined || state === 'FAILED' || state === 'INTEGRATED') return;
      const gate_profile = order.gate_profile ?? 'default';
      try {
        await integrateOrder(context, orders, { theater_id, order_id, gate_profile });
      } catch (error) {
        if (!isAppError(error, ...TOLD)) throw error;
        logger.info({ code: error.code, order_id }, 'order not promoted');
      }
    },
  });

  const service = defineService(API.integration, {
    integrate: (input) => integrateOrder(context, orders, input),
    health: healthHandler(context, 'integration'),
  });
  return { service, close: () => reactor.stop() };
}
