import { existsSync } from 'node:fs';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { waitFor } from '#libs/testing';
import { freshIds, git, startSystem, type System } from './harness.ts';
import * as theaters from './theaters.ts';
import { type Data, ok, WAYS } from './wire.ts';

// The timers are set to a day: every patrol and audit is the test's own.
const QUIET = { IRONCLAW_PATROL_MS: '86400000', IRONCLAW_AUDIT_MS: '86400000' };
const LONG_AGO = '2026-01-14T16:21:00Z';

const typesIn = (events: readonly Data[]): string[] => events.map(({ type }) => type);
const append = (system: System, event: Data) => system.call('http', 'ledger.append', event);

async function tell(system: System, place: Data, type: string, more: Data = {}): Promise<void> {
  ok(await append(system, { ...place, type, ...more }), 201);
}

/** Jobs on the queue for an order. */
async function jobsOf(system: System, order_id: string): Promise<Data[]> {
  const { first_seq, last_seq } = (await system.broker.jsm.streams.info('JOBS')).state;
  const jobs: Data[] = [];
  for (let seq = Math.max(1, first_seq); seq <= last_seq; seq += 1) {
    const job = (await system.broker.jsm.streams.getMessage('JOBS', { seq }))?.json<Data>();
    if (job?.order_id === order_id) jobs.push(job);
  }
  return jobs;
}

async function viewOf(system: System, order_id: string): Promise<Data> {
  const at_least = await system.tail();
  return ok(await system.call('http', 'ledger.order', { order_id, at_least }));
}

/** An order that a unit took long ago and never ended, with half of its work in the worktree. */
async function stuckOrder(system: System, max_retries: number) {
  const opened = await theaters.openWorktree(system, await theaters.openTheater(system));
  const { theater_id, order_id, tree } = opened;
  const constraints = { budget_seconds: 1, max_retries };
  const order = theaters.orderOf(opened, { constraints });
  ok(await system.call('http', 'vault.prepare-worktree', { order_id, order }));
  const place = { theater_id, order_id, run_id: null };
  const { objective } = order;
  await tell(system, place, 'ORDER_CREATED', { payload: { objective, constraints } });
  await start(system, place, 1);
  await writeFile(path.join(tree, 'half.txt'), 'half of the work');
  return { ...opened, place };
}

async function start(system: System, place: Data, attempt: number): Promise<void> {
  const unit_id = `assault_${attempt}`;
  const payload = { attempt };
  await tell(system, place, 'ORDER_STARTED', { unit_id, ts: LONG_AGO, payload });
}

describe.each(WAYS)('duty officer over %s', (way) => {
  let system: System;
  beforeAll(async () => {
    system = await startSystem({ roles: ['ledger', 'vault', 'duty-officer'], env: QUIET });
  });
  afterAll(() => system?.[Symbol.asyncDispose]());
  const patrol = async (): Promise<Data> => ok(await system.call(way, 'duty-officer.patrol'), 200);
  const eventsOf = (order_id: string) => system.eventsOf({ order_id });

  test('8.46 on an idle system a patrol is one tick and nothing else', async () => {
    const before = await system.tail();
    const { tick_id, ...done } = await patrol();
    const events = await system.eventsOf({});
    expect(events.filter(({ seq }) => seq > before)).toMatchObject([
      { type: 'PATROL_TICK', event_id: tick_id, run_id: null, order_id: null },
    ]);
    expect(done).toMatchObject({ reissued: [], failed: [], quarantined: [], requeued: [] });
  });

  test('8.47 an overdue order gets its second attempt, and no third', async () => {
    const { order_id, place, tree } = await stuckOrder(system, 1);
    const before = (await eventsOf(order_id)).length;
    expect((await patrol()).reissued).toEqual([order_id]);
    const recovered = (await eventsOf(order_id)).slice(before);
    const wanted = ['RECOVERY_STARTED', 'ORDER_REISSUED', 'RECOVERY_COMPLETED'];
    expect(typesIn(recovered).filter((type) => wanted.includes(type))).toEqual(wanted);
    expect(await viewOf(system, order_id)).toMatchObject({ status: 'QUEUED', attempt: 2 });
    expect(await jobsOf(system, order_id)).toMatchObject([{ attempt: 2, worktree_path: tree }]);
    expect((await patrol()).reissued).toEqual([]);
    expect(await jobsOf(system, order_id)).toHaveLength(1);

    await start(system, place, 2);
    expect(await patrol()).toMatchObject({ reissued: [], failed: [order_id] });
    const view = await viewOf(system, order_id);
    expect(view).toMatchObject({ status: 'FAILED', attempt: 2 });
    expect(view.last_error).toMatchObject({ code: 'ORDER_OVERDUE' });
    await patrol();
    const types = typesIn(await eventsOf(order_id));
    expect(types.filter((type) => type === 'ORDER_REISSUED')).toHaveLength(1);
    expect(types.filter((type) => type === 'ESCALATION_RAISED')).toHaveLength(1);
    expect(await jobsOf(system, order_id)).toHaveLength(1);
  });

  test('8.47 without retries an overdue order fails and is escalated', async () => {
    const { order_id } = await stuckOrder(system, 0);
    expect(await patrol()).toMatchObject({ reissued: [], failed: [order_id] });
    const at_least = await system.tail();
    const types = typesIn(await eventsOf(order_id));
    expect(types).not.toContain('ORDER_REISSUED');
    const { escalations } = ok(
      await system.call(way, 'ledger.escalations', { state: 'open', at_least }),
    );
    const own = (escalations as Data[]).filter((one) => one.order_id === order_id);
    expect(own).toMatchObject([{ severity: 'HIGH', route: 'operator' }]);
    expect(await jobsOf(system, order_id)).toEqual([]);
  });

  test('half of the work is kept apart; the next attempt has a clean worktree', async () => {
    const { order_id, tree, repo } = await stuckOrder(system, 1);
    expect((await patrol()).quarantined).toEqual([order_id]);
    const aside = path.join(repo, '../quarantine', `order_${order_id}.1`);
    expect(await readFile(path.join(aside, 'half.txt'), 'utf8')).toBe('half of the work');
    expect(await git(repo, 'worktree', 'list', '--porcelain')).toContain('locked quarantined');
    expect(existsSync(path.join(tree, 'half.txt'))).toBe(false);
    const order = JSON.parse(await readFile(path.join(tree, 'order.json'), 'utf8')) as Data;
    expect(order.order_id).toBe(order_id);
    expect(typesIn(await eventsOf(order_id))).toContain('WORKTREE_QUARANTINED');
    ok(await system.call(way, 'vault.archive-worktree', { order_id }));
    ok(await system.call(way, 'vault.remove-worktree', { order_id }));
    expect(await readdir(path.dirname(aside))).toEqual([`order_${order_id}.1`]);
  });

  test('8.48 what is completed or cancelled is never reissued', async () => {
    const done = await stuckOrder(system, 5);
    await tell(system, done.place, 'ORDER_COMPLETED', { ts: LONG_AGO, payload: { attempt: 1 } });
    const gone = await stuckOrder(system, 5);
    await tell(system, gone.place, 'ORDER_CANCELLED', { ts: LONG_AGO });
    const before = await system.tail();
    expect(await patrol()).toMatchObject({ reissued: [], failed: [], quarantined: [] });
    expect((await system.eventsOf({})).filter(({ seq }) => seq > before)).toHaveLength(1);
    expect(existsSync(path.join(done.tree, 'half.txt'))).toBe(true);
  });

  test('8.48 patrols at the same time reissue once', async () => {
    const { order_id } = await stuckOrder(system, 5);
    const done = await Promise.all([patrol(), patrol(), patrol(), patrol()]);
    expect(new Set(done.map(({ tick_id }) => tick_id)).size).toBe(4);
    expect(done.flatMap(({ reissued }) => reissued as string[])).toEqual([order_id]);
    const types = typesIn(await eventsOf(order_id));
    expect(types.filter((type) => type === 'ORDER_REISSUED')).toHaveLength(1);
    expect(types.filter((type) => type === 'WORKTREE_QUARANTINED')).toHaveLength(1);
    expect(await jobsOf(system, order_id)).toHaveLength(1);
  });

  test('an order whose job is lost gets it anew; one that waits in the queue is left alone', async () => {
    const opened = await theaters.openWorktree(system, await theaters.openTheater(system));
    const { theater_id, order_id } = opened;
    const place = { theater_id, order_id, run_id: null };
    const constraints = { budget_seconds: 1, max_retries: 1 };
    await tell(system, place, 'ORDER_CREATED', { ts: LONG_AGO, payload: { constraints } });
    expect(await patrol()).toMatchObject({ requeued: [], reissued: [] });
    await tell(system, place, 'ORDER_ENQUEUED', { ts: LONG_AGO });
    expect(await patrol()).toMatchObject({ requeued: [order_id], reissued: [] });
    expect(await patrol()).toMatchObject({ requeued: [], reissued: [], failed: [] });
    expect(await jobsOf(system, order_id)).toMatchObject([{ attempt: 1 }]);
    expect(await viewOf(system, order_id)).toMatchObject({ status: 'QUEUED', attempt: 1 });
  });
});

describe.each(WAYS)('duty officer and commanding officer over %s', (way) => {
  test('8.47 the next attempt of a planned order is queued once, in a worktree of its own', async () => {
    const roles = ['ledger', 'vault', 'co', 'duty-officer'] as const;
    await using system = await startSystem({ roles, env: QUIET });
    const input = { theater_hint: freshIds().theater, objective: 'Build me a summary' };
    const { run_id, theater_id } = ok(await system.call(way, 'co.create-run', input), 201);
    const { order_ids } = ok(await system.call(way, 'co.plan', { run_id }));
    ok(await system.call(way, 'co.dispatch', { run_id }));
    const [order_id] = order_ids as [string];
    await waitFor(async () => (await jobsOf(system, order_id)).length > 0);
    const tree = (await jobsOf(system, order_id))[0]?.worktree_path as string;
    await start(system, { theater_id, run_id, order_id }, 1);
    await writeFile(path.join(tree, 'half.txt'), 'half of the work');

    const done = ok(await system.call(way, 'duty-officer.patrol'));
    expect(done).toMatchObject({ reissued: [order_id], quarantined: [order_id] });
    await waitFor(async () => (await jobsOf(system, order_id)).length > 1);
    ok(await system.call(way, 'duty-officer.patrol'));
    expect((await jobsOf(system, order_id)).map(({ attempt }) => attempt as number)).toEqual([
      1, 2,
    ]);
    expect(existsSync(path.join(tree, 'half.txt'))).toBe(false);
    expect(existsSync(path.join(tree, 'order.json'))).toBe(true);
    const aside = path.join(tree, '../../quarantine', `order_${order_id}.1`);
    expect(await readFile(path.join(aside, 'half.txt'), 'utf8')).toBe('half of the work');
    expect(await viewOf(system, order_id)).toMatchObject({
      status: 'QUEUED',
      attempt: 2,
      anomalies: 0,
      worktree: { state: 'READY', path: tree },
    });
  });
});

describe.each(WAYS)('dependencies over %s', (way) => {
  test('8.49 what is down is told once, and once when it is back', async () => {
    const roles = ['ledger', 'duty-officer'] as const;
    const separateProcesses = ['vault', 'observer'] as const;
    await using system = await startSystem({ roles, separateProcesses, env: QUIET });
    const patrol = async (): Promise<Data> => ok(await system.call(way, 'duty-officer.patrol'));
    const edges = async (): Promise<string[]> =>
      (await system.eventsOf({}))
        .filter(({ type }) => type.startsWith('SERVICE_'))
        .map(({ type, payload }) => `${type} ${payload.service}`);
    await patrol();
    expect(await edges()).toEqual([]);
    for (const role of separateProcesses) {
      await system.process(role).kill();
      const { services } = await patrol();
      expect(services).toContainEqual(expect.objectContaining({ service: role, healthy: false }));
      await patrol();
    }
    const down = ['SERVICE_DEGRADED vault', 'SERVICE_DEGRADED observer'];
    expect(await edges()).toEqual(down);
    for (const role of separateProcesses) await system.process(role).restart();
    await patrol();
    await patrol();
    const up = (await edges()).slice(2);
    expect(up.toSorted()).toEqual(['SERVICE_RECOVERED observer', 'SERVICE_RECOVERED vault']);
  });
});

describe.each(WAYS)('sentinel over %s', (way) => {
  const begin = (roles: ('ledger' | 'sentinel' | 'duty-officer')[]) =>
    startSystem({ roles, env: QUIET });
  const audit = async (system: System): Promise<Data> =>
    ok(await system.call(way, 'sentinel.audit'), 200);
  const criticals = async (system: System): Promise<Data[]> =>
    (await system.eventsOf({})).filter(
      ({ type, payload }) => type === 'ESCALATION_RAISED' && payload.severity === 'CRITICAL',
    );
  const queueOrder = (system: System) =>
    tell(system, { theater_id: 'demo', order_id: freshIds().order }, 'ORDER_ENQUEUED');

  test('8.50 a fresh tick and a steady backlog are well', async () => {
    await using system = await begin(['ledger', 'sentinel']);
    await tell(system, {}, 'PATROL_TICK');
    await queueOrder(system);
    for (let round = 0; round < 5; round += 1) {
      expect(await audit(system)).toMatchObject({ verdict: 'ok', escalation_id: null });
    }
    expect(await criticals(system)).toEqual([]);
  });

  test('8.50 no tick ever, or one that is too old, is a dead duty officer, told once', async () => {
    await using system = await begin(['ledger', 'sentinel']);
    const never = await audit(system);
    expect(never).toMatchObject({ verdict: 'dead', last_tick_at: null, tick_age_ms: null });
    expect(await audit(system)).toMatchObject({ escalation_id: never.escalation_id });
    expect(await criticals(system)).toMatchObject([
      { payload: { escalation_id: never.escalation_id, route: 'operator' } },
    ]);
    await tell(system, { theater_id: 'demo' }, 'PATROL_TICK');
    expect(await audit(system)).toMatchObject({ verdict: 'ok' });
    await tell(system, {}, 'PATROL_TICK', { ts: LONG_AGO });
    const old = await audit(system);
    expect(old).toMatchObject({ verdict: 'dead', last_tick_at: LONG_AGO });
    await audit(system);
    expect(await criticals(system)).toHaveLength(2);
    expect(old.escalation_id).not.toBe(never.escalation_id);
  });

  test('8.50 a backlog that grows under fresh ticks is an ineffective watch, told once', async () => {
    await using system = await begin(['ledger', 'sentinel']);
    const grow = async (): Promise<Data> => {
      await tell(system, {}, 'PATROL_TICK');
      await queueOrder(system);
      return audit(system);
    };
    const verdicts: string[] = [];
    for (let round = 0; round < 6; round += 1) verdicts.push((await grow()).verdict);
    expect(verdicts).toEqual(['ok', 'ok', ...Array<string>(4).fill('ineffective')]);
    const [raised, ...more] = await criticals(system);
    expect(raised?.payload.reason).toMatch(/ineffective/);
    expect(more).toEqual([]);

    const done = { theater_id: 'demo', order_id: freshIds().order };
    await tell(system, done, 'ORDER_COMPLETED');
    expect(await audit(system)).toMatchObject({ verdict: 'ok' });
    for (let round = 0; round < 3; round += 1) await grow();
    expect(await criticals(system)).toHaveLength(2);
  });

  test('the sentinel has a patrol done where a duty officer answers', async () => {
    await using system = await begin(['ledger', 'sentinel', 'duty-officer']);
    const { verdict, actions } = await audit(system);
    expect(verdict).toBe('dead');
    expect(actions).toHaveLength(3);
    const ticks = (await system.eventsOf({})).filter(({ type }) => type === 'PATROL_TICK');
    expect(ticks).toMatchObject([{ payload: { source: 'sentinel' } }]);
    // That is no sign of the duty officer's own life.
    expect(await audit(system)).toMatchObject({ verdict: 'dead' });
    ok(await system.call(way, 'duty-officer.patrol'));
    expect(await audit(system)).toMatchObject({ verdict: 'ok' });
    expect(await criticals(system)).toHaveLength(1);
  });
});
