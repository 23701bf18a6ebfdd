import { existsSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { API } from '#libs/contracts';
import { openEventLog } from '#libs/eventlog';
import { createPauses } from '#libs/runtime';
import { waitFor } from '#libs/testing';
import { createWorktree, type Theater } from '#libs/worktrees';
import { type Commanding, playbook, startCommanding, step } from './commanding.ts';

// Issue B, 8 and 1: pause and resume of a run, a theater and a class; cancel; feedback.

const BOOKS = [
  playbook('one', [step('only')]),
  playbook('two', [step('first'), step('second', { depends_on: ['first'] })]),
];
/** Long enough for what must not happen to happen. */
const QUIET_MS = 400;

let it: Commanding;
beforeAll(async () => {
  it = await startCommanding({ playbooks: BOOKS });
});
afterAll(() => it?.[Symbol.asyncDispose]());

const count = async (run: string, type: string): Promise<number> =>
  (await it.types(run)).filter((one) => one === type).length;
const isIntegrated = (order: Record<string, unknown>): boolean =>
  (order.integration as { state: string } | null)?.state === 'INTEGRATED';

describe('pause and resume', () => {
  test('a paused run finishes what is at work and begins nothing new', async () => {
    const run = await it.run({ playbook: 'two' });
    await it.order(run, 'first', ({ enqueued_at }) => enqueued_at !== null);
    for (let round = 0; round < 2; round += 1) {
      const answer = await it.client.call(API.co.pause, { run_id: run, by: 'ana', reason: 'wait' });
      expect(answer).toEqual({ paused: true });
    }
    await it.work(run, 'first');
    await it.order(run, 'first', isIntegrated);
    await sleep(QUIET_MS);
    expect(await it.order(run, 'second')).toMatchObject({ enqueued_at: null });
    expect(await it.runView(run)).toMatchObject({ status: 'OPEN', paused: true });
    expect(await count(run, 'RUN_PAUSED')).toBe(1);
    await it.client.call(API.co.resume, { run_id: run });
    await it.client.call(API.co.resume, { run_id: run });
    await it.work(run, 'second');
    expect(await it.end(run)).toMatchObject({ status: 'COMPLETE' });
    expect(await count(run, 'RUN_RESUMED')).toBe(1);
    await expect(it.client.call(API.co.pause, { run_id: run })).rejects.toMatchObject({
      code: 'RUN_NOT_OPEN',
    });
  });

  test('a paused theater holds all its runs, and only those; they go on at once', async () => {
    const before = await it.run({ playbook: 'two' });
    const { theater_id } = (await it.runView(before)) as { theater_id: string };
    await it.order(before, 'first', ({ enqueued_at }) => enqueued_at !== null);
    await it.client.call(API.co.pause, { theater_id });
    const held = await Promise.all(
      Array.from({ length: 3 }, () => it.run({ playbook: 'one', theater_hint: theater_id })),
    );
    await it.work(before, 'first');
    await it.order(before, 'first', isIntegrated);
    const other = await it.run({ playbook: 'one' });
    await it.work(other, 'only');
    expect(await it.end(other)).toMatchObject({ status: 'COMPLETE' });
    for (const run of held) expect(await it.types(run)).toEqual(['RUN_CREATED']);
    expect(await it.order(before, 'second')).toMatchObject({ enqueued_at: null });
    await it.client.call(API.co.resume, { theater_id });
    await it.work(before, 'second');
    await Promise.all(held.map((run) => it.work(run, 'only')));
    for (const run of [before, ...held]) {
      expect(await it.end(run)).toMatchObject({ status: 'COMPLETE' });
    }
  });

  test('a worker is told what holds its job: the run, the theater, the class', async () => {
    const log = openEventLog({ broker: it.system.broker, garrisonId: 'test' });
    const pauses = createPauses(log);
    const run = await it.run({ playbook: 'one' });
    const order = await it.order(run, 'only', ({ enqueued_at }) => enqueued_at !== null);
    const theater_id = order.theater_id as string;
    const job = { theater_id, run_id: run, class: 'default' };
    const targets = [
      [{ run_id: run }, `run ${run}`],
      [{ theater_id }, `theater ${theater_id}`],
      [{ class: 'default' }, 'class default'],
      [{ class: 'default', theater_id }, 'class default'],
    ] as const;
    expect(await pauses.heldBy(job)).toBeNull();
    for (const [target, told] of targets) {
      await it.client.call(API.co.pause, target);
      expect(await pauses.heldBy(job)).toBe(told);
      await it.client.call(API.co.resume, target);
      expect(await pauses.heldBy(job)).toBeNull();
    }
    await it.client.call(API.co.pause, { class: 'gpu' });
    expect(await pauses.heldBy(job)).toBeNull();
    expect(await pauses.heldBy({ ...job, class: 'gpu' })).toBe('class gpu');
    await it.client.call(API.co.resume, { class: 'gpu' });
    log.close();
  });

  test.each([
    ['nothing', {}, 'INVALID_REQUEST'],
    ['a run and a theater', { run_id: 'r', theater_id: 't' }, 'INVALID_REQUEST'],
    ['an unknown run', { run_id: 'nobody' }, 'RUN_NOT_FOUND'],
    ['an unknown theater', { theater_id: 'nowhere' }, 'THEATER_NOT_FOUND'],
  ])('pausing %s is refused', async (_name, target, code) => {
    const before = await it.system.tail();
    await expect(it.client.call(API.co.pause, target)).rejects.toMatchObject({ code });
    expect(await it.system.tail()).toBe(before);
  });
});

describe('cancel', () => {
  test('a run with a queued, a running and a waiting order: all end, worktrees are archived', async () => {
    const run = await it.run({ playbook: 'two' });
    const first = await it.order(run, 'first', ({ enqueued_at }) => enqueued_at !== null);
    await it.block(run, 'first', 'as good as at work');
    const other = await it.run({ playbook: 'one' });
    await it.order(other, 'only', ({ enqueued_at }) => enqueued_at !== null);
    const ended = await it.end(run);
    expect(ended.status).toBe('FAILED');
    for (let round = 0; round < 2; round += 1) {
      const answer = await it.client.call(API.gateway.cancelRun, {
        run_id: other,
        reason: 'enough',
      });
      expect(answer).toMatchObject({ status: 'CANCELLED' });
      expect(answer.cancelled_orders).toHaveLength(1);
    }
    expect(await it.runView(other)).toMatchObject({ status: 'CANCELLED', reason: 'enough' });
    const gone = ({ worktree }: Record<string, unknown>) =>
      (worktree as { state: string } | null)?.state === 'REMOVED';
    await it.order(other, 'only', gone);
    await it.order(
      run,
      'first',
      ({ order_id, ...one }) => order_id === first.order_id && gone(one),
    );
    expect(await count(other, 'RUN_CANCELLED')).toBe(1);
    expect(await count(other, 'WORKTREE_ARCHIVED')).toBe(1);
    await expect(it.client.call(API.co.cancelRun, { run_id: run })).rejects.toMatchObject({
      code: 'RUN_NOT_OPEN',
    });
    await expect(it.client.call(API.co.cancelRun, { run_id: 'nobody' })).rejects.toMatchObject({
      code: 'RUN_NOT_FOUND',
    });
  });

  test('a run between two orders, and one that is only planned', async () => {
    const between = await it.run({ playbook: 'two' });
    await it.work(between, 'first');
    await it.order(between, 'first', isIntegrated);
    const cancelled = await it.client.call(API.co.cancelRun, { run_id: between });
    expect(cancelled.cancelled_orders).toHaveLength(1);
    const manual = await it.run({ playbook: 'two', autopilot: false });
    await it.client.call(API.co.plan, { run_id: manual });
    const both = await it.client.call(API.co.cancelRun, { run_id: manual });
    expect(both.cancelled_orders).toHaveLength(2);
    await expect(it.client.call(API.co.dispatch, { run_id: manual })).rejects.toMatchObject({
      code: 'RUN_NOT_OPEN',
    });
  });

  test('a worktree that was made but never told of is removed with its run', async () => {
    const run = await it.run({ playbook: 'two', autopilot: false });
    await it.client.call(API.co.plan, { run_id: run });
    const { theater_id, order_id } = (await it.order(run, 'first')) as Record<string, string>;
    if (theater_id === undefined || order_id === undefined) throw new Error('no order');
    const opened = await it.client.call(API.vault.openTheater, { theater_id });
    const theater: Theater = {
      theaterId: theater_id,
      repoPath: opened.repo_path,
      gitDir: path.join(opened.repo_path, '.git'),
      worktreesPath: opened.worktrees_path,
      archivePath: path.join(path.dirname(opened.worktrees_path), 'archive'),
      mainline: opened.mainline,
    };
    // As a vault leaves it that is killed between the two.
    const { worktreePath } = await createWorktree({ theater, orderId: order_id });
    await it.client.call(API.co.cancelRun, { run_id: run });
    await waitFor(() => !existsSync(worktreePath), { timeoutMs: 10_000 });
    // As one does it that was stopped for a while: the order is cancelled by then.
    const late = it.client.call(API.vault.createWorktree, { theater_id, order_id });
    await expect(late).rejects.toMatchObject({ code: 'ILLEGAL_TRANSITION' });
    expect(existsSync(worktreePath)).toBe(false);
    expect(await count(run, 'WORKTREE_CREATED')).toBe(0);
  });

  test('what was ready to be integrated when its run was cancelled is let be', async () => {
    const run = await it.run({ playbook: 'two', autopilot: false });
    await it.client.call(API.co.plan, { run_id: run });
    const { theater_id, order_id } = await it.order(run, 'first');
    await it.client.call(API.vault.openTheater, { theater_id: theater_id as string });
    const tell = async (type: string): Promise<number> => {
      const place = { theater_id, run_id: run, order_id, unit_id: 'assault_by_hand' };
      const event = { type, ...place, payload: { attempt: 1 } };
      return (await it.client.call(API.ledger.append, event as never)).seq;
    };
    await tell('ORDER_STARTED');
    await tell('ORDER_COMPLETED');
    await it.client.call(API.co.cancelRun, { run_id: run });
    const seq = await tell('INTEGRATION_READY');
    // Acknowledged at once: an event that fails comes again and again before it is set aside.
    await waitFor(
      async () => {
        const { ack_floor } = await it.system.broker.jsm.consumers.info('LEDGER', 'integration');
        return ack_floor.stream_seq >= seq;
      },
      { timeoutMs: 5_000 },
    );
    expect(await count(run, 'INTEGRATION_FAILED')).toBe(0);
  });

  test('twenty at once cancel once', async () => {
    const run = await it.run({ playbook: 'two' });
    const cancel = () => it.client.call(API.co.cancelRun, { run_id: run });
    const answers = await Promise.all(Array.from({ length: 20 }, cancel));
    for (const { status } of answers) expect(status).toBe('CANCELLED');
    expect(await count(run, 'RUN_CANCELLED')).toBe(1);
  });

  test('an order takes its run along; an ended one is refused', async () => {
    const run = await it.run({ playbook: 'two' });
    const first = await it.order(run, 'first');
    const order_id = first.order_id as string;
    for (let round = 0; round < 2; round += 1) {
      const answer = await it.client.call(API.co.cancelOrder, { order_id, reason: 'no need' });
      expect(answer).toEqual({ order_id, status: 'CANCELLED' });
    }
    expect((await it.end(run)).reason).toContain('was cancelled');
    const second = await it.order(run, 'second', ({ status }) => status === 'CANCELLED');
    expect(second.enqueued_at).toBeNull();
    const done = await it.run({ playbook: 'one' });
    await it.work(done, 'only');
    await it.end(done);
    const ended = (await it.order(done, 'only')).order_id as string;
    await expect(it.client.call(API.co.cancelOrder, { order_id: ended })).rejects.toMatchObject({
      code: 'ILLEGAL_TRANSITION',
    });
    await expect(it.client.call(API.co.cancelOrder, { order_id: 'none' })).rejects.toMatchObject({
      code: 'ORDER_NOT_FOUND',
    });
  });
});

test('feedback is told of the run; a correction is an object, not in the event', async () => {
  const run = await it.run({ playbook: 'one' });
  const { order_id } = await it.order(run, 'only');
  const correction = 'It should say 42.';
  const input = { run_id: run, verdict: 'corrected', order_id, correction, note: 'off' } as const;
  const base = it.system.url('gateway');
  const response = await fetch(`${base}/runs/${run}/feedback`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ ...input, run_id: undefined }),
  });
  expect(response.status).toBe(201);
  const { data } = (await response.json()) as { data: { event_id: string } };
  const events = await waitFor(() => it.system.eventsOf({ run_id: run }));
  const told = events.find(({ event_id }) => event_id === data.event_id);
  expect(told).toMatchObject({ type: 'FEEDBACK_RECORDED', order_id: null });
  expect(told?.payload).toMatchObject({ verdict: 'corrected', order_id, note: 'off' });
  expect(JSON.stringify(told)).not.toContain(correction);
  const other = { run_id: run, verdict: 'bad', order_id: 'another' } as const;
  await expect(it.client.call(API.co.feedback, other)).rejects.toMatchObject({
    code: 'ORDER_NOT_FOUND',
  });
});

test('a run that takes longer than its time ends; pauses do not count', async () => {
  const slow = await it.run({ playbook: 'one', settings: { run_seconds: 2 } });
  const paused = await it.run({ playbook: 'two', settings: { run_seconds: 2 } });
  await it.client.call(API.co.pause, { run_id: paused });
  const ended = await it.end(slow);
  expect(ended).toMatchObject({ status: 'FAILED', last_error: { code: 'TIMEOUT' } });
  await sleep(500);
  expect(await it.runView(paused)).toMatchObject({ status: 'OPEN' });
  await it.client.call(API.co.resume, { run_id: paused });
  expect(await it.end(paused)).toMatchObject({ last_error: { code: 'TIMEOUT' } });
});
