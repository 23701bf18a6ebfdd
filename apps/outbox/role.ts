import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { API, AppError, invalid } from '#libs/contracts';
import { emitDemand, emitMilestone, openOutbox } from '#libs/outbox';
import {
  claimSlot,
  healthHandler,
  openSettings,
  type RoleContext,
  type RunningRole,
  stateLayout,
} from '#libs/runtime';
import { defineService } from '#libs/service';
import { startDemand } from './demand/source.ts';
import { openDestinations } from './destinations.ts';
import { discard, getDelivery, listPage, redrive, rowOf } from './handlers.ts';
import { startMilestones } from './source.ts';
import { standingOf } from './standing.ts';

/**
 * Delivers milestones and demand summaries to their targets, and makes those of IronClaw itself.
 * Several may run: a lease gives each target to one of them.
 */
export async function start(context: RoleContext): Promise<RunningRole> {
  const { config } = context;
  checkTargets(context);
  const destinations = openDestinations(context);
  const slot = claimSlot(join(stateLayout(config.stateDir).views, 'outbox'));
  const undo: (() => Promise<void> | void)[] = [() => slot.release()];
  const close = async (): Promise<void> => {
    for (const step of undo.splice(0).reverse()) await step();
  };
  try {
    const { now } = context.log.defaults;
    const holder = randomUUID();
    const outbox = await openOutbox({
      broker: context.broker,
      folder: slot.folder,
      destinations,
      policy: config.delivery,
      settledKeepMs: config.delivery.keepMs,
      holder,
      now,
      random: Math.random,
      logger: context.logger,
    });
    undo.push(() => outbox.close());
    const milestones = startMilestones(context, outbox);
    undo.push(() => milestones.stop());
    if (config.demandTargets.length > 0) {
      const { folder } = slot;
      const targets = config.demandTargets;
      const demand = await startDemand(context, { outbox, targets, folder, holder });
      undo.push(() => demand.close());
    }
    return { service: serviceOf(context, outbox, destinations), close };
  } catch (error) {
    await close();
    throw error;
  }
}

function serviceOf(
  context: RoleContext,
  outbox: Awaited<ReturnType<typeof openOutbox>>,
  destinations: ReturnType<typeof openDestinations>,
) {
  const { config, log, env } = context;
  const { now } = log.defaults;
  const { store, projection } = outbox;
  const settings = openSettings(env);
  const usable = new Set(destinations.map(({ name }) => name));
  return defineService(API.outbox, {
    emitMilestone: ({ event, targets = settings.of().milestone_targets.split(',') }) => {
      known(config.targets, targets);
      return emitMilestone(event, { store, targets, now: now() });
    },
    emitDemand: ({ snapshot, targets = config.demandTargets }) => {
      known(config.targets, targets);
      return emitDemand(snapshot, { store, targets, now: now() });
    },
    deliveries: async (input) => {
      await projection.reflect(input.at_least);
      return listPage(outbox, input);
    },
    delivery: async ({ delivery_id }) => {
      const stored = await getDelivery(outbox, delivery_id);
      return { ...rowOf(stored), body: stored.delivery.body };
    },
    redrive: ({ delivery_id }) => redrive(outbox, delivery_id, now),
    discard: ({ delivery_id }) => discard(outbox, delivery_id, now),
    targets: async () =>
      projection.read((reader) => ({
        ...standingOf(reader, { targets: config.targets, usable }),
        as_of: reader.seq,
      })),
    health: healthHandler(context, 'outbox'),
  });
}

/** A misspelt target would be waited for in vain. @throws {INVALID_REQUEST} */
function checkTargets({ config, env }: RoleContext): void {
  const given = {
    IRONCLAW_MILESTONE_TARGETS: openSettings(env).of().milestone_targets.split(','),
    IRONCLAW_DEMAND_TARGETS: config.demandTargets,
  };
  for (const [variable, names] of Object.entries(given)) {
    const missing = names.find((name) => !Object.hasOwn(config.targets, name));
    if (missing !== undefined) throw invalid(variable, `names ${missing}, which is no target`);
  }
}

/** @throws {UNKNOWN_TARGET} */
function known(configured: object, targets: readonly string[]): void {
  const target = targets.find((name) => !Object.hasOwn(configured, name));
  if (target === undefined) return;
  throw new AppError('UNKNOWN_TARGET', { target }, { field: 'targets' });
}
