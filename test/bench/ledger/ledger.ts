import type { BenchOptions, Part } from '../options.ts';
import type { MemoryRow, Row } from '../report.ts';
import { benchAppend, benchBatch } from './append.ts';
import { benchHttp } from './http.ts';
import { benchMemory } from './memory.ts';
import { type Plan, planFor } from './plan.ts';
import { benchProjector } from './projector.ts';

/** `say` tells how far it is. */
export async function benchLedger(
  options: BenchOptions,
  say: (text: string) => void,
): Promise<{ rows: Row[]; memory: MemoryRow[] }> {
  const plan = planFor(options);
  const rows: Row[] = [];
  let memory: MemoryRow[] = [];
  for (const part of options.parts) {
    const startedAt = performance.now();
    say(`${part} …`);
    if (part === 'memory') memory = await benchMemory(plan, say);
    else rows.push(...(await rowsOf(part, plan)));
    say(`${part}: ${((performance.now() - startedAt) / 1_000).toFixed(1)} s`);
  }
  return { rows, memory };
}

async function rowsOf(part: Exclude<Part, 'memory'>, plan: Plan): Promise<Row[]> {
  switch (part) {
    case 'append':
      return [await benchAppend(plan)];
    case 'batch':
      return [await benchBatch(plan)];
    case 'projector':
      return benchProjector(plan);
    case 'http':
      return benchHttp(plan);
  }
}
