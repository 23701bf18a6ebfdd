import type { BenchOptions } from '../options.ts';

/** How long and how often things are measured. */
export type Plan = {
  sync: 'always' | '2m';
  /** Pairs of rounds. */
  pairs: number;
  /** One round of one side, where rounds go by time. */
  roundMs: number;
  warmUpMs: number;
  /** For each server: until the compiler is done with it. */
  httpWarmUpMs: number;
  /** Events that the projector works through in one round. */
  projectorEvents: number;
  projectorPairs: number;
  /** For each of its figures; no further pair is begun after this. */
  projectorBudgetMs: number;
  /** Events of the memory figures. */
  memoryEvents: number;
  /** How long the events may take to be stored and read before memory is looked at. */
  memoryWaitMs: number;
};

const PROJECTOR_EVENTS = 110_000;

/** The whole bench stays under 4 minutes with these, under 40 s with `quick`. */
export function planFor(options: BenchOptions): Plan {
  const { quick, sync, events, waitSeconds } = options;
  return {
    sync,
    pairs: quick ? 3 : 5,
    roundMs: quick ? 200 : 1_200,
    warmUpMs: quick ? 200 : 1_000,
    httpWarmUpMs: quick ? 500 : 5_000,
    projectorEvents: Math.min(events, quick ? PROJECTOR_EVENTS / 10 : PROJECTOR_EVENTS),
    projectorPairs: quick ? 2 : 4,
    projectorBudgetMs: quick ? 3_000 : 14_000,
    memoryEvents: events,
    memoryWaitMs: 1_000 * (waitSeconds ?? (quick ? 8 : 90)),
  };
}
