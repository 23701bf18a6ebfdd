import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { waitFor } from '#libs/testing';
import type { System } from './harness.ts';
import { aarOf, commit } from './theaters.ts';
import { type Data, ok } from './wire.ts';

// A unit of a stranger: it does an order by hand and reports it by events, as the contract says.

export async function orderView(system: System, order_id: string): Promise<Data> {
  const at_least = await system.tail();
  return ok(await system.call('http', 'ledger.order', { order_id, at_least }));
}

export async function runView(system: System, run_id: string): Promise<Data> {
  const at_least = await system.tail();
  return ok(await system.call('http', 'ledger.run', { run_id, at_least }));
}

/** Waits until an order stands as wanted. */
export function orderWhen(
  system: System,
  order_id: string,
  wanted: (order: Data) => boolean,
  timeoutMs = 10_000,
): Promise<Data> {
  const look = async (): Promise<Data | undefined> => {
    const order = await orderView(system, order_id);
    return wanted(order) ? order : undefined;
  };
  return waitFor(look, { timeoutMs });
}

/** Waits until a run has ended. */
export function runEnd(system: System, run_id: string, timeoutMs = 15_000): Promise<Data> {
  const look = async (): Promise<Data | undefined> => {
    const run = await runView(system, run_id);
    return run.status === 'OPEN' ? undefined : run;
  };
  return waitFor(look, { timeoutMs });
}

export const isEnqueued = ({ status, enqueued_at }: Data): boolean =>
  status === 'QUEUED' && enqueued_at !== null;
export const isIntegrated = ({ integration }: Data): boolean => integration?.state === 'INTEGRATED';

type Report = { type: string; payload: Data };

async function report(system: System, order: Data, events: Report[]): Promise<void> {
  const { theater_id, run_id, order_id } = order;
  const at = { theater_id, run_id, order_id, unit_id: 'assault_by_hand' };
  const batch = events.map((event) => ({ ...at, ...event }));
  ok(await system.call('http', 'ledger.append-batch', batch));
}

/** Does an enqueued order: each output gets the text, then AAR, commit, events. */
export async function doOrder(system: System, order_id: string, text: string): Promise<void> {
  const order = await orderWhen(system, order_id, isEnqueued);
  const tree = order.worktree.path as string;
  const file = JSON.parse(await readFile(path.join(tree, 'order.json'), 'utf8')) as Data;
  const paths = (file.outputs as Data[]).map((output) => output.path as string);
  const written = Object.fromEntries(paths.map((name) => [name, `${text}\n`]));
  const sha = await commit(tree, { ...written, 'aar.json': aarOf(order_id, paths) });
  const { attempt } = order;
  await report(system, order, [
    { type: 'ORDER_STARTED', payload: { attempt } },
    ...paths.map((name) => ({
      type: 'ARTIFACT_WRITTEN',
      payload: { attempt, path: name, type: 'text/plain' },
    })),
    { type: 'AAR_WRITTEN', payload: { attempt, path: 'aar.json', status: 'completed' } },
    { type: 'ORDER_COMPLETED', payload: { attempt, commit_sha: sha } },
  ]);
}

/** Starts an enqueued order and reports that it failed. */
export async function failOrder(
  system: System,
  order_id: string,
  failure: { message: string; retryable: boolean },
  attempt = 1,
): Promise<void> {
  const isDue = (one: Data): boolean => isEnqueued(one) && one.attempt === attempt;
  const order = await orderWhen(system, order_id, isDue);
  const payload = { attempt, code: 'MODEL_ERROR', stage: 'calling_model', ...failure };
  await report(system, order, [
    { type: 'ORDER_STARTED', payload: { attempt } },
    { type: 'ORDER_FAILED', payload },
  ]);
}
