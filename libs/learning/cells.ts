import type { PolicyCell } from '#libs/contracts';
import { percentile, round, scoreOf } from './score.ts';

/** How one order ended. */
export type Outcome = {
  profile: string;
  model: string;
  task_type: string;
  /** Attempts that it took, from 1. */
  attempts: number;
  completed: boolean;
  /** A person judged the result bad, or had to correct it. */
  corrected: boolean;
  /** Of its last attempt; null: not known. */
  duration_ms: number | null;
  cost_micro_usd: number;
  /** Sequence of the event that told how it ended, or of the judgement, if that came later. */
  seq: number;
};

/** The numbers of a window of events; window null: nothing has ended. */
export type Counted = {
  cells: PolicyCell[];
  window: { from_seq: number; to_seq: number } | null;
};

/** Counts outcomes by type of task and profile; their order makes no difference. */
export function countCells(outcomes: readonly Outcome[]): Counted {
  const bySeq = outcomes.toSorted((a, b) => a.seq - b.seq);
  const [first, last] = [bySeq[0], bySeq.at(-1)];
  if (first === undefined || last === undefined) return { cells: [], window: null };
  const groups = Map.groupBy(bySeq, ({ task_type, profile }) =>
    JSON.stringify([task_type, profile]),
  );
  const keys = [...groups.keys()].sort();
  return {
    cells: keys.map((key) => cellOf(groups.get(key) ?? [])),
    window: { from_seq: first.seq, to_seq: last.seq },
  };
}

function cellOf(outcomes: readonly Outcome[]): PolicyCell {
  const newest = outcomes.at(-1) as Outcome;
  const orders = outcomes.length;
  const completed = outcomes.filter((one) => one.completed).length;
  const corrected = outcomes.filter((one) => one.completed && one.corrected).length;
  const attempts = sum(outcomes.map((one) => one.attempts));
  const durations = outcomes
    .flatMap(({ duration_ms }) => (duration_ms === null ? [] : [Math.round(duration_ms)]))
    .sort((a, b) => a - b);
  return {
    profile: newest.profile,
    task_type: newest.task_type,
    model: newest.model,
    orders,
    attempts,
    completed,
    failed: orders - completed,
    corrected,
    success_rate: round((completed - corrected) / orders),
    score: scoreOf(completed - corrected, orders),
    retries: attempts - orders,
    latency_ms: {
      p50: percentile(durations, 0.5),
      p90: percentile(durations, 0.9),
      p99: percentile(durations, 0.99),
    },
    cost_micro_usd: sum(outcomes.map((one) => one.cost_micro_usd)),
  };
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
