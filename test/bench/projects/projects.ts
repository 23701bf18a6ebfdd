import { openLab } from '../lab.ts';
import type { BenchOptions } from '../options.ts';
import type { Row } from '../report.ts';
import { benchCommands } from './commands.ts';
import { benchValidation } from './validation.ts';

const FULL = { pairs: 5, durationMs: 2_000, projects: 1_000, history: 10_000 };
const QUICK = { pairs: 1, durationMs: 200, projects: 20, history: 100 };

/** `say` tells how far it is. */
export async function benchProjects(
  options: BenchOptions,
  say: (text: string) => void,
): Promise<Row[]> {
  const size = options.quick ? QUICK : FULL;
  say('validation …');
  const rows = await benchValidation(size.pairs, size.durationMs);
  await using lab = openLab(options.sync);
  say('commands …');
  return [...rows, ...(await benchCommands(lab, size))];
}
