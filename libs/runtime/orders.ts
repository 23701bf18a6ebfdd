import { createAggregateStore, type EventLog, ledgerFilter } from '#libs/eventlog';
import { type Decision, evolveOrder, type OrderState, unknownOrder } from '#libs/orders';
import { command } from './command.ts';

/** Names one order; `run_id` counts only where no event has told it yet. */
export type OrderPlace = {
  theater_id: string;
  order_id: string;
  run_id?: string | null | undefined;
};

export type OrderCommands = {
  /** The order as it stands; `version` 0: the ledger does not know it. */
  load(place: OrderPlace, minSeq?: number): Promise<OrderState>;
  /** Decides on the current state and appends the outcome, anew when somebody was faster. */
  decide(
    place: OrderPlace,
    decision: (order: OrderState) => Decision,
    minSeq?: number,
  ): Promise<{ seq: number; wrote: boolean }>;
};

/** Commands on single orders, for roles that know no run: each order is folded from its events. */
export function createOrderCommands(log: EventLog): OrderCommands {
  const store = createAggregateStore<OrderState | undefined>(
    log.broker,
    undefined,
    (state, events) => events.reduce(evolveOrder, state),
  );
  const filterOf = ({ theater_id, order_id }: OrderPlace): string =>
    ledgerFilter({ garrison_id: log.garrisonId, theater_id, order_id });
  const known = (state: OrderState | undefined, place: OrderPlace): OrderState => {
    const { theater_id, order_id, run_id = null } = place;
    return state ?? unknownOrder({ order_id, run_id, theater_id, garrison_id: log.garrisonId });
  };
  return {
    load: async (place, minSeq) => known((await store.load(filterOf(place), minSeq)).state, place),
    decide: async (place, decision, minSeq) => {
      const done = await command(
        log,
        store,
        filterOf(place),
        ({ state }) => decision(known(state, place)),
        minSeq,
      );
      // The same effect, told by somebody else a moment before, is not ours.
      const wrote = done.appended.some(({ duplicate }) => !duplicate);
      return { seq: done.appended.at(-1)?.seq ?? done.loaded.seq, wrote };
    },
  };
}
