import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { waitFor } from '#libs/testing';
import { freshIds, startSystem, type System } from './harness.ts';
import { BAD_IDS } from './hostile.ts';
import * as units from './unit.ts';
import { type Data, err, ok, refused, WAYS } from './wire.ts';

// No worker runs here: orders are done by hand, so that their time is the test's to choose.

let system: System;
beforeAll(async () => {
  system = await startSystem({ roles: ['ledger', 'vault', 'observer', 'integration', 'co'] });
});
afterAll(() => system?.[Symbol.asyncDispose]());

const orderView = (order_id: string) => units.orderView(system, order_id);
const runView = (run_id: string) => units.runView(system, run_id);
const doOrder = (order_id: string, text: string) => units.doOrder(system, order_id, text);
/** Waits for the job of an attempt: an order done by hand before it is there has none. */
const jobComes = (order_id: string, attempt = 1): Promise<Data> =>
  waitFor(async () => (await jobsOf(order_id)).find((job) => job.attempt === attempt));
const typesOf = async (run_id: string): Promise<string[]> =>
  (await system.eventsOf({ run_id })).map(({ type }) => type as string);
const countOf = async (run_id: string, type: string): Promise<number> =>
  (await typesOf(run_id)).filter((one) => one === type).length;

/** Jobs on the queue for an order. */
async function jobsOf(order_id: string): Promise<Data[]> {
  const { first_seq, last_seq } = (await system.broker.jsm.streams.info('JOBS')).state;
  const jobs: Data[] = [];
  for (let seq = Math.max(1, first_seq); seq <= last_seq; seq += 1) {
    const job = (await system.broker.jsm.streams.getMessage('JOBS', { seq }))?.json<Data>();
    if (job?.order_id === order_id) jobs.push(job);
  }
  return jobs;
}

describe.each(WAYS)('commanding officer over %s', (way) => {
  const call = (name: string, input: unknown) => system.call(way, `co.${name}`, input);
  const createRun = async (more: Data = {}): Promise<string> => {
    const { theater } = freshIds();
    const input = { user_id: 'u_123', theater_hint: theater, objective: 'Build me a summary' };
    return ok(await call('create-run', { ...input, ...more }), 201).run_id;
  };
  const plan = async (run_id: string): Promise<Data> => ok(await call('plan', { run_id }));
  const planned = async (more: Data = {}): Promise<{ run_id: string; order_ids: string[] }> => {
    const run_id = await createRun(more);
    return { run_id, order_ids: (await plan(run_id)).order_ids };
  };
  const THREE = { playbook: 'research-draft-verify' };

  test('8.32 a run is created and open, told once', async () => {
    const { theater } = freshIds();
    const input = { user_id: 'u_123', theater_hint: theater, objective: 'Build me a summary' };
    const data = ok(await call('create-run', input), 201);
    expect(data).toMatchObject({ status: 'OPEN', theater_id: theater });
    const events = await system.eventsOf({ run_id: data.run_id });
    expect(events.map(({ type }) => type)).toEqual(['RUN_CREATED']);
    expect(events[0]?.payload).toMatchObject({ user_id: 'u_123', objective: input.objective });
    expect(await runView(data.run_id)).toMatchObject({
      status: 'OPEN',
      objective: input.objective,
    });
  });

  test.each<[string, Data, string]>([
    ['no objective', { objective: undefined }, 'INVALID_REQUEST'],
    ['an empty objective', { objective: '' }, 'INVALID_REQUEST'],
    ['a blank objective', { objective: ' \t\n\u00a0\u2003' }, 'INVALID_REQUEST'],
    ['an objective that is a list', { objective: ['x'] }, 'INVALID_REQUEST'],
    ['an objective of 5 000 characters', { objective: 'x'.repeat(5_000) }, 'INVALID_REQUEST'],
    ['an unknown playbook', { playbook: 'nope' }, 'UNKNOWN_PLAYBOOK'],
    ['a playbook that is a path', { playbook: '../../etc/passwd' }, 'UNKNOWN_PLAYBOOK'],
    ['a playbook of Object', { playbook: 'constructor' }, 'UNKNOWN_PLAYBOOK'],
    ['a field that is not known', { status: 'COMPLETE' }, 'INVALID_REQUEST'],
    [
      'an input outside',
      { inputs: [{ name: '../x', sha256: 'a'.repeat(64), bytes: 1 }] },
      'INVALID_REQUEST',
    ],
    ...BAD_IDS.map(([name, theater_hint]): [string, Data, string] => [
      `a theater: ${name}`,
      { theater_hint },
      'INVALID_REQUEST',
    ]),
  ])('8.32 a run is refused: %s', async (_name, change, code) => {
    const before = await system.tail();
    const input = { theater_hint: freshIds().theater, objective: 'Build me a summary' };
    refused(await call('create-run', { ...input, ...change }), code);
    expect(await system.tail()).toBe(before);
  });

  test.each([
    ['one order', {}, 1],
    ['three orders', THREE, 3],
  ])('8.33 a plan of %s: queued, depending on known ones without a circle', async (_n, more, n) => {
    const run_id = await createRun(more);
    const data = await plan(run_id);
    const order_ids = data.order_ids as string[];
    const dependencies = data.dependencies as Record<string, string[]>;
    expect(order_ids).toHaveLength(n);
    expect(new Set(order_ids).size).toBe(n);
    expect(Object.keys(dependencies).toSorted()).toEqual(order_ids.toSorted());
    const done = new Set<string>();
    for (const _round of order_ids) {
      for (const id of order_ids) if (dependencies[id]?.every((one) => done.has(one))) done.add(id);
    }
    expect(done.size, 'all can be done in some order').toBe(n);
    expect(await countOf(run_id, 'ORDER_CREATED')).toBe(n);
    for (const id of order_ids) {
      const order = await orderView(id);
      expect(order).toMatchObject({ status: 'QUEUED', run_id, depends_on: dependencies[id] });
    }
    const before = await system.tail();
    expect(await plan(run_id)).toEqual(data);
    expect(await system.tail()).toBe(before);
  });

  test('8.33 ten plans at once are one', async () => {
    const run_id = await createRun(THREE);
    const answers = await Promise.all(Array.from({ length: 10 }, () => plan(run_id)));
    for (const answer of answers) expect(answer).toEqual(answers[0]);
    expect(await countOf(run_id, 'ORDER_CREATED')).toBe(3);
    expect(await countOf(run_id, 'RUN_PLANNED')).toBe(1);
  });

  test('8.33 8.34 8.35 an unknown run is 404', async () => {
    const { run: run_id } = freshIds();
    for (const name of ['plan', 'dispatch', 'synthesize']) {
      err(await call(name, { run_id }), 'RUN_NOT_FOUND', 404);
    }
  });

  test('8.34 dispatch before the plan is refused', async () => {
    const run_id = await createRun();
    err(await call('dispatch', { run_id }), 'PLAN_MISSING', 409);
    expect(await typesOf(run_id)).toEqual(['RUN_CREATED']);
  });

  test('8.34 orders are enqueued as their dependencies are met, each once', async () => {
    const { run_id, order_ids } = await planned(THREE);
    const [first = '', second = '', third = ''] = order_ids;
    const data = ok(await call('dispatch', { run_id }), 202);
    expect(data.enqueued).toEqual([first]);
    expect(new Set(data.waiting)).toEqual(new Set([second, third]));
    await units.orderWhen(system, first, units.isEnqueued);
    ok(await call('dispatch', { run_id }));
    ok(await call('dispatch', { run_id }));
    for (const id of [second, third]) expect((await orderView(id)).enqueued_at).toBeNull();

    await jobComes(first);
    await doOrder(first, 'findings');
    await units.orderWhen(system, second, units.isEnqueued);
    expect((await orderView(third)).enqueued_at).toBeNull();
    await jobComes(second);
    await doOrder(second, 'draft');
    await units.orderWhen(system, third, units.isEnqueued);
    const job = await jobComes(third);
    expect(await countOf(run_id, 'ORDER_ENQUEUED')).toBe(3);
    for (const id of order_ids) expect(await jobsOf(id)).toHaveLength(1);
    expect(job).toMatchObject({ job_type: 'EXECUTE_ORDER', run_id, attempt: 1 });
    expect(job.worktree_path).toBe((await orderView(third)).worktree.path);
    expect(job.constraints).toMatchObject({ budget_seconds: 90, max_retries: 1 });
  });

  test('8.34 ten dispatches at once enqueue once', async () => {
    const { run_id, order_ids } = await planned();
    const [id = ''] = order_ids;
    await Promise.all(Array.from({ length: 10 }, () => call('dispatch', { run_id })));
    await jobComes(id);
    await doOrder(id, 'done');
    await units.orderWhen(system, id, units.isIntegrated);
    expect(await countOf(run_id, 'ORDER_ENQUEUED')).toBe(1);
    expect(await countOf(run_id, 'RUN_DISPATCHED')).toBe(1);
    expect(await jobsOf(id)).toHaveLength(1);
  });

  test('8.35 the reply comes from the artifacts, and the run ends once', async () => {
    const { run_id, order_ids } = await planned(THREE);
    ok(await call('dispatch', { run_id }));
    for (const [index, id] of order_ids.entries()) {
      err(await call('synthesize', { run_id }), 'RUN_PENDING', 409);
      expect(await runView(run_id)).toMatchObject({ status: 'OPEN' });
      await doOrder(id, `the text of step ${index}: α β 🙂`);
      await units.orderWhen(system, id, units.isIntegrated);
    }
    const data = ok(await call('synthesize', { run_id }), 200);
    expect(data).toMatchObject({ run_id, status: 'COMPLETE' });
    expect(data.reply).toBe('the text of step 2: α β 🙂');
    expect(ok(await call('synthesize', { run_id }))).toEqual(data);
    expect(await countOf(run_id, 'RUN_COMPLETED')).toBe(1);
    expect(await runView(run_id)).toMatchObject({ status: 'COMPLETE', order_ids });
    const raw = JSON.stringify(await system.eventsOf({ run_id }));
    expect(raw, 'the reply stays out of events').not.toContain('the text of step');
  });

  test('8.35 twenty at once end the run once, with one reply', async () => {
    const { run_id, order_ids } = await planned();
    ok(await call('dispatch', { run_id }));
    await doOrder(order_ids[0] ?? '', 'the one reply');
    await units.orderWhen(system, order_ids[0] ?? '', units.isIntegrated);
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => call('synthesize', { run_id })),
    );
    for (const answer of answers) {
      expect(ok(answer)).toMatchObject({ status: 'COMPLETE', reply: 'the one reply' });
    }
    expect(await countOf(run_id, 'RUN_COMPLETED')).toBe(1);
  });

  test('8.35 before the orders were let go, synthesize is refused and the run stays open', async () => {
    const run_id = await createRun();
    err(await call('synthesize', { run_id }), 'PLAN_MISSING', 409);
    await plan(run_id);
    err(await call('synthesize', { run_id }), 'RUN_PENDING', 409);
    expect(await runView(run_id)).toMatchObject({ status: 'OPEN' });
  });

  test('8.35 an order that failed for good fails the run, with a reply that says why', async () => {
    const { run_id, order_ids } = await planned(THREE);
    const [first = '', second = ''] = order_ids;
    ok(await call('dispatch', { run_id }));
    const message = 'the model refuses this for good';
    await units.failOrder(system, first, { message, retryable: false });
    const run = await units.runEnd(system, run_id);
    expect(run.status).toBe('FAILED');
    await units.orderWhen(system, second, ({ status }) => status === 'CANCELLED');
    const data = ok(await call('synthesize', { run_id }));
    expect(data.status).toBe('FAILED');
    expect(data.reply).toContain(message);
    expect(await countOf(run_id, 'RUN_FAILED')).toBe(1);
    expect(await countOf(run_id, 'RUN_COMPLETED')).toBe(0);
    expect(await countOf(run_id, 'ORDER_REISSUED')).toBe(0);
    const late = ok(await call('dispatch', { run_id }));
    expect(late).toMatchObject({ enqueued: [], waiting: [] });
    expect(await countOf(run_id, 'ORDER_ENQUEUED')).toBe(1);
  });

  test('8.35 a failure that may pass is tried again once, then the run fails', async () => {
    const { run_id, order_ids } = await planned();
    const [id = ''] = order_ids;
    ok(await call('dispatch', { run_id }));
    await jobComes(id);
    await units.failOrder(system, id, { message: 'busy', retryable: true }, 1);
    await jobComes(id, 2);
    await units.failOrder(system, id, { message: 'busy again', retryable: true }, 2);
    const run = await units.runEnd(system, run_id);
    expect(run.status).toBe('FAILED');
    expect(await orderView(id)).toMatchObject({ status: 'FAILED', attempt: 2 });
    expect(await countOf(run_id, 'ORDER_REISSUED')).toBe(1);
    expect(await countOf(run_id, 'ORDER_ENQUEUED')).toBe(2);
    expect((await jobsOf(id)).map(({ attempt }) => attempt)).toEqual([1, 2]);
  });
});
