import { API, isAppError } from '#libs/contracts';
import { Later, startReactor } from '#libs/eventlog';
import {
  followLedger,
  healthHandler,
  openOwnView,
  type RoleContext,
  type RunningRole,
} from '#libs/runtime';
import { defineService } from '#libs/service';
import { clocksView, openTheaters } from './clocks-view.ts';
import { ageMs } from './findings.ts';
import { patrolCompleted, patrolTheater } from './patrol.ts';
import { startPatrolTimer } from './timer.ts';
import { createWatch, type Watch } from './watch.ts';

/** A result on another host is handed around so often, and for so long; then patrols look for it. */
const ELSEWHERE_RETRY_MS = 5_000;
const ELSEWHERE_MS_MAX = 120_000;

/** Watches the orders and worktrees of all theaters. It tells; it never touches a worktree. */
export async function start(context: RoleContext): Promise<RunningRole> {
  const { broker, config, logger } = context;
  const clocks = clocksView(config.garrisonId);
  const projection = await openOwnView(context, 'observer', followLedger(broker), [clocks]);
  const watch = createWatch(context, projection);

  const reactor = startReactor(broker, {
    name: 'observer',
    logger,
    types: ['ORDER_COMPLETED'],
    key: ({ theater_id, order_id }) => `${theater_id}/${order_id}`,
    concurrency: 8,
    handle: async ({ theater_id, order_id, seq, ts }) => {
      if (theater_id === null || order_id === null) return;
      const outcome = await patrolCompleted(watch, { theater_id, order_id }, seq);
      const fresh = ageMs(ts, watch.now()) < ELSEWHERE_MS_MAX;
      // Another observer may stand on the host where the worktree is.
      if (outcome === 'elsewhere' && fresh) throw new Later(ELSEWHERE_RETRY_MS);
    },
  });
  const timer = startPatrolTimer(context, () => patrolAll(watch));

  const service = defineService(API.observer, {
    patrol: ({ theater_id }) => patrolTheater(watch, theater_id),
    health: healthHandler(context, 'observer'),
  });
  return {
    service,
    close: async () => {
      await timer.stop();
      await reactor.stop();
      await projection.close();
    },
  };
}

async function patrolAll(watch: Watch): Promise<void> {
  const { logger } = watch.context;
  for (const theater_id of watch.clocks.read(openTheaters)) {
    try {
      const { findings } = await patrolTheater(watch, theater_id);
      const found = findings.filter(({ known }) => !known).map(({ kind }) => kind);
      if (found.length > 0) logger.info({ theater_id, found }, 'patrol found something');
    } catch (error) {
      if (isAppError(error, 'DEPENDENCY_UNAVAILABLE')) throw error;
      logger.error({ err: error, theater_id }, 'patrol failed; the next one looks again');
    }
  }
}
