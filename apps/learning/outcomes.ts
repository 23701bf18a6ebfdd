import type { StoredEvent } from '#libs/contracts';
import { type Counted, countCells, type Outcome } from '#libs/learning';
import { evolveOrder, type OrderState } from '#libs/orders';
import { aggregateView, type Projection, type Reader, type View } from '#libs/projections';
import { followLedger, openOwnView, type RoleContext } from '#libs/runtime';

/** Ended orders of a theater that are counted, the newest. */
const WINDOW_ORDERS = 2_000;
/** Judgements of people that are looked at, the newest of a theater. */
const WINDOW_FEEDBACK = 10_000;
const THEATERS_MAX = 1_000;

/** An order without its texts, and the event that told its end. */
type Tracked = { order: OrderState; told_seq: number | null };

/** How an order stands for learning; null: it has not ended, or was given up by a person. */
function resultOf({ status, integration }: OrderState): 'completed' | 'failed' | null {
  if (status === 'FAILED') return 'failed';
  if (status !== 'COMPLETED') return null;
  // Work that the gates refused is of no use.
  return integration?.state === 'FAILED' ? 'failed' : 'completed';
}

function track(state: Tracked | undefined, event: StoredEvent): Tracked {
  const order = evolveOrder(state?.order, event);
  if (state !== undefined && order === state.order) return state;
  const result = resultOf(order);
  const same = state !== undefined && resultOf(state.order) === result;
  const told = same ? state.told_seq : event.seq;
  return { order: trimmed(order), told_seq: result === null ? null : told };
}

/** Texts and lists are not looked at here, and are most of an order. */
function trimmed(order: OrderState): OrderState {
  return { ...order, objective: null, prompt: null, outputs: [], inputs: [], artifacts: [] };
}

/** Sorts as the number does. */
const sortable = (seq: number): string => String(seq).padStart(16, '0');

const outcomesView: View<StoredEvent> = aggregateView<StoredEvent, Tracked>({
  name: 'outcomes',
  version: 1,
  idOf: ({ order_id }) => order_id,
  evolve: track,
  columns: {
    theater_id: ({ order }) => order.theater_id,
    told: ({ told_seq }) => (told_seq === null ? null : sortable(told_seq)),
  },
  create: (db) => db.exec('CREATE INDEX outcomes_window ON outcomes (theater_id, told)'),
});

/** The last judgement of a run, or of one order of it. */
type Judgement = {
  theater_id: string;
  run_id: string;
  order_id: string | null;
  /** True: bad, or corrected. */
  wrong: boolean;
  seq: number;
};

const feedbackView: View<StoredEvent> = aggregateView<StoredEvent, Judgement>({
  name: 'feedback',
  version: 1,
  idOf: (event) => {
    if (event.type !== 'FEEDBACK_RECORDED' || event.payload.verdict === undefined) return null;
    return [event.theater_id, event.run_id, event.payload.order_id ?? ''].join('/');
  },
  evolve: (_state, { theater_id, run_id, payload, seq }) => {
    const { order_id, verdict } = payload as { order_id?: string; verdict?: string };
    const at = { theater_id: theater_id ?? '', run_id: run_id ?? '', order_id: order_id ?? null };
    return { ...at, wrong: verdict !== 'good', seq };
  },
  columns: {
    theater_id: (one) => one.theater_id,
    told: ({ seq }) => sortable(seq),
  },
  create: (db) => db.exec('CREATE INDEX feedback_window ON feedback (theater_id, told)'),
});

/** Opens this process's own views of how orders ended. */
export function openOutcomes(context: RoleContext): Promise<Projection> {
  return openOwnView(context, 'learning', followLedger(context.broker), [
    outcomesView,
    feedbackView,
  ]);
}

/** Theaters in which an order has ended. */
export function theatersSeen(reader: Reader): string[] {
  const sql = `SELECT DISTINCT theater_id AS id FROM outcomes
    WHERE theater_id IS NOT NULL AND told IS NOT NULL ORDER BY id LIMIT ?`;
  return reader.all<{ id: string }>(sql, THEATERS_MAX).map(({ id }) => id);
}

/** The numbers of the newest orders that ended in a theater. */
export function countTheater(reader: Reader, theaterId: string): Counted {
  const newest = (table: string, limit: number): string[] =>
    reader
      .all<{ state: string }>(
        `SELECT state FROM ${table} WHERE theater_id = ? AND told IS NOT NULL
         ORDER BY told DESC LIMIT ?`,
        theaterId,
        limit,
      )
      .map(({ state }) => state);
  const judgements = new Map<string, Judgement>();
  for (const state of newest('feedback', WINDOW_FEEDBACK)) {
    const one = JSON.parse(state) as Judgement;
    judgements.set(`${one.run_id}/${one.order_id ?? ''}`, one);
  }
  const outcomes = newest('outcomes', WINDOW_ORDERS).flatMap((state) =>
    outcomeOf(JSON.parse(state) as Tracked, judgements),
  );
  return countCells(outcomes);
}

/** One outcome; none of an order whose profile or type nobody told. */
function outcomeOf(
  { order, told_seq }: Tracked,
  judgements: ReadonlyMap<string, Judgement>,
): Outcome[] {
  const { profile, type, run_id, order_id } = order;
  if (profile === null || type === null || told_seq === null) return [];
  const judged = [judgements.get(`${run_id}/${order_id}`), judgements.get(`${run_id}/`)]
    .filter((one) => one !== undefined)
    .sort((a, b) => b.seq - a.seq)[0];
  return [
    {
      profile: profile.name,
      model: profile.model,
      task_type: type,
      attempts: order.attempt,
      completed: resultOf(order) === 'completed',
      corrected: judged?.wrong === true,
      duration_ms: order.duration_ms,
      cost_micro_usd: order.cost.micro_usd,
      seq: Math.max(told_seq, judged?.seq ?? 0),
    },
  ];
}
