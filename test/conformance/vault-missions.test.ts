import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { git, startSystem, type System } from './harness.ts';
import * as theaters from './theaters.ts';
import * as units from './unit.ts';
import { type Data, err, ok, refused, WAYS } from './wire.ts';

// Missions in a theater: lanes, the orders that work on them, and the merge (point 10 of issue D).

let system: System;
beforeAll(async () => {
  system = await startSystem({ roles: ['ledger', 'vault', 'observer', 'integration', 'co'] });
});
afterAll(() => system?.[Symbol.asyncDispose]());

const SLUG = '064-my-mission';
const SPECS = `kitty-specs/${SLUG}`;
const LANE_A = `kitty/mission-${SLUG}-lane-a`;
const LANE_B = `kitty/mission-${SLUG}-lane-b`;
const WPS = [{ wp_id: 'WP01' }, { wp_id: 'WP02' }, { wp_id: 'WP03', dependencies: ['WP01'] }];
const LANES = {
  lanes: [
    { lane_id: 'lane-a', wp_ids: ['WP01', 'WP02'] },
    { lane_id: 'lane-b', wp_ids: ['WP03'], depends_on_lanes: ['lane-a'] },
  ],
};
const TASKS = '## WP01\n\n- [x] T001 a\n- [ ] T002 b\n- [X] T003 c\n\n## WP02\n\n- [ ] T004 d\n';

type Mission = { theater_id: string; repo: string; main: string };

/** A theater whose repository has a mission of two lanes, the second on the first. */
async function mission(more: Data = {}): Promise<Mission> {
  const { theater_id, repo } = await theaters.openTheater(system);
  const main = await theaters.commit(repo, {
    'README.md': 'theirs\n',
    [`${SPECS}/lanes.json`]: LANES,
    [`${SPECS}/tasks.md`]: TASKS,
    [`${SPECS}/tasks/WP01-first.md`]: '# WP01\n\nDo the first.\n',
    ...more,
  });
  return { theater_id, repo, main };
}

/** What the mainline's side must keep: its commit, checkout and index. */
async function mainOf({ repo }: Mission): Promise<string> {
  return git(repo, 'status', '--porcelain=v2', '--branch');
}

describe.each(WAYS)('missions in the vault over %s', (way) => {
  const call = (name: string, input: Data) => system.call(way, name, input);
  const start = ({ theater_id }: Mission, wp_id: string, more: Data = {}) =>
    call('vault.start-lane', {
      theater_id,
      mission_slug: SLUG,
      wp_id,
      wps: WPS,
      for: 'implement',
      ...more,
    });
  const merge = ({ theater_id }: Mission, more: Data = {}) =>
    call('vault.merge-mission', { theater_id, mission_slug: SLUG, wps: WPS, ...more });
  const refOf = (wp_id: string, branch: string): Data => ({
    project_uuid: randomUUID(),
    mission_slug: SLUG,
    wp_id,
    wp_event_id: randomUUID(),
    branch,
  });

  /** A dispatched run of one order for a work package. */
  const begin = async ({ theater_id }: Mission, ref: Data, more: Data = {}): Promise<Data> => {
    const objective = `Do ${ref.wp_id}`;
    const input = { theater_hint: theater_id, objective, mission: ref, ...more };
    const { run_id } = ok(await call('co.create-run', input), 201);
    const { order_ids } = ok(await call('co.plan', { run_id }));
    ok(await call('co.dispatch', { run_id }), 202);
    return { run_id, order_id: order_ids[0] };
  };

  /** The whole way of a work package's order; answers it as it is then. */
  const done = async (at: Mission, wp: string, branch: string, text: string): Promise<Data> => {
    const { order_id } = await begin(at, refOf(wp, branch));
    await units.doOrder(system, order_id, text);
    return units.orderWhen(system, order_id, units.isIntegrated);
  };

  test('D.41 an order of a work package starts from its lane and is promoted to it', async () => {
    const at = await mission();
    const lane = ok(await start(at, 'WP01'));
    const before = await mainOf(at);
    const ref = refOf('WP01', lane.branch);
    const { run_id, order_id } = await begin(at, ref);
    expect(await units.runView(system, run_id)).toMatchObject({ mission: ref });
    const enqueued = await units.orderWhen(system, order_id, units.isEnqueued);
    expect(enqueued).toMatchObject({ mission: ref, worktree: { base_sha: at.main } });
    await units.doOrder(system, order_id, 'of WP01');
    const order = await units.orderWhen(system, order_id, units.isIntegrated);
    const sha = order.integration.commit_sha as string;
    expect(await git(at.repo, 'rev-parse', LANE_A)).toBe(sha);
    const events = await system.eventsOf({ order_id });
    const told = events.find(({ type }) => type === 'INTEGRATED');
    expect(told?.payload).toMatchObject({ commit_sha: sha, mainline: LANE_A, mission: ref });
    const ws = lane.workspace_path as string;
    expect(await git(ws, 'rev-parse', 'HEAD')).toBe(sha);
    expect(await git(ws, 'status', '--porcelain')).toBe('');
    const written = order.artifacts[0].path as string;
    expect(await readFile(path.join(ws, written), 'utf8')).toBe('of WP01\n');
    expect(await mainOf(at)).toBe(before);
    expect(await git(at.repo, 'rev-parse', 'main')).toBe(at.main);
    expect(ok(await start(at, 'WP01')).evidence).toBe(true);
    const { theater_id } = at;
    const theater = ok(await call('ledger.theater', { theater_id, at_least: await system.tail() }));
    expect(theater.head_sha).not.toBe(sha);
    await git(at.repo, 'fsck', '--strict');
  });

  test('D.41 the next work package of a lane goes on; a lane on it starts with both', async () => {
    const at = await mission();
    ok(await start(at, 'WP01'));
    const first = await done(at, 'WP01', LANE_A, 'first');
    expect(ok(await start(at, 'WP02')).branch).toBe(LANE_A);
    const second = await done(at, 'WP02', LANE_A, 'second');
    expect(second.worktree.base_sha).toBe(first.integration.commit_sha);
    const lane = ok(await start(at, 'WP03'));
    expect(lane).toMatchObject({ branch: LANE_B, lane_id: 'lane-b', evidence: false });
    for (const { artifacts } of [first, second]) {
      const below = path.join(lane.workspace_path, artifacts[0].path);
      expect(existsSync(below)).toBe(true);
    }
    const third = await done(at, 'WP03', LANE_B, 'third');
    expect(await git(at.repo, 'rev-parse', LANE_B)).toBe(third.integration.commit_sha);
    expect(await git(at.repo, 'rev-parse', LANE_A)).toBe(second.integration.commit_sha);
    expect(await git(at.repo, 'rev-parse', 'main')).toBe(at.main);
  });

  test('D.41 an attempt after a failed one starts from the lane too', async () => {
    const at = await mission();
    ok(await start(at, 'WP01'));
    const first = await done(at, 'WP01', LANE_A, 'first');
    const { order_id } = await begin(at, refOf('WP02', LANE_A));
    await units.failOrder(system, order_id, { message: 'no answer', retryable: true });
    const again = await units.orderWhen(
      system,
      order_id,
      (order) => order.attempt === 2 && units.isEnqueued(order),
      30_000,
    );
    expect(again.worktree.base_sha).toBe(first.integration.commit_sha);
  });

  test('D.41 a lane is started once, with its prompt, its boxes and what it has', async () => {
    const at = await mission();
    const [lane, ...others] = await Promise.all(
      Array.from({ length: 4 }, async () => ok(await start(at, 'WP01'))),
    );
    expect(lane).toEqual({
      branch: LANE_A,
      workspace_path: path.join(at.repo, '.worktrees', `${SLUG}-lane-a`),
      lane_id: 'lane-a',
      lane_base_ref: `kitty/mission-${SLUG}`,
      prompt: { path: `${SPECS}/tasks/WP01-first.md`, text: '# WP01\n\nDo the first.\n' },
      subtasks: { open: 1, done: 2 },
      evidence: false,
    });
    for (const other of others) expect(other).toEqual(lane);
    expect((await git(at.repo, 'worktree', 'list')).split('\n')).toHaveLength(2);
    expect(await git(lane?.workspace_path, 'status', '--porcelain')).toBe('');
    expect(ok(await start(at, 'WP02'))).toMatchObject({
      branch: LANE_A,
      prompt: null,
      subtasks: { open: 1, done: 0 },
    });
  });

  test('D.41 without lanes.json each work package is a lane', async () => {
    const { theater_id, repo } = await theaters.openTheater(system);
    const main = await git(repo, 'rev-parse', 'main');
    const lane = ok(await start({ theater_id, repo, main }, 'WP03'));
    expect(lane).toMatchObject({
      branch: `kitty/mission-${SLUG}-WP03`,
      lane_id: 'WP03',
      prompt: null,
      subtasks: null,
    });
  });

  test('D.41 a review has a branch at the lane’s tip, and nothing of it reaches the lane', async () => {
    const at = await mission();
    const early = err(await start(at, 'WP01', { for: 'review' }), 'LANE_ALLOCATION_FAILED', 409);
    expect(early.field).toBe('wp_id');
    ok(await start(at, 'WP01'));
    const { integration } = await done(at, 'WP01', LANE_A, 'first');
    const review = ok(await start(at, 'WP01', { for: 'review' }));
    const branch = `kitty/review-${SLUG}-WP01`;
    expect(review).toMatchObject({ branch, workspace_path: null, lane_base_ref: LANE_A });
    expect(await git(at.repo, 'rev-parse', branch)).toBe(integration.commit_sha);
    const reviewed = await done(at, 'WP01', branch, 'VERDICT: approved');
    expect(await git(at.repo, 'rev-parse', branch)).toBe(reviewed.integration.commit_sha);
    expect(await git(at.repo, 'rev-parse', LANE_A)).toBe(integration.commit_sha);
    ok(await start(at, 'WP01', { for: 'review' }));
    expect(await git(at.repo, 'rev-parse', branch)).toBe(reviewed.integration.commit_sha);
    const changed = await done(at, 'WP01', LANE_A, 'better');
    ok(await start(at, 'WP01', { for: 'review' }));
    expect(await git(at.repo, 'rev-parse', branch)).toBe(changed.integration.commit_sha);
  });

  test('D.41 a branch that is none of the mission is refused, and so is one that is not there', async () => {
    const at = await mission();
    const before = await system.tail();
    for (const branch of ['main', 'kitty/mission-065-other-lane-a', `${LANE_A}/x`, '']) {
      const input = {
        theater_hint: at.theater_id,
        objective: 'Do',
        mission: refOf('WP01', branch),
      };
      const error = refused(await call('co.create-run', input), 'INVALID_REQUEST');
      expect(error.field).toBe('mission.branch');
    }
    expect(await system.tail()).toBe(before);
    // The ledger takes any fact: the vault looks again.
    const { theater_id } = at;
    const foreign = { order_id: `o-${randomUUID()}`, run_id: null, theater_id };
    const payload = { objective: 'Do', mission: refOf('WP01', 'main') };
    ok(await call('ledger.append', { ...foreign, type: 'ORDER_CREATED', payload }), 201);
    const { order_id } = foreign;
    const error = err(
      await call('vault.create-worktree', { theater_id, order_id }),
      'BRANCH_REFUSED',
      409,
    );
    expect(error.field).toBe('mission.branch');
    const { run_id } = await begin(at, refOf('WP01', LANE_A));
    const run = await units.runEnd(system, run_id);
    expect(run).toMatchObject({ status: 'FAILED', last_error: { code: 'BRANCH_REFUSED' } });
  });

  test('D.41 a prompt that is a link is not followed', async () => {
    const at = await mission();
    await symlink('/etc/hostname', path.join(at.repo, `${SPECS}/tasks/WP02.md`));
    expect(ok(await start(at, 'WP02')).prompt).toBeNull();
    await symlink('/etc', path.join(at.repo, 'kitty-specs', 'linked'));
    const input = { theater_id: at.theater_id, mission_slug: 'linked', wp_id: 'WP01', wps: WPS };
    refused(
      await call('vault.start-lane', { ...input, for: 'implement' }),
      'TOOL_POLICY_VIOLATION',
    );
  });

  test.each(['merge', 'squash', 'rebase'])(
    'D.41 a mission is merged once: %s',
    async (strategy) => {
      const at = await mission();
      ok(await start(at, 'WP01'));
      const a = await done(at, 'WP01', LANE_A, 'first');
      ok(await start(at, 'WP01', { for: 'review' }));
      ok(await start(at, 'WP03'));
      const b = await done(at, 'WP03', LANE_B, 'third');
      const dry = ok(await merge(at, { strategy, dry_run: true }));
      expect(dry).toMatchObject({ target_branch: 'main', commit: null, lanes: [LANE_A, LANE_B] });
      expect(await git(at.repo, 'rev-parse', 'main')).toBe(at.main);
      // Hooks may be what a unit wrote: the vault runs none.
      for (const name of ['pre-merge-commit', 'pre-commit']) {
        const hook = path.join(at.repo, '.git/hooks', name);
        await mkdir(path.dirname(hook), { recursive: true });
        await writeFile(hook, '#!/bin/sh\nexit 1\n', { mode: 0o755 });
      }
      const merged = ok(await merge(at, { strategy }));
      expect(merged).toEqual({
        target_branch: 'main',
        commit: await git(at.repo, 'rev-parse', 'main'),
        worktree_removed: true,
        lanes: [LANE_A, LANE_B],
      });
      for (const [{ artifacts }, text] of [[a, 'first'] as const, [b, 'third'] as const]) {
        expect(await git(at.repo, 'show', `main:${artifacts[0].path}`)).toBe(text);
      }
      expect(await git(at.repo, 'status', '--porcelain')).toBe('');
      const history = await git(at.repo, 'rev-list', '--min-parents=2', `${at.main}..main`);
      expect(history === '').toBe(strategy !== 'merge');
      const files = await git(at.repo, 'ls-tree', '-r', '--name-only', 'main');
      expect(files).not.toMatch(/^(aar\.json|order\.json|task\.md)$/m);
      expect(await git(at.repo, 'for-each-ref', 'refs/heads/kitty')).toBe('');
      expect(await git(at.repo, 'worktree', 'list', '--porcelain')).not.toContain('.worktrees');
      expect(ok(await merge(at, { strategy }))).toEqual(merged);
      expect(await git(at.repo, 'rev-parse', 'main')).toBe(merged.commit);
      await git(at.repo, 'fsck', '--strict');
    },
  );

  test('D.41 a merge that conflicts names every problem and moves nothing', async () => {
    const at = await mission();
    const lane = ok(await start(at, 'WP01'));
    await theaters.commit(lane.workspace_path, { 'README.md': 'of the lane\n' });
    await theaters.write(lane.workspace_path, { left: 'not committed' });
    ok(await start(at, 'WP03'));
    await theaters.commit(at.repo, { 'README.md': 'of main\n' });
    const before = await mainOf(at);
    const refs = await git(at.repo, 'for-each-ref');
    for (const dry_run of [true, false]) {
      const error = err(await merge(at, { dry_run }), 'PREFLIGHT_FAILED', 409);
      expect(error.details).toEqual({
        target_branch: 'main',
        errors: [
          'lane lane-a: not committed: left',
          'the mission conflicts with main in README.md',
        ],
        // Only a look ahead also tells of evidence that is owed before.
        ...(dry_run && { workflow_evidence_missing: null }),
      });
    }
    expect(await mainOf(at)).toBe(before);
    expect(await git(at.repo, 'for-each-ref')).toBe(refs);
  });

  test('D.41 canceled work packages are not merged', async () => {
    const at = await mission();
    ok(await start(at, 'WP01'));
    await done(at, 'WP01', LANE_A, 'first');
    ok(await start(at, 'WP03'));
    const b = await done(at, 'WP03', LANE_B, 'third');
    const merged = ok(await merge(at, { canceled: ['WP03'] }));
    expect(merged.lanes).toEqual([LANE_A]);
    const files = await git(at.repo, 'ls-tree', '-r', '--name-only', 'main');
    expect(files).not.toContain(b.artifacts[0].path);
    expect(await git(at.repo, 'rev-parse', LANE_B)).toBe(b.integration.commit_sha);
  });
});
