import { API, isAppError } from '#libs/contracts';
import { createAggregateStore, ledgerFilter, startReactor } from '#libs/eventlog';
import { awaitsApproval, EMPTY_RUN, foldRun, type OrderState } from '#libs/orders';
import {
  createOrderCommands,
  healthHandler,
  type RoleContext,
  type RunningRole,
} from '#libs/runtime';
import { defineService } from '#libs/service';
import { createCommandGates } from './command-gate.ts';
import { createGates } from './gates.ts';
import { createGovernanceGate } from './governance-gate.ts';
import { integrateOrder, refuseOrder } from './integrate.ts';
import { BUILT_IN_GATE_PROFILES, loadGateProfiles } from './profiles.ts';

/**
 * Refusals that are told by INTEGRATION_FAILED: whoever started the order decides what follows. The
 * last one: the order has moved on meanwhile, by another process or by a person.
 */
const TOLD = ['GATE_FAILED', 'MERGE_CONFLICT', 'MAINLINE_DIRTY', 'ILLEGAL_TRANSITION'] as const;

/** Checks completed orders and promotes them to the mainline of their theater. */
export async function start(context: RoleContext): Promise<RunningRole> {
  const { broker, config, log, logger } = context;
  const profiles = await loadGateProfiles([BUILT_IN_GATE_PROFILES, ...config.gateProfileDirs]);
  const commands = createCommandGates(logger, [config.stateDir]);
  const gates = createGates(profiles, commands, createGovernanceGate(context));
  const orders = createOrderCommands(log);

  const runs = createAggregateStore(broker, EMPTY_RUN, (agg, events) => foldRun(events, agg));
  const hasEnded = async ({ theater_id, run_id }: OrderState): Promise<boolean> => {
    if (run_id === null) return false;
    const { garrisonId: garrison_id } = config;
    const { state } = await runs.load(ledgerFilter({ garrison_id, theater_id, run_id }));
    return state.run !== undefined && state.run.status !== 'OPEN';
  };

  const reactor = startReactor(broker, {
    name: 'integration',
    logger,
    // An observer has looked at the result by then.
    // What a person had to approve goes on with the decision.
    types: ['INTEGRATION_READY', 'DECISION_GIVEN'],
    // One at a time for each theater; the merge itself holds a lock across processes.
    key: ({ theater_id }) => theater_id ?? '',
    handle: async ({ theater_id, order_id, seq }, signal) => {
      if (theater_id === null || order_id === null) return;
      const order = await orders.load({ theater_id, order_id }, seq);
      // Orders that no plan created are promoted when somebody asks for it.
      if (!order.created || order.status !== 'COMPLETED' || awaitsApproval(order)) return;
      const state = order.integration?.state;
      if (state === undefined || state === 'FAILED' || state === 'INTEGRATED') return;
      const gate_profile = order.gate_profile ?? 'default';
      try {
        const input = { theater_id, order_id, gate_profile };
        await integrateOrder(context, orders, gates, input, signal);
      } catch (error) {
        if (isAppError(error, 'UNKNOWN_GATE_PROFILE')) {
          const { message } = error;
          await refuseOrder(orders, { theater_id, order_id }, { gate: 'profile', message });
        } else if (isAppError(error, 'BRANCH_REFUSED')) {
          // The mission was merged meanwhile, and its lanes went.
          const { message } = error;
          await refuseOrder(orders, { theater_id, order_id }, { gate: 'branch', message });
        } else if (isAppError(error, 'WORKTREE_NOT_FOUND')) {
          // It was removed with its run, which was cancelled or failed meanwhile.
          if (!(await hasEnded(order))) throw error;
        } else if (!isAppError(error, ...TOLD)) throw error;
        logger.info({ code: error.code, order_id }, 'order not promoted');
      }
    },
  });

  const service = defineService(API.integration, {
    integrate: (input) => integrateOrder(context, orders, gates, input),
    health: healthHandler(context, 'integration'),
  });
  return { service, close: () => reactor.stop() };
}
