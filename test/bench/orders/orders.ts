import { openLab } from '../lab.ts';
import type { BenchOptions } from '../options.ts';
import { pairRow, type Row, type RowText } from '../report.ts';
import { inPairs } from '../stats.ts';
import { openLimit, type Round } from './limit.ts';
import { openLifecycles } from './lifecycles.ts';
import { openRuns } from './runs.ts';

/** Orders (or runs) of one round. */
const ROUND = { off: 240, on: 120, runs: 40 };
const ROUND_QUICK = { off: 24, on: 12, runs: 6 };
const PAIRS = 4;
const PAIRS_QUICK = 1;
/** For each figure; after that no further pair is begun. */
const BUDGET_MS = 40_000;

/** `say` tells how far it is. */
export async function benchOrders(
  options: BenchOptions,
  say: (text: string) => void,
): Promise<Row[]> {
  const size = options.quick ? ROUND_QUICK : ROUND;
  const pairs = options.quick ? PAIRS_QUICK : PAIRS;
  const rows: Row[] = [];
  {
    await using lab = openLab(options.sync);
    const limit = await openLimit(lab);
    const run = await openLifecycles(lab, (mode) => size[mode]);
    for (const mode of ['off', 'on'] as const) {
      say(`worktrees ${mode} …`);
      const text = {
        id: `orders-${mode}`,
        what: `order lifecycles, worktrees ${mode}`,
        unit: 'orders/s',
      };
      rows.push(await against(limit, () => run(mode), size[mode], pairs, text));
    }
  }
  await using lab = openLab(options.sync);
  const limit = await openLimit(lab);
  const run = await openRuns(lab, size.runs);
  say('whole runs …');
  const text = { id: 'runs', what: 'runs of one order, all roles', unit: 'runs/s' };
  rows.push(await against(limit, run, size.runs, pairs, text));
  return rows;
}

async function against(
  limit: (orders: number, messages: number) => Promise<number>,
  run: () => Promise<Round>,
  size: number,
  pairs: number,
  text: RowText,
): Promise<Row> {
  let messages = 0;
  const ours = async (): Promise<number> => {
    const round = await run();
    messages = round.messages;
    return round.rate;
  };
  const rates = await inPairs(
    pairs,
    () => limit(size, messages),
    ours,
    async () => {
      await ours();
      await limit(size, messages);
    },
    BUDGET_MS,
  );
  const note = `${messages.toFixed(1)} ledger messages and a job each; raw publishes as many`;
  return pairRow({ ...text, note }, rates);
}
