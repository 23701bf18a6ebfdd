import { API, type EventType, type StoredEvent } from '#libs/contracts';
import { startReactor } from '#libs/eventlog';
import {
  createPauses,
  healthHandler,
  openSettings,
  publishJob,
  type RoleContext,
  type RunningRole,
} from '#libs/runtime';
import { defineService } from '#libs/service';
import { createAdvance } from './advance.ts';
import { dispatchAnswer, playbookList } from './answers.ts';
import { createRunClock } from './clock.ts';
import { createControl } from './control.ts';
import { createEscalations } from './escalations.ts';
import { BUILT_IN_PLAYBOOKS, loadPlaybooks } from './playbooks.ts';
import { rulesFor } from './rules.ts';
import { createRuns, type RunPlace } from './runs.ts';
import { advanceTheater } from './theater.ts';

/** After these, the next step of the run may be due. */
const ADVANCING: readonly EventType[] = [
  'RUN_CREATED',
  'RUN_PLANNED',
  'RUN_REPLANNED',
  'RUN_DISPATCHED',
  'RUN_RESUMED',
  'RUN_COMPLETED',
  'RUN_FAILED',
  'RUN_CANCELLED',
  'ORDER_BLOCKED',
  'ORDER_COMPLETED',
  'ORDER_FAILED',
  'ORDER_CANCELLED',
  'ORDER_REISSUED',
  'INTEGRATED',
  'INTEGRATION_FAILED',
  'DECISION_GIVEN',
];

/** With these the clock of a run begins, goes on or ends. */
const WINDING = new Set<EventType>([
  'RUN_CREATED',
  'RUN_DISPATCHED',
  'RUN_RESUMED',
  'RUN_COMPLETED',
  'RUN_FAILED',
  'RUN_CANCELLED',
  'DECISION_GIVEN',
]);

/** The commanding officer: plans, dispatches, answers. It executes nothing itself. */
export async function start(context: RoleContext): Promise<RunningRole> {
  const { broker, logger, config } = context;
  const settings = openSettings(context.env);
  const playbooks = await loadPlaybooks([BUILT_IN_PLAYBOOKS, ...config.playbookDirs]);
  const pauses = createPauses(context.log);
  const runs = createRuns(context, playbooks, settings);
  const advance = createAdvance({ context, runs, playbooks, pauses });
  const control = createControl(context, runs);
  const escalations = createEscalations(context);
  const clock = createRunClock(context, runs, pauses);

  const goOn = async (place: RunPlace): Promise<void> => {
    await clock.wind(place, 0);
    await advance(place, 0);
  };

  const react = async (event: StoredEvent, place: RunPlace): Promise<void> => {
    const { type, order_id, seq } = event;
    if (type === 'ESCALATION_RAISED') return escalations.watch(event);
    if (type === 'ORDER_ENQUEUED') {
      const { state } = await runs.load(place, seq);
      const order = state.orders.get(order_id ?? '');
      // Only an order that was created by a plan and still waits has a job to publish.
      if (order?.created && order.status === 'QUEUED' && order.enqueued_at !== null) {
        await publishJob(context, order);
      }
      return;
    }
    if (WINDING.has(type)) await clock.wind(place, seq);
    await advance(place, seq);
  };

  const reactor = startReactor(broker, {
    name: 'co',
    logger,
    types: [...ADVANCING, 'ORDER_ENQUEUED', 'ESCALATION_RAISED', 'THEATER_RESUMED'],
    key: ({ run_id, order_id, theater_id }) => run_id ?? order_id ?? theater_id ?? '',
    handle: async (event) => {
      const { type, run_id, theater_id, seq } = event;
      if (theater_id === null) return;
      if (type === 'THEATER_RESUMED') {
        return advanceTheater(context, pauses, theater_id, seq, goOn);
      }
      if (run_id !== null) await react(event, { run_id, theater_id });
    },
  });
  const timers = [escalations.consume(), clock.consume()];

  const service = defineService(API.co, {
    ...control,
    ackEscalation: escalations.ack,
    approve: escalations.approve,
    deny: escalations.deny,
    createRun: (input) => runs.create(input),
    plan: async ({ run_id }) => runs.plan(await runs.locate(run_id)),
    dispatch: async ({ run_id }) => {
      const place = await runs.locate(run_id);
      await runs.dispatch(place);
      const { state } = await runs.load(place);
      return dispatchAnswer(run_id, state, await rulesFor(runs, pauses, place, state));
    },
    synthesize: async ({ run_id }) => runs.synthesize(await runs.locate(run_id)),
    playbooks: async () => ({ playbooks: playbookList(playbooks) }),
    health: healthHandler(context, 'co'),
  });
  const parts = [reactor, ...timers];
  return {
    service,
    close: async () => {
      await Promise.all(parts.map((part) => part.stop()));
    },
  };
}
