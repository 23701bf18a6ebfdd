import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { LIMITS } from '#libs/contracts';
import { type Board, finalize, type MissionState, recordMerge, transition } from '#libs/missions';
import { startTestBroker } from '#libs/testing';
import { MISSIONS } from '#streams';
import { openLab } from './testdata/lab.ts';

// A decision of more events than one commit holds.

const SLUG = '070-large';

function large(count: number): Board {
  const ids = Array.from({ length: count }, (_, i) => `WP${String(i + 1).padStart(4, '0')}`);
  return {
    identity: { mission_slug: SLUG, mission_number: '070', mission_type: 'software-dev' },
    targetBranch: 'main',
    // All wait for the first one.
    wps: ids.map((id, i) => ({
      wp_id: id,
      title: id,
      dependencies: i === 0 ? [] : [ids[0] as string],
    })),
  };
}

async function setUp() {
  const server = await startTestBroker({ streams: [MISSIONS] });
  const folder = await mkdtemp(join(tmpdir(), 'ironclaw-parts-'));
  const broker = await server.connect();
  return {
    broker,
    log: openLab(broker, folder),
    folder,
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

const lanes = (state: MissionState): Set<string> =>
  new Set([...state.wps.values()].map(({ lane }) => lane));
const by = (board: Board) => (state: MissionState) => finalize(board, state, { actor: 'a' });

test('a mission of the largest size is finalized by two at once, each work package once', async () => {
  await using it = await setUp();
  const board = large(LIMITS.missionWorkPackages);
  const other = openLab(it.broker, it.folder, 'other');
  const done = await Promise.all(
    [it.log, other].map((log) => log.decide(board.identity, by(board))),
  );
  for (const one of done) expect(one.ok && one.value.answer.finalized_wps).toBeTruthy();
  const { state } = await it.log.load(SLUG);
  expect([...state.wps.values()].filter(({ transitions }) => transitions === 1)).toHaveLength(
    1_000,
  );
  // One for the mission, and for each work package that it is there and that it is planned.
  expect(state.ids.size).toBe(2_001);
  const again = await other.decide(board.identity, by(board));
  expect(again.ok && again.value).toMatchObject({ answer: { finalized_wps: [] }, events: [] });
});

test('one that was killed between two parts is finished by the next', async () => {
  await using it = await setUp();
  const board = large(700);
  let rounds = 0;
  const killed = it.log.decide(board.identity, (state) => {
    rounds += 1;
    if (rounds === 2) throw new Error('killed');
    return finalize(board, state, { actor: 'a' });
  });
  await expect(killed).rejects.toThrow('killed');
  expect((await it.log.load(SLUG)).state.ids.size).toBe(LIMITS.batchEvents);
  const next = await it.log.decide(board.identity, by(board));
  expect(next.ok && next.value.answer.finalized_wps).toHaveLength(401);
  const { state } = await it.log.load(SLUG);
  expect([state.ids.size, state.wps.size, [...lanes(state)]]).toEqual([1_401, 700, ['planned']]);
});

test('one more than the limit is refused before anything is written', async () => {
  await using it = await setUp();
  const board = large(LIMITS.missionWorkPackages + 1);
  const refused = await it.log.decide(board.identity, by(board));
  expect(refused).toMatchObject({ ok: false, error: { code: 'USAGE_ERROR' } });
  expect(!refused.ok && refused.error.message).toContain('the limit is 1000');
  expect((await it.log.load(SLUG)).version).toBe(0);
});

test('a merge of a thousand is recorded whole, and once', async () => {
  await using it = await setUp();
  const board = large(LIMITS.missionWorkPackages);
  await it.log.decide(board.identity, by(board));
  for (let from = 0; from < board.wps.length; from += 500) {
    await it.log.decide(board.identity, (state) => {
      const events = board.wps.slice(from, from + 500).flatMap(({ wp_id }) => {
        const command = { wpId: wp_id, to: 'approved', actor: 'a', force: true, note: 'by hand' };
        const facts = { subtasksComplete: true };
        const moved = transition(board, state, { ...command, facts });
        // That the others no longer wait for the first one is left to the merge.
        return moved.ok ? moved.value.events.slice(0, 1) : [];
      });
      return { ok: true, value: { events, answer: undefined } };
    });
  }
  const at = new Date().toISOString();
  const record = { target: 'main', strategy: 'merge', commit: 'a'.repeat(40), at };
  const merge = () => it.log.decide(board.identity, (state) => recordMerge(board, state, record));
  const merged = await merge();
  expect(merged.ok && merged.value.answer.merged_wps).toHaveLength(1_000);
  const { state } = await it.log.load(SLUG);
  expect([[...lanes(state)], state.closings.length]).toEqual([['done'], 1]);
  const free = [...state.wps.values()].filter(({ resolved }) => resolved.has('WP0001'));
  expect(free).toHaveLength(999);
  const again = await merge();
  expect(again.ok && again.value.events).toEqual([]);
});
