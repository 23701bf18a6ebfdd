import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { loadGate, type MissionLog, openClock, openMissionLog } from '#libs/missionlog';
import { appendHistory, type Board, startImplementation } from '#libs/missions';
import { startProcesses } from './processes.ts';
import type { Target } from './target.ts';

const ID = '5f0c4b52-0000-4000-8000-000000000001';
const WRITERS = 20;

let target: Target;
let folder: string;
let logs: MissionLog[];
beforeAll(async () => {
  target = await startProcesses();
  folder = await mkdtemp(join(tmpdir(), 'ironclaw-missions-'));
  const { cluster } = target;
  logs = await Promise.all(
    Array.from({ length: WRITERS }, async (_, i) => {
      const url = cluster.nodes[i % cluster.nodes.length]?.url ?? cluster.url;
      const nodeId = `node-${i}`;
      return openMissionLog({
        broker: await cluster.connect({ url }),
        gate: loadGate(),
        emitter: { projectUuid: ID, nodeId, buildId: ID },
        clock: openClock(join(folder, `${nodeId}.json`), nodeId, () => new Date()),
      });
    }),
  );
}, 60_000);
afterAll(async () => {
  await target?.cluster[Symbol.asyncDispose]();
  if (folder !== undefined) await rm(folder, { recursive: true, force: true });
});

function boardOf(slug: string): Board {
  const identity = { mission_slug: slug, mission_number: '064', mission_type: 'software-dev' };
  const wps = [{ wp_id: 'WP01', title: 'One', dependencies: [] }];
  return { identity, targetBranch: 'main', wps };
}

describe('missions on three replicas', () => {
  test('D.40 of 20 claimers at three servers one wins, in each of 5 missions', async () => {
    for (let round = 0; round < 5; round += 1) {
      const board = boardOf(`claims-${round}`);
      const answers = await Promise.all(
        logs.map(async (log, i) => {
          const claimed = await log.decide(board.identity, (state) =>
            startImplementation(board, state, {
              wpId: 'WP01',
              actor: `actor-${i}`,
              policy: undefined,
            }),
          );
          return claimed.ok ? 'won' : claimed.error.code;
        }),
      );
      expect(answers.filter((answer) => answer === 'won')).toHaveLength(1);
      expect(answers.filter((answer) => answer === 'WP_ALREADY_CLAIMED')).toHaveLength(WRITERS - 1);
      const { state, version } = await (logs[0] as MissionLog).load(board.identity.mission_slug);
      expect(version).toBeGreaterThan(0);
      expect(state.wps.get('WP01')).toMatchObject({ lane: 'in_progress', transitions: 2 });
    }
  }, 120_000);

  test('D.40 of 20 history entries at once none is lost', async () => {
    const board = boardOf('histories');
    await Promise.all(
      logs.map((log, i) =>
        log.decide(board.identity, (state) => {
          const entryId = `hist-${String(i).padStart(32, '0')}`;
          const note = `note ${i}`;
          return appendHistory(board, state, { wpId: 'WP01', actor: 'a', note, entryId });
        }),
      ),
    );
    const { state } = await (logs[0] as MissionLog).load('histories');
    expect(new Set(state.history.map(({ note }) => note)).size).toBe(WRITERS);
    expect(state.ids.size).toBe(WRITERS);
  }, 120_000);
});
