import { mkdir, rename, rm, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { freshIds, git, startSystem, type System } from './harness.ts';
import * as theaters from './theaters.ts';
import { aarOf, commit, type OpenWorktree, write } from './theaters.ts';
import {
  ago,
  backdate,
  bytesOf,
  complete,
  eventsAbout,
  MINUTE,
  patrol,
  running,
  signal,
  tellOf,
  untilTold,
} from './watched.ts';
import { type Data, err, ok, WAYS } from './wire.ts';

/** No patrol comes by itself while a check looks. */
const QUIET = { IRONCLAW_PATROL_MS: String(60 * MINUTE) };

let system: System;
beforeAll(async () => {
  system = await startSystem({ roles: ['ledger', 'vault', 'observer'], env: QUIET });
});
afterAll(() => system?.[Symbol.asyncDispose]());

const openTheater = () => theaters.openTheater(system);
const openWorktree = async () => theaters.openWorktree(system, await openTheater());

describe.each(WAYS)('observer over %s', (way) => {
  test('8.40 RUNNING beyond the threshold: recovery is required once, with a reason', async () => {
    const theater = await openTheater();
    const order_id = await running(system, theater, 31 * MINUTE, [signal]);
    const first = await patrol(system, way, theater);
    expect(first).toMatchObject({ theater_id: theater.theater_id, orders: 1 });
    expect(first.findings).toEqual([
      expect.objectContaining({ kind: 'stalled', order_id, severity: 'HIGH', known: false }),
    ]);
    const [required, ...rest] = await eventsAbout(system, order_id, 'RECOVERY_REQUIRED');
    expect(rest).toEqual([]);
    expect(required?.payload).toMatchObject({ attempt: 1, reason: first.findings[0].reason });
    expect(required?.payload.reason).toMatch(/stall/);
    const [raised, ...others] = await eventsAbout(system, order_id, 'ESCALATION_RAISED');
    expect(others).toEqual([]);
    expect(raised?.payload).toMatchObject({ severity: 'HIGH', route: 'duty-officer' });

    const before = await system.tail();
    const second = await patrol(system, way, theater);
    expect(second.findings).toEqual([{ ...first.findings[0], known: true }]);
    expect(await system.tail()).toBe(before);
  });

  test('8.40 inside the threshold: nothing', async () => {
    const theater = await openTheater();
    const order_id = await running(system, theater, 29 * MINUTE, [signal]);
    expect((await patrol(system, way, theater)).findings).toEqual([]);
    expect(await eventsAbout(system, order_id, 'RECOVERY_REQUIRED')).toEqual([]);
  });

  test('8.40 stalled although the newest event is not about its status', async () => {
    const theater = await openTheater();
    const order_id = await running(system, theater, 31 * MINUTE, [
      { type: 'MODEL_CALL_STARTED', payload: { attempt: 1, index: 0 } },
    ]);
    ok(
      await system.call('http', 'ledger.append', {
        type: 'ESCALATION_RAISED',
        theater_id: theater.theater_id,
        run_id: `run_${order_id}`,
        order_id,
        payload: { severity: 'LOW', reason: 'an alert of somebody else' },
      }),
    );
    const { findings } = await patrol(system, way, theater);
    expect(findings).toMatchObject([{ kind: 'stalled', order_id, known: false }]);
    expect(await eventsAbout(system, order_id, 'RECOVERY_REQUIRED')).toHaveLength(1);
  });

  test('8.40 a silent unit has lost its heartbeat; a new attempt is watched anew', async () => {
    const theater = await openTheater();
    const order_id = await running(system, theater, 3 * MINUTE);
    expect((await patrol(system, way, theater)).findings).toMatchObject([
      { kind: 'heartbeat-lost' },
    ]);
    const place = { theater_id: theater.theater_id, order_id };
    await tellOf(system, place, [{ type: 'ORDER_REISSUED', payload: { attempt: 2 } }]);
    expect((await patrol(system, way, theater)).findings).toEqual([]);
    const attempt = { ts: ago(3 * MINUTE), payload: { attempt: 2 }, unit_id: 'second' };
    await tellOf(system, place, [{ type: 'ORDER_STARTED', ...attempt }]);
    const again = await patrol(system, way, theater);
    expect(again.findings).toMatchObject([{ kind: 'heartbeat-lost', known: false }]);
    expect(await eventsAbout(system, order_id, 'RECOVERY_REQUIRED')).toHaveLength(2);
  });

  test('8.40 a worktree at work without a commit is told; one with a fresh commit is not', async () => {
    const theater = await openTheater();
    const live = async () => {
      const worktree = await theaters.openWorktree(system, theater);
      const unit_id = 'unit';
      const long = { constraints: { budget_seconds: 3_600, max_retries: 1 } };
      await tellOf(system, worktree, [
        { type: 'ORDER_CREATED', payload: long },
        { type: 'ORDER_CLAIMED', ts: ago(90 * MINUTE), unit_id },
        { type: 'ORDER_STARTED', unit_id },
      ]);
      return worktree;
    };
    const idle = await live();
    const busy = await live();
    await commit(busy.tree, { 'outputs/draft.md': 'so far\n' });
    await backdate(idle, 90 * MINUTE);
    const { findings } = await patrol(system, way, theater);
    expect(findings).toMatchObject([
      { kind: 'no-commit', order_id: idle.order_id, severity: 'LOW' },
    ]);
    // Its unit lives: it is not taken off the order.
    expect(await eventsAbout(system, idle.order_id, 'ESCALATION_RAISED')).toHaveLength(1);
    expect(await eventsAbout(system, idle.order_id, 'RECOVERY_REQUIRED')).toEqual([]);
  });

  test('8.41 a valid result is ready for integration, at once and once', async () => {
    const worktree = await openWorktree();
    const { order_id } = worktree;
    await complete(system, worktree, { 'outputs/result.md': '# Done\n' });
    await untilTold(system, order_id, 'INTEGRATION_READY');
    expect((await patrol(system, way, worktree)).findings).toEqual([]);
    const ready = await eventsAbout(system, order_id, 'INTEGRATION_READY');
    expect(ready).toHaveLength(1);
    expect(ready[0]?.payload).toMatchObject({ attempt: 1 });
    expect(await eventsAbout(system, order_id, 'RECOVERY_REQUIRED')).toEqual([]);
    expect(await eventsAbout(system, order_id, 'ESCALATION_RAISED')).toEqual([]);
  });

  const NOT_JSON = { 'outputs/result.md': 'x', 'aar.json': '{"order_id": "' };
  test.each<[string, string, (worktree: OpenWorktree) => Promise<unknown>]>([
    ['no AAR', 'aar-missing', ({ tree }) => commit(tree, { 'outputs/result.md': 'x' })],
    ['an AAR that is not JSON', 'aar-invalid', ({ tree }) => commit(tree, NOT_JSON)],
    [
      'an AAR of another shape',
      'aar-invalid',
      ({ tree, order_id }) => commit(tree, { 'aar.json': { order_id, status: 'fine' } }),
    ],
    [
      'the AAR of another order',
      'aar-invalid',
      ({ tree }) => commit(tree, { 'aar.json': aarOf('order_other', []) }),
    ],
    [
      'an AAR that says failed',
      'aar-invalid',
      ({ tree, order_id }) =>
        commit(tree, { 'aar.json': aarOf(order_id, [], { status: 'failed' }) }),
    ],
    [
      'an artifact that is not there',
      'artifact-missing',
      ({ tree, order_id }) => commit(tree, { 'aar.json': aarOf(order_id, ['outputs/none.md']) }),
    ],
    [
      'an artifact that is not committed',
      'artifact-missing',
      async ({ tree, order_id }) => {
        await commit(tree, { 'aar.json': aarOf(order_id, ['outputs/late.md']) });
        await write(tree, { 'outputs/late.md': 'late' });
      },
    ],
    [
      'a file too many',
      'dirty',
      async ({ tree, order_id }) => {
        await commit(tree, { 'aar.json': aarOf(order_id, []) });
        await write(tree, { 'stray.txt': 'not committed' });
      },
    ],
    [
      'an edited file',
      'dirty',
      async ({ tree, order_id }) => {
        await commit(tree, { 'aar.json': aarOf(order_id, ['outputs/a.md']), 'outputs/a.md': 'a' });
        await write(tree, { 'outputs/a.md': 'b' });
      },
    ],
    [
      'no worktree any more',
      'worktree-missing',
      ({ tree }) => rm(tree, { recursive: true, force: true }),
    ],
  ])('8.41 completed with %s: not ready, %s', async (_what, kind, make) => {
    const worktree = await openWorktree();
    const { order_id } = worktree;
    await make(worktree);
    await tellOf(system, worktree, [
      { type: 'ORDER_STARTED', unit_id: 'unit' },
      { type: 'ORDER_COMPLETED', unit_id: 'unit', payload: { attempt: 1 } },
    ]);
    await untilTold(system, order_id, 'ESCALATION_RAISED');
    const { findings } = await patrol(system, way, worktree);
    expect(findings).toMatchObject([{ kind, order_id, known: true }]);
    const required = await eventsAbout(system, order_id, 'RECOVERY_REQUIRED');
    expect(required).toHaveLength(1);
    expect(required[0]?.payload.reason).toBe(findings[0].reason);
    const raised = await eventsAbout(system, order_id, 'ESCALATION_RAISED');
    expect(raised).toHaveLength(1);
    expect(raised[0]?.payload.severity).toMatch(/^(LOW|MEDIUM|HIGH|CRITICAL)$/);
    expect(raised[0]?.payload.route).toBe('duty-officer');
    expect(await eventsAbout(system, order_id, 'INTEGRATION_READY')).toEqual([]);
  });

  test('8.41 an artifact that only an event names must be there too', async () => {
    const worktree = await openWorktree();
    const { order_id, tree } = worktree;
    await commit(tree, { 'aar.json': aarOf(order_id, []) });
    await tellOf(system, worktree, [
      { type: 'ARTIFACT_WRITTEN', payload: { path: 'outputs/none.md' } },
      { type: 'ORDER_COMPLETED' },
    ]);
    await untilTold(system, order_id, 'RECOVERY_REQUIRED');
    expect((await patrol(system, way, worktree)).findings).toMatchObject([
      { kind: 'artifact-missing', reason: expect.stringContaining('outputs/none.md') },
    ]);
  });

  test('8.41 mended, it is ready after all', async () => {
    const worktree = await openWorktree();
    const { order_id, tree } = worktree;
    await complete(system, worktree, { 'outputs/a.md': 'a' }, () =>
      write(tree, { 'left.txt': 'over' }),
    );
    await untilTold(system, order_id, 'RECOVERY_REQUIRED');
    await rm(path.join(tree, 'left.txt'));
    expect((await patrol(system, way, worktree)).findings).toEqual([]);
    expect(await eventsAbout(system, order_id, 'INTEGRATION_READY')).toHaveLength(1);
  });

  test('8.42 a worktree that the ledger does not know is an orphan, told once', async () => {
    const theater = await openTheater();
    const base = path.join(path.dirname(theater.repo), 'worktrees');
    await mkdir(path.join(base, 'left-behind'));
    await write(path.join(base, 'left-behind'), { 'work.md': 'whose?' });
    const { order } = freshIds();
    await git(theater.repo, 'worktree', 'add', '-q', path.join(base, `order_${order}`));
    await writeFile(path.join(base, 'note.txt'), 'a file is no worktree');
    const before = await bytesOf(path.dirname(theater.repo));
    const first = await patrol(system, way, theater);
    expect(first.findings.map((finding: Data) => finding.kind)).toEqual(['orphan', 'orphan']);
    const told = await system.eventsOf({ theater_id: theater.theater_id });
    const raised = told.filter(({ type }) => type === 'ESCALATION_RAISED');
    expect(raised.map(({ payload }) => payload.reason)).toEqual(
      first.findings.map(({ reason }: Data) => reason),
    );
    expect(raised[0]).toMatchObject({ run_id: null, order_id: null });
    expect(raised[0]?.payload).toMatchObject({ severity: 'LOW', route: 'duty-officer' });
    expect(raised[0]?.payload.reason).toMatch(/orphan.*left-behind/);
    const again = await patrol(system, way, theater);
    expect(again.findings.map(({ known }: Data) => known)).toEqual([true, true]);
    expect(await system.tail()).toBe(told.at(-1)?.seq);
    expect(await bytesOf(path.dirname(theater.repo))).toEqual(before);
  });

  test('8.42 a worktree whose order ended long ago is an orphan, unless it was archived', async () => {
    const theater = await openTheater();
    const ended = async (ms: number) => {
      const worktree = await theaters.openWorktree(system, theater);
      await tellOf(system, worktree, [
        { type: 'ORDER_FAILED', ts: ago(ms), payload: { code: 'X', message: 'x', stage: 'x' } },
      ]);
      return worktree.order_id;
    };
    const old = await ended(61 * MINUTE);
    await ended(59 * MINUTE);
    const archived = await ended(61 * MINUTE);
    ok(await system.call('http', 'vault.archive-worktree', { order_id: archived }));
    const needed = await ended(61 * MINUTE);
    const run = { theater_id: theater.theater_id, run_id: `run_${needed}` };
    ok(await system.call('http', 'ledger.append', { type: 'RUN_CREATED', ...run }));
    const { findings, worktrees } = await patrol(system, way, theater);
    expect(worktrees).toBe(4);
    expect(findings).toMatchObject([{ kind: 'orphan', order_id: old, known: false }]);
    expect((await patrol(system, way, theater)).findings).toMatchObject([
      { kind: 'orphan', known: true },
    ]);
    expect(await eventsAbout(system, old, 'ESCALATION_RAISED')).toHaveLength(1);
    expect(await eventsAbout(system, old, 'RECOVERY_REQUIRED')).toEqual([]);
  });

  test('8.42 a patrol changes no byte of a worktree, nor of its repository', async () => {
    const theater = await openTheater();
    const clean = await theaters.openWorktree(system, theater);
    const dirty = await theaters.openWorktree(system, theater);
    const hung = await theaters.openWorktree(system, theater);
    const edited = { 'outputs/a.md': 'edited', 'new/b.md': 'new' };
    await symlink('/etc/hostname', path.join(hung.tree, 'link'));
    const unit_id = 'unit';
    await tellOf(system, hung, [
      { type: 'ORDER_CLAIMED', ts: ago(31 * MINUTE), unit_id },
      { type: 'ORDER_STARTED', ts: ago(31 * MINUTE), unit_id },
    ]);
    // Same bytes, other times: `git status` itself would write the index here.
    await write(clean.tree, { 'outputs/a.md': 'a' });
    await complete(system, clean, { 'outputs/a.md': 'a' }, () =>
      write(clean.tree, { 'outputs/a.md': 'a' }),
    );
    await complete(system, dirty, { 'outputs/a.md': 'a' }, () => write(dirty.tree, edited));
    const before = await bytesOf(path.dirname(theater.repo));
    await untilTold(system, clean.order_id, 'INTEGRATION_READY');
    await untilTold(system, dirty.order_id, 'RECOVERY_REQUIRED');
    const { findings } = await patrol(system, way, theater);
    expect(findings.map(({ kind }: Data) => kind).sort()).toEqual(['dirty', 'stalled']);
    expect(await bytesOf(path.dirname(theater.repo))).toEqual(before);
  });

  test('8.42 an unknown theater is refused, also one that events name', async () => {
    const { theater: theater_id } = freshIds();
    const input = { theater_id };
    const error = err(await system.call(way, 'observer.patrol', input), 'THEATER_NOT_FOUND', 404);
    expect(error.field).toBe('theater_id');
    await running(system, { theater_id }, 31 * MINUTE);
    err(await system.call(way, 'observer.patrol', input), 'THEATER_NOT_FOUND', 404);
    err(await system.call(way, 'observer.patrol', { theater_id: '../x' }), 'INVALID_REQUEST', 400);
  });

  test('8.42 another theater’s orders are not reported', async () => {
    const [one, other] = [await openTheater(), await openTheater()];
    const order_id = await running(system, one, 31 * MINUTE);
    expect(await patrol(system, way, other)).toMatchObject({ orders: 0, findings: [] });
    expect(await eventsAbout(system, order_id, 'RECOVERY_REQUIRED')).toEqual([]);
    expect((await patrol(system, way, one)).findings).toHaveLength(1);
  });

  test('a theater on another host: nobody is called an orphan', async () => {
    const theater = await openTheater();
    const order_id = await running(system, theater, 31 * MINUTE);
    const home = path.dirname(theater.repo);
    await rename(home, `${home}-elsewhere`);
    const first = await patrol(system, way, theater);
    const kinds = [
      { kind: 'unreachable', order_id: null, known: false },
      { kind: 'stalled', order_id, known: false },
    ];
    expect(first).toMatchObject({ worktrees: 0, findings: kinds });
    const again = await patrol(system, way, theater);
    expect(again.findings).toMatchObject(kinds.map((finding) => ({ ...finding, known: true })));
  });
});
