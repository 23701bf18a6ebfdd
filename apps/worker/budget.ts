import { AppError, type AnyEvent, isAppError, type StoredEvent } from '#libs/contracts';
import { createAggregateStore, type EventLog, ledgerFilter } from '#libs/eventlog';
import { eventIdFor } from '#libs/orders';

export type Place = { theater_id: string; run_id: string | null };

/** What model calls may cost, per run and per theater. */
export type CostBudgets = {
  /** Before a model call. @throws {BUDGET_EXCEEDED} nothing may be spent any more */
  demand: (place: Place) => Promise<void>;
  /** After a model call: tells what has been passed; what is under way may finish. */
  note: (place: Place) => Promise<void>;
};

/** Runs without a budget that are remembered. */
const FREE_MAX = 10_000;

type Scope = 'run' | 'theater';
type Spending = { limit: number | undefined; spent: number; told: readonly string[] };

/** BUDGET_WARNED is told at this share of a budget. */
const WARN_SHARE = 0.8;
const NOTHING: Spending = { limit: undefined, spent: 0, told: [] };

/** Budgets are kept by what the ledger says, so that they hold over all workers and restarts. */
export function createCostBudgets(log: EventLog, theaterLimit: number): CostBudgets {
  const { garrisonId } = log;
  const storeOf = (scope: Scope) =>
    createAggregateStore<Spending>(log.broker, NOTHING, (state, events) =>
      events.reduce((now, event) => evolve(now, event, scope), state),
    );
  const stores = { run: storeOf('run'), theater: storeOf('theater') };
  /** Runs known to have no budget: a run gets one when it is created, or never. */
  const free = new Set<string>();

  const look = async (scope: Scope, place: Place): Promise<AppError | undefined> => {
    const id = scope === 'run' ? place.run_id : place.theater_id;
    if (id === null || (scope === 'run' ? free.has(id) : theaterLimit === 0)) return undefined;
    const run = scope === 'run' ? { run_id: place.run_id } : {};
    const filter = ledgerFilter({ garrison_id: garrisonId, theater_id: place.theater_id, ...run });
    const { state } = await stores[scope].load(filter);
    const limit = scope === 'run' ? state.limit : theaterLimit;
    if (limit === undefined) {
      if (free.size >= FREE_MAX) free.clear();
      free.add(id);
      return undefined;
    }
    const { spent } = state;
    if (spent >= limit * WARN_SHARE) await tell('BUDGET_WARNED', scope, place, limit, state);
    if (spent < limit) return undefined;
    await tell('BUDGET_EXCEEDED', scope, place, limit, state);
    return new AppError('BUDGET_EXCEEDED', { scope: `${scope} ${id}`, spent, limit });
  };

  const tell = async (
    type: 'BUDGET_WARNED' | 'BUDGET_EXCEEDED',
    scope: Scope,
    { theater_id, run_id }: Place,
    limit: number,
    { spent, told }: Spending,
  ): Promise<void> => {
    if (told.includes(`${type}/${limit}`)) return;
    const run = scope === 'run' ? run_id : null;
    const event: AnyEvent = {
      event_id: eventIdFor(garrisonId, [theater_id, run ?? '', type, limit].join('/')),
      ts: log.defaults.now().toISOString(),
      type,
      garrison_id: garrisonId,
      theater_id,
      run_id: run,
      order_id: null,
      unit_id: null,
      payload: { scope, limit_micro_usd: limit, spent_micro_usd: spent },
    };
    try {
      await log.append(event, { tsGiven: false });
    } catch (error) {
      // Another worker told it, having seen another sum.
      if (!isAppError(error, 'EVENT_ID_CONFLICT')) throw error;
    }
  };

  return {
    demand: async (place) => {
      const over = (await look('run', place)) ?? (await look('theater', place));
      if (over !== undefined) throw over;
    },
    note: async (place) => {
      await look('run', place);
      await look('theater', place);
    },
  };
}

function evolve(state: Spending, event: StoredEvent, scope: Scope): Spending {
  switch (event.type) {
    case 'RUN_CREATED': {
      const { max_cost_micro_usd: own, settings } = event.payload;
      const limit = own ?? settings?.max_cost_micro_usd;
      return typeof limit === 'number' ? { ...state, limit } : state;
    }
    case 'MODEL_CALL_COMPLETED':
    case 'MODEL_CALL_FAILED':
      return { ...state, spent: state.spent + (event.payload.cost_micro_usd ?? 0) };
    case 'BUDGET_WARNED':
    case 'BUDGET_EXCEEDED': {
      if (event.payload.scope !== scope) return state;
      const mark = `${event.type}/${event.payload.limit_micro_usd}`;
      return { ...state, told: [...state.told.slice(-9), mark] };
    }
    default:
      return state;
  }
}
