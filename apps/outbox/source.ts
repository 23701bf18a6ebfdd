import type { Consuming } from '#libs/broker';
import { startReactor } from '#libs/eventlog';
import { emitMilestone, type Outbox } from '#libs/outbox';
import { openSettings, type RoleContext } from '#libs/runtime';
import { MILESTONE_EVENTS, milestoneOf } from './milestones.ts';

/**
 * Makes milestones of what happens here, as the settings of its theater say. An event that is
 * handled twice is the same delivery.
 */
export function startMilestones(context: RoleContext, outbox: Outbox): Consuming {
  const { broker, env, log, logger } = context;
  const settings = openSettings(env);
  return startReactor(broker, {
    name: 'outbox-milestones',
    types: MILESTONE_EVENTS,
    key: ({ run_id, event_id }) => run_id ?? event_id,
    logger,
    // One after the other, so that the feed gets them in the order of the ledger.
    concurrency: 1,
    handle: async (event) => {
      const place = event.theater_id === null ? {} : { theaterId: event.theater_id };
      const { milestones, milestone_targets } = settings.of(place);
      const milestone = milestoneOf(event, milestones.split(','));
      if (milestone === undefined) return;
      const targets = milestone_targets.split(',');
      await emitMilestone(milestone, { store: outbox.store, targets, now: log.defaults.now() });
    },
  });
}
