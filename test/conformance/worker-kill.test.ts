import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { type ModelServer, startModelServer, waitFor } from '#libs/testing';
import { freshIds, git, startSystem, type System } from './harness.ts';
import * as theaters from './theaters.ts';
import type { OpenWorktree } from './theaters.ts';
import * as units from './unit.ts';
import { type Data, ok } from './wire.ts';

// The worker as a process of its own: what it logs (check 30), and its death by SIGKILL (check 31).

const KEY = 'io-v2-conformance-KEY-0123456789abcdef';
const LEASE_MS = 1_000;
let model: ModelServer;
let system: System;
beforeAll(async () => {
  model = await startModelServer();
  system = await startSystem({
    roles: ['ledger', 'vault', 'observer', 'integration', 'co'],
    separateProcesses: ['worker'],
    env: {
      IO_INTELLIGENCE_BASE_URL: model.url,
      IO_INTELLIGENCE_API_KEY: KEY,
      IRONCLAW_JOB_LEASE_MS: String(LEASE_MS),
      TEST_LOG_LEVEL: 'trace',
    },
  });
});
afterEach(() => model.setMode({ kind: 'ok' }));
afterAll(async () => {
  await system?.[Symbol.asyncDispose]();
  await model?.[Symbol.asyncDispose]();
});

/** Submits a job for an order that no plan created; its worktree is prepared. */
async function submit(more: Data = {}): Promise<OpenWorktree> {
  const tree = await theaters.openWorktree(system, await theaters.openTheater(system));
  const { order_id, theater_id } = tree;
  const order = theaters.orderOf(tree, more);
  ok(await system.call('http', 'vault.prepare-worktree', { order_id, order }));
  const job = { order_id, theater_id, run_id: 'run_123', worktree_path: tree.tree };
  ok(await system.call('http', 'worker.submit-job', job), 202);
  return tree;
}

const typesOf = (order_id: string) => theaters.typesOf(system, order_id);
const isEnded = ({ status }: Data): boolean => /COMPLETED|FAILED/.test(status as string);

async function killWhenAsked(order_id: string, calls: number): Promise<void> {
  await waitFor(() => model.calls() > calls, { timeoutMs: 10_000 });
  expect(await units.orderView(system, order_id)).toMatchObject({ status: 'RUNNING' });
  await system.process('worker').kill();
}

test('8.30 the key is in no line of the log, however much is logged', async () => {
  const modes = [
    { kind: 'ok', text: `your key is ${KEY}` },
    { kind: 'status', status: 500, message: `bad key ${KEY}` },
    { kind: 'malformed' },
  ] as const;
  for (const mode of modes) {
    model.setMode(mode);
    const { order_id } = await submit({ constraints: { budget_seconds: 1, max_retries: 0 } });
    await units.orderWhen(system, order_id, isEnded);
  }
  const log = system.process('worker').output();
  expect(log.split('\n').length, 'there is a log').toBeGreaterThan(3);
  expect(log).not.toContain(KEY.slice(6, 30));
});

test('8.31 a worker killed at work: the job comes again, the order is completed once', async () => {
  const calls = model.calls();
  model.setMode({ kind: 'script', modes: [{ kind: 'hang' }, { kind: 'ok' }] });
  const { order_id, tree } = await submit();
  await killWhenAsked(order_id, calls);
  await system.process('worker').restart();
  const order = await units.orderWhen(system, order_id, isEnded, 15_000);
  expect(order).toMatchObject({ status: 'COMPLETED', attempt: 2, anomalies: 0 });
  const types = await typesOf(order_id);
  expect(types.filter((type) => type === 'ORDER_COMPLETED')).toHaveLength(1);
  expect(types.filter((type) => type === 'ORDER_REISSUED')).toHaveLength(1);
  expect(types).not.toContain('ORDER_FAILED');
  expect(model.calls() - calls).toBe(2);
  expect(await git(tree, 'status', '--porcelain')).toBe('');
  expect(await git(tree, 'rev-parse', 'HEAD')).toBe(order.commit_sha);
});

test('8.31 without a retry left the order of a killed worker fails, once', async () => {
  const calls = model.calls();
  model.setMode({ kind: 'hang' });
  const { order_id } = await submit({ constraints: { budget_seconds: 30, max_retries: 0 } });
  await killWhenAsked(order_id, calls);
  await system.process('worker').restart();
  const order = await units.orderWhen(system, order_id, isEnded, 15_000);
  expect(order).toMatchObject({ status: 'FAILED', attempt: 1 });
  expect(order.last_error.message).toMatch(/\S/);
  expect((await typesOf(order_id)).filter((type) => type === 'ORDER_FAILED')).toHaveLength(1);
  expect(model.calls() - calls).toBe(1);
});

test('8.31 a run whose worker is killed is completed by the next, its order once', async () => {
  const calls = model.calls();
  model.setMode({ kind: 'script', modes: [{ kind: 'hang' }, { kind: 'ok' }] });
  const { theater: theater_hint } = freshIds();
  const input = { theater_hint, objective: 'Say hello', autopilot: true };
  const { run_id } = ok(await system.call('http', 'co.create-run', input), 201);
  await waitFor(() => model.calls() > calls, { timeoutMs: 10_000 });
  await system.process('worker').kill();
  await system.process('worker').restart();
  const run = await units.runEnd(system, run_id, 20_000);
  expect(run.status).toBe('COMPLETE');
  const [order_id = ''] = run.order_ids as string[];
  const order = await units.orderView(system, order_id);
  expect(order).toMatchObject({ status: 'COMPLETED', attempt: 2 });
  const types = (await system.eventsOf({ run_id })).map(({ type }) => type as string);
  expect(types.filter((type) => type === 'ORDER_COMPLETED')).toHaveLength(1);
  expect(types.filter((type) => type === 'INTEGRATED')).toHaveLength(1);
  expect(types.filter((type) => type === 'RUN_COMPLETED')).toHaveLength(1);
});
