import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { check, type Evidence, foldHistory } from './check/mod.ts';
import { createClient } from './client.ts';
import { collect, problemsIn, standstill } from './collect.ts';
import { newOracle } from './oracle.ts';
import { perform } from './perform.ts';
import { untilQuiet } from './quiet.ts';
import { type Soaked, summarise } from './report.ts';
import type { Plan } from './schedule.ts';
import { GARRISON, startChaosSystem } from './system.ts';

export type SoakOptions = {
  plan: Plan;
  sync: 'always' | '2m';
  settleMs: number;
  keep: boolean;
  say: (line: string) => void;
};

const PROBLEMS = 30;

/** Clients that have no answer so long after the chaos has stopped give up. */
const CLIENT_GRACE_MS = 60_000;

/** Starts a system, carries out the plan, lets the work end, and judges what is left. */
export async function soak({ plan, sync, settleMs, keep, say }: SoakOptions): Promise<Soaked> {
  const { fleet, seed } = plan;
  say(`starting a broker and ${fleet.length} processes`);
  const startedAt = performance.now();
  const system = await startChaosSystem({ fleet, seed, sync });
  say(`ready after ${Math.round(performance.now() - startedAt)} ms; state in ${system.stateDir}`);
  let failed = true;
  try {
    const oracle = newOracle();
    const signal = AbortSignal.timeout(plan.durationMs + settleMs + CLIENT_GRACE_MS + 120_000);
    const base = { url: system.url, broker: system.broker, garrison: GARRISON, oracle };
    const giveUp = AbortSignal.any([
      signal,
      AbortSignal.timeout(plan.durationMs + CLIENT_GRACE_MS),
    ]);
    const done = await perform(plan, system, createClient({ ...base, signal: giveUp }), say);
    say('the chaos is over; waiting for the work to end');
    const quietAt = performance.now();
    const { unsettled, seq } = await untilQuiet(system, settleMs);
    const settledMs = Math.round(performance.now() - quietAt);
    if (unsettled.length > 0) say(`not settled: ${unsettled.slice(0, 20).join('; ')}`);
    const stands = unsettled.length > 0 ? await standstill(system) : [];
    say('collecting the evidence');
    const evidence = await collect(system, createClient({ ...base, signal }), oracle, seq);
    const history = foldHistory(evidence.events);
    const violations = check(evidence, history);
    failed = violations.length > 0;
    const summary = summarise({
      plan,
      evidence,
      history,
      done,
      modelCalls: system.model.calls(),
      modelFaults: system.model.faults(),
      settledMs,
      violations,
      stateDir: failed || keep ? system.stateDir : null,
    });
    if (failed || keep) writeFileSync(join(system.stateDir, 'events.ndjson'), linesOf(evidence));
    const problems = [...stands, ...problemsIn(join(system.stateDir, 'log'), PROBLEMS)];
    return { summary, violations, evidence, problems };
  } finally {
    await system.close(failed || keep);
  }
}

function linesOf({ events }: Evidence): string {
  return events.map((event) => `${JSON.stringify(event)}\n`).join('');
}
