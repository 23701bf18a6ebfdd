import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { stopHome } from '../../apps/cli/orchestrator/sync.ts';
import { join } from 'node:path';
import { MISSION, missionRig, P, type Rig } from '../conformance/orchestrator-rig.ts';
import { openLab } from './lab.ts';
import type { BenchOptions } from './options.ts';
import { pairRow, type Row } from './report.ts';
import { inPairs, median } from './stats.ts';

const PAIRS = 21;
const PAIRS_QUICK = 3;
/** The bound for the median of a command, in ms. */
const GOAL_MS = 150;

/** Commands as an orchestrator calls them, each a process, against a Node that does nothing. */
export async function benchOrchestrator(options: BenchOptions): Promise<Row[]> {
  const pairs = options.quick ? PAIRS_QUICK : PAIRS;
  await using lab = openLab(options.sync);
  const broker = await lab.broker();
  const ids = Array.from({ length: pairs + 2 }, (_, i) => `WP${String(i + 1).padStart(2, '0')}`);
  const wps = Object.fromEntries(ids.map((id) => [id, []]));
  const env = { NATS_URL: broker.url, IRONCLAW_MISSIONS_WARM: 'on' };
  await using it = missionRig(env, wps);
  const next = ids.values();
  const actor = ['--actor', 'bench'];
  const commands: Record<string, () => string[]> = {
    'contract-version': () => ['contract-version'],
    'mission-state': () => ['mission-state', '--mission', MISSION],
    'start-implementation': () => {
      const wp = next.next().value as string;
      return ['start-implementation', '--mission', MISSION, '--wp', wp, ...actor, '--policy', P];
    },
    'append-history': () => {
      const words = ['append-history', '--mission', MISSION, '--wp', 'WP01'];
      return [...words, ...actor, '--note', 'one more'];
    },
  };
  try {
    const rows: Row[] = [];
    for (const [name, words] of Object.entries(commands)) {
      rows.push(await measure(it, name, words, pairs));
    }
    return rows;
  } finally {
    await stopHome(join(it.root, '.git'));
  }
}

async function measure(it: Rig, name: string, words: () => string[], n: number): Promise<Row> {
  const ours = async (): Promise<number> => {
    const startedAt = performance.now();
    const { code, stdout } = await it.spawned(['orchestrator-api', ...words()]);
    if (code !== 0) throw new Error(stdout);
    return 1_000 / (performance.now() - startedAt);
  };
  const raw = async (): Promise<number> => {
    const startedAt = performance.now();
    await once(spawn(process.execPath, ['-e', '0'], { stdio: 'ignore' }), 'close');
    return 1_000 / (performance.now() - startedAt);
  };
  const pairs = await inPairs(n, raw, ours, ours);
  const ms = 1_000 / median(pairs.ours);
  const met = ms <= GOAL_MS ? 'met' : 'missed';
  const note = `median ${ms.toFixed(0)} ms; goal at most ${GOAL_MS} ms: ${met}`;
  return pairRow({ id: name, what: name, unit: 'commands/s', note }, pairs);
}
