import { API } from '#libs/contracts';
import { startReactor } from '#libs/eventlog';
import { nextForRun } from '#libs/orders';
import { healthHandler, publishJob, type RoleContext, type RunningRole } from '#libs/runtime';
import { defineService } from '#libs/service';
import { createAdvance } from './advance.ts';
import { BUILT_IN_PLAYBOOKS, loadPlaybooks } from './playbooks.ts';
import { createRuns } from './runs.ts';

/** The commanding officer: plans, dispatches, answers. It executes nothing itself. */
export async function start(context: RoleContext): Promise<RunningRole> {
  const { broker, logger, config } = context;
  const playbooks = await loadPlaybooks([BUILT_IN_PLAYBOOKS, ...config.playbookDirs]);
  const runs = createRuns(context, playbooks);
  const advance = createAdvance(context, runs, playbooks);

  const reactor = startReactor(broker, {
    name: 'co',
    logger,
    types: [
      'RUN_CREATED',
      'RUN_PLANNED',
      'RUN_DISPATCHED',
      'RUN_COMPLETED',
      'RUN_FAILED',
      'RUN_CANCELLED',
      'ORDER_ENQUEUED',
      'ORDER_FAILED',
      'ORDER_CANCELLED',
      'ORDER_REISSUED',
      'INTEGRATED',
      'INTEGRATION_FAILED',
      'RECOVERY_REQUIRED',
    ],
    key: ({ run_id, order_id }) => run_id ?? order_id ?? '',
    handle: async ({ type, run_id, theater_id, order_id, seq }) => {
      if (run_id === null || theater_id === null) return;
      const place = { run_id, theater_id };
      if (type === 'ORDER_ENQUEUED' && order_id !== null) {
        const { state } = await runs.load(place, seq);
        const order = state.orders.get(order_id);
        // Only an order that was created by a plan and still waits has a job to publish.
        if (order?.created && order.status === 'QUEUED' && order.enqueued_at !== null) {
          await publishJob(context, order);
        }
        return;
      }
      await advance(place, seq);
    },
  });

  const service = defineService(API.co, {
    createRun: (input) => runs.create(input),
    plan: async ({ run_id }) => runs.plan(await runs.locate(run_id)),
    dispatch: async ({ run_id }) => {
      const place = await runs.locate(run_id);
      await runs.dispatch(place);
      const { state } = await runs.load(place);
      const step = nextForRun(state).find((one) => one.do === 'enqueue');
      const enqueued = step?.do === 'enqueue' ? step.orderIds : [];
      const waiting = [...state.orders.values()]
        .filter(
          ({ created, status, enqueued_at }) =>
            created && status === 'QUEUED' && enqueued_at === null,
        )
        .map(({ order_id }) => order_id)
        .filter((id) => !enqueued.includes(id));
      return { run_id, enqueued, waiting };
    },
    synthesize: async ({ run_id }) => runs.synthesize(await runs.locate(run_id)),
    playbooks: async () => ({
      playbooks: [...playbooks.values()].map(
        ({ name, version, description, steps, variables }) => ({
          name,
          version,
          description,
          variables: Object.keys(variables),
          steps: steps.map(({ key, type, depends_on }) => ({ key, type, depends_on })),
        }),
      ),
    }),
    health: healthHandler(context, 'co'),
  });
  return { service, close: () => reactor.stop() };
}
