import { putObject } from '#libs/broker';
import { type AnyEvent, type API, AppError, type InputOf, invalid } from '#libs/contracts';
import { createAggregateStore, ledgerSubject } from '#libs/eventlog';
import {
  cancelOrder,
  cancelRun,
  evolvePauses,
  NO_PAUSES,
  pauseRun,
  type Pauses as PauseState,
  requiredOrders,
  resumeRun,
  setPause,
} from '#libs/orders';
import { command, createOrderCommands, type OrderPlace, type RoleContext } from '#libs/runtime';
import type { Runs } from './runs.ts';

const BY_REQUEST = 'on request';

/** What people do to runs and orders from outside: end them, hold them back, judge them. */
export function createControl(context: RoleContext, runs: Runs) {
  const { broker, log, config, theaters } = context;
  const orders = createOrderCommands(log);
  const pauses = createAggregateStore<PauseState>(broker, NO_PAUSES, evolvePauses);

  const placeOfOrder = async (order_id: string): Promise<OrderPlace> => {
    const places: OrderPlace[] = [];
    for (const theater_id of await theaters.ofOrder(order_id)) {
      const place = { theater_id, order_id };
      const { created, version } = await orders.load(place);
      // One that a plan created goes before what others tell of the same id.
      if (version > 0) places[created ? 'unshift' : 'push'](place);
    }
    const [place] = places;
    if (place !== undefined) return place;
    throw new AppError('ORDER_NOT_FOUND', { id: order_id }, { field: 'order_id' });
  };

  const setPaused = async (target: PauseTarget, paused: boolean): Promise<{ paused: boolean }> => {
    const { run_id, theater_id, class: workerClass, by, reason } = target;
    checkTarget(target);
    const who = { ...(by !== undefined && { by }), ...(reason !== undefined && { reason }) };
    if (run_id !== undefined) {
      const place = await runs.locate(run_id);
      await runs.decide(place, (agg) => (paused ? pauseRun : resumeRun)(agg, who));
      return { paused };
    }
    if (theater_id !== undefined) await theaters.get(theater_id);
    const theaterId = theater_id ?? null;
    const subject = ledgerSubject({ garrison_id: config.garrisonId, theater_id: theaterId });
    const asked = { garrisonId: config.garrisonId, theaterId, class: workerClass, paused, ...who };
    await command(log, pauses, subject, ({ state }) => setPause(state, asked));
    return { paused };
  };

  return {
    cancelRun: async ({ run_id, reason = BY_REQUEST }: InputOf<typeof API.co.cancelRun>) => {
      const place = await runs.locate(run_id);
      const { loaded, appended } = await runs.decide(place, (agg) => cancelRun(agg, { reason }));
      const { state } = await runs.load(place, appended.at(-1)?.seq ?? loaded.seq);
      const cancelled = [...state.orders.values()].filter(({ status }) => status === 'CANCELLED');
      const cancelled_orders = cancelled.map(({ order_id }) => order_id);
      return { run_id, status: 'CANCELLED' as const, cancelled_orders };
    },

    cancelOrder: async ({ order_id, reason = BY_REQUEST }: InputOf<typeof API.co.cancelOrder>) => {
      const place = await placeOfOrder(order_id);
      await orders.decide(place, (order) => cancelOrder(order, { reason }));
      return { order_id, status: 'CANCELLED' as const };
    },

    pause: (target: PauseTarget) => setPaused(target, true),
    resume: (target: PauseTarget) => setPaused(target, false),

    feedback: (input: Feedback) => recordFeedback(context, runs, input),
  };
}

type PauseTarget = InputOf<typeof API.co.pause>;

/** Exactly one of a run, a theater and a class; a class may be narrowed to a theater. */
function checkTarget({ run_id, theater_id, class: workerClass }: PauseTarget): void {
  if (run_id !== undefined) {
    if (theater_id === undefined && workerClass === undefined) return;
    throw invalid('run_id', 'stands alone, without theater_id and class');
  }
  if (theater_id === undefined && workerClass === undefined) {
    throw invalid('run_id', 'or theater_id or class must be given');
  }
}

type Feedback = InputOf<typeof API.co.feedback>;

async function recordFeedback(
  { broker, log, config }: RoleContext,
  runs: Runs,
  input: Feedback,
): Promise<{ run_id: string; event_id: string }> {
  const { run_id, verdict, order_id, user_id, note, correction } = input;
  const { theater_id } = await runs.locate(run_id);
  const { state } = await runs.load({ run_id, theater_id });
  if (order_id !== undefined && !requiredOrders(state).some((one) => one.order_id === order_id)) {
    throw new AppError('ORDER_NOT_FOUND', { id: order_id }, { field: 'order_id' });
  }
  const text =
    correction === undefined
      ? undefined
      : await putObject(broker, new TextEncoder().encode(correction));
  const event = {
    event_id: log.defaults.newId(),
    ts: log.defaults.now().toISOString(),
    type: 'FEEDBACK_RECORDED',
    garrison_id: config.garrisonId,
    theater_id,
    run_id,
    order_id: null,
    unit_id: null,
    payload: {
      verdict,
      ...(order_id !== undefined && { order_id }),
      ...(user_id !== undefined && { user_id }),
      ...(note !== undefined && { note }),
      ...(text && { correction: { sha256: text.sha256, bytes: text.bytes } }),
    },
  } satisfies AnyEvent;
  const { event_id } = await log.append(event, { tsGiven: false });
  return { run_id, event_id };
}
