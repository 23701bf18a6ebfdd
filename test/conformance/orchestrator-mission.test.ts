import { once } from 'node:events';
import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startTestBroker, type TestBroker } from '#libs/testing';
import { describe, expect, test } from 'vitest';
import { stopHome } from '../../apps/cli/orchestrator/sync.ts';
import { LAUNCHER, MISSION, missionRig, P, type Rig, THREE } from './orchestrator-rig.ts';

/** Those that run now: where a test fails they must not go on. */
const strangers = new Set<ChildProcess>();
const STRANGER = fileURLToPath(new URL('./stranger.ts', import.meta.url));
/** Three chains that meet, and some that stand alone. */
const TWELVE = {
  WP01: [],
  WP02: ['WP01'],
  WP03: ['WP02'],
  WP04: [],
  WP05: ['WP04'],
  WP06: ['WP05', 'WP03'],
  WP07: [],
  WP08: ['WP07', 'WP04'],
  WP09: ['WP06', 'WP08'],
  WP10: [],
  WP11: [],
  WP12: ['WP10', 'WP11'],
};
const LONG = { timeout: 900_000 };
const TIMEOUT = { timeout: 300_000 };
type Behaviour = { rework?: string[]; block?: string[]; dieBefore?: readonly number[] };

async function missionLab(wps: Readonly<Record<string, readonly string[]>>) {
  const broker = await startTestBroker({ sync: 'always' });
  const it = missionRig({ NATS_URL: broker.url, IRONCLAW_MISSIONS_WARM: 'on' }, wps);
  return {
    broker,
    it,
    async [Symbol.asyncDispose]() {
      for (const child of strangers) child.kill('SIGKILL');
      await stopHome(join(it.root, '.git'));
      await broker[Symbol.asyncDispose]();
      await it[Symbol.asyncDispose]();
    },
  };
}

/** Runs a stranger's orchestrator to its end; one that is killed is started again. */
async function orchestrate(it: Rig, actor: string, behaviour: Behaviour = {}): Promise<number> {
  const { rework = [], block = [], dieBefore = [] } = behaviour;
  const base = { launcher: LAUNCHER, root: it.root, mission: MISSION, actor, policy: P };
  for (let life = 0; ; life += 1) {
    const script = { ...base, rework, block, dieBefore: dieBefore[life] ?? 0 };
    const child = spawn(process.execPath, [STRANGER, JSON.stringify(script)], {
      env: it.env,
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    strangers.add(child);
    let stderr = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    const [code, signal] = (await once(child, 'close')) as [number | null, string | null];
    strangers.delete(child);
    if (child.killed) throw new Error(`${actor} was stopped with its test`);
    if (signal === 'SIGKILL') continue;
    if (code !== 0) throw new Error(`${actor} ended with ${code}: ${stderr}`);
    return life;
  }
}

/** No claim was lost or given twice: each claim is of a planned one, or after a step back. */
function expectSingleClaims(it: Rig, ids: readonly string[]): void {
  for (const id of ids) {
    const rows = it.rows().filter(({ wp_id }) => wp_id === id);
    expect(rows.filter(({ to_lane }) => to_lane === 'claimed')).toHaveLength(1);
    const lanes = rows.map(({ from_lane, to_lane }) => [from_lane, to_lane]);
    // Each step starts where the one before it has ended.
    lanes.slice(1).forEach(([from], i) => expect(from).toBe(lanes[i]?.[1]));
    expect(lanes.at(-1)?.[1]).toBe('done');
  }
}

async function expectMerged(it: Rig, ids: readonly string[], branch = 'main'): Promise<void> {
  const accepted = await it.spawned(asActor('accept-mission'));
  expect(accepted.json.data).toMatchObject({ accepted: true, done_wps: ids });
  const target = ['--target', branch, '--strategy', 'merge'];
  const merged = await it.spawned([
    'orchestrator-api',
    'merge-mission',
    '--mission',
    MISSION,
    ...target,
  ]);
  expect(merged.json).toMatchObject({
    success: true,
    data: { merged: true, target_branch: branch, strategy: 'merge', merged_wps: ids },
  });
  const files = it.git('ls-tree', '--name-only', branch).split('\n');
  for (const id of ids) expect(files).toContain(`${id}.txt`);
}

const asActor = (command: string) => [
  'orchestrator-api',
  command,
  '--mission',
  MISSION,
  '--actor',
  'boss',
];

async function restartOften(broker: TestBroker, until: Promise<unknown>): Promise<void> {
  let isOver = false;
  void until.finally(() => {
    isOver = true;
  });
  for (let i = 0; i < 3 && !isOver; i += 1) {
    await Promise.race([until, new Promise((resolve) => setTimeout(resolve, 2_000))]);
    if (isOver) return;
    await broker.kill();
    await broker.restart();
  }
}

describe("a stranger's orchestrator", () => {
  test('D.56 all well, rework and block: from planned to merged', TIMEOUT, async () => {
    await using lab = await missionLab(THREE);
    const { it } = lab;
    await orchestrate(it, 'orch', { rework: ['WP01'], block: ['WP03'] });
    expectSingleClaims(it, Object.keys(THREE));
    await expectMerged(it, Object.keys(THREE));
  });

  test('D.56 killed again and again, and started again', TIMEOUT, async () => {
    await using lab = await missionLab(THREE);
    const { it } = lab;
    // The target is the branch of the checkout, to which history is committed meanwhile.
    const meta = `${it.files}/meta.json`;
    it.write(meta, it.read(meta).replace('"main"', '"planning"'));
    it.git('commit', '-qam', 'the target');
    const lives = await orchestrate(it, 'orch', { dieBefore: [5, 7, 9, 6, 8] });
    expect(lives).toBe(5);
    expectSingleClaims(it, Object.keys(THREE));
    await expectMerged(it, Object.keys(THREE), 'planning');
    expect(it.read('WP01.txt')).toContain('WP01');
  });

  test('D.57 two of them, both killed, and the broker killed three times', TIMEOUT, async () => {
    await using lab = await missionLab(THREE);
    const { it, broker } = lab;
    const all = Promise.all([
      orchestrate(it, 'one', { dieBefore: [6, 9] }),
      orchestrate(it, 'two', { dieBefore: [8] }),
    ]);
    await Promise.all([all, restartOften(broker, all)]);
    expectSingleClaims(it, Object.keys(THREE));
    await expectMerged(it, Object.keys(THREE));
  });

  test('D.57 twelve work packages, four of them, all killed, as is the broker', LONG, async () => {
    await using lab = await missionLab(TWELVE);
    const { it, broker } = lab;
    const ids = Object.keys(TWELVE);
    const all = Promise.all([
      orchestrate(it, 'one', { dieBefore: [5, 11], rework: ['WP04'] }),
      orchestrate(it, 'two', { dieBefore: [7, 6], block: ['WP07'] }),
      orchestrate(it, 'three', { dieBefore: [9] }),
      orchestrate(it, 'four', { dieBefore: [4, 8, 12] }),
    ]);
    await Promise.all([all, restartOften(broker, all)]);
    expectSingleClaims(it, ids);
    await expectMerged(it, ids);
  });
});
