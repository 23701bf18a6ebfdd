import type { RunAggregate, RunRules } from '#libs/orders';
import type { Pauses } from '#libs/runtime';
import type { RunPlace, Runs } from './runs.ts';

/** What settings and pauses say about a run; undefined: there is none. */
export async function rulesFor(
  runs: Runs,
  pauses: Pauses,
  { theater_id }: RunPlace,
  { run }: RunAggregate,
): Promise<RunRules | undefined> {
  if (run === undefined) return undefined;
  const { replans, run_retries, ask } = runs.behaviour(run);
  const held = (await pauses.heldBy({ theater_id })) !== null;
  return { held, replans, retries: run_retries, ask };
}
