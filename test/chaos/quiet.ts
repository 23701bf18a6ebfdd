import { setTimeout as sleep } from 'node:timers/promises';
import { isTerminal, presentWorktree } from '#libs/orders';
import { foldHistory } from './check/mod.ts';
import { countOf, eventsOf, readStream } from './history.ts';
import type { System } from './system.ts';

const POLL_MS = 1_500;

/** What is still under way, for people; empty: nothing. */
export type Unsettled = string[];

/**
 * Waits until all runs and orders have ended, their worktrees are gone and the queues are empty.
 * Answers what is not, if that takes longer than `limitMs`; the checker says which of it is wrong.
 */
export async function untilQuiet(system: System, limitMs: number): Promise<Unsettled> {
  const deadline = performance.now() + limitMs;
  for (;;) {
    const unsettled = await lookAround(system);
    if (unsettled.length === 0 || performance.now() > deadline) return unsettled;
    await sleep(POLL_MS);
  }
}

async function lookAround({ broker }: System): Promise<Unsettled> {
  const { runs, orders } = foldHistory(eventsOf(await readStream(broker, 'LEDGER')));
  const unsettled: Unsettled = [];
  for (const stream of QUEUES) {
    const count = await countOf(broker, stream);
    if (count > 0) unsettled.push(`${stream} holds ${count} messages`);
  }
  for (const [id, { status }] of runs) if (status === 'OPEN') unsettled.push(`run ${id} is OPEN`);
  for (const [id, order] of orders) {
    if (!isTerminal(order.status)) unsettled.push(`order ${id} is ${order.status}`);
    else if (presentWorktree(order) !== null) unsettled.push(`order ${id} has a worktree`);
  }
  return unsettled;
}

/** The work queues: empty when there is nothing to do. */
export const QUEUES = ['JOBS', 'INTAKE'] as const;
