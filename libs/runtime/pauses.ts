import type { StoredEvent } from '#libs/contracts';
import {
  type AggregateStore,
  createAggregateStore,
  type EventLog,
  ledgerFilter,
} from '#libs/eventlog';
import {
  evolvePauses,
  evolveRun,
  NO_PAUSES,
  pausedBy,
  type Pauses as PauseState,
  type RunState,
} from '#libs/orders';

/** What a job or a run is held back by. */
export type PausePlace = {
  theater_id: string;
  run_id?: string | null | undefined;
  /** Worker class, where the question is about a job. */
  class?: string | undefined;
};

export type Pauses = {
  /**
   * What holds this back now, in words, as `run r1`, `theater demo` or `class default`; null:
   * nothing. Asks the ledger for what is new since the last time, so the answer is current.
   * @throws {DEPENDENCY_UNAVAILABLE}
   */
  heldBy(place: PausePlace, minSeq?: number): Promise<string | null>;
  /** When the theater last went on after a pause; null: it never was paused, as far as is known. */
  resumedAt(theaterId: string): Promise<string | null>;
};

/** The pauses that the ledger tells of; each process keeps what it has read. */
export function createPauses(log: EventLog): Pauses {
  const { broker, garrisonId: garrison_id } = log;
  const store = createAggregateStore<PauseState>(broker, NO_PAUSES, evolvePauses);
  const runs: AggregateStore<RunState | undefined> = createAggregateStore<RunState | undefined>(
    broker,
    undefined,
    (state, events: readonly StoredEvent[]) => events.reduce(evolveRun, state),
  );
  const at = (theater_id: string | null) =>
    ledgerFilter({ garrison_id, theater_id, run_id: null, order_id: null });

  const heldBy = async (place: PausePlace, minSeq?: number): Promise<string | null> => {
    const { theater_id, run_id, class: workerClass } = place;
    const ofTheater = await store.load(at(theater_id), minSeq);
    const asked = {
      theaterId: theater_id,
      ...(workerClass !== undefined && { class: workerClass }),
    };
    const held = pausedBy(ofTheater.state, asked);
    if (held !== null) return held;
    if (workerClass !== undefined) {
      const everywhere = pausedBy((await store.load(at(null))).state, asked);
      if (everywhere !== null) return everywhere;
    }
    if (run_id == null) return null;
    const filter = ledgerFilter({ garrison_id, theater_id, run_id, order_id: null });
    const run = (await runs.load(filter)).state;
    return run?.status === 'OPEN' && run.paused ? `run ${run_id}` : null;
  };

  return {
    heldBy,
    resumedAt: async (theaterId) => {
      const { state } = await store.load(at(theaterId));
      return state.resumed.get(theaterId) ?? null;
    },
  };
}
