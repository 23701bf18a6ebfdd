import { setTimeout as sleep } from 'node:timers/promises';
import type { Broker } from '#libs/broker';
import type { StoredEvent } from '#libs/contracts';
import { isTerminal, presentWorktree } from '#libs/orders';
import { foldHistory, missingMilestones } from './check/mod.ts';
import { countOf, eventsOf, feedOf, outboxOf, readStream } from './history.ts';
import type { System } from './system.ts';

const POLL_MS = 1_500;

/** What is still under way, for people; empty: nothing. */
type Unsettled = string[];

/** What was seen at the last look, and the last sequence of the ledger that it took in. */
export type Quiet = { unsettled: Unsettled; seq: number };

/**
 * Waits until all runs and orders have ended, their worktrees are gone, the queues are empty, and
 * what is to be told of them is in the feed.
 * Answers what is not, if that takes longer than `limitMs`; the checker says which of it is wrong.
 */
export async function untilQuiet(system: System, limitMs: number): Promise<Quiet> {
  const deadline = performance.now() + limitMs;
  for (;;) {
    const seen = await lookAround(system);
    if (seen.unsettled.length === 0 || performance.now() > deadline) return seen;
    await sleep(POLL_MS);
  }
}

async function lookAround({ broker }: System): Promise<Quiet> {
  const events = eventsOf(await readStream(broker, 'LEDGER'));
  const { runs, orders } = foldHistory(events);
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
  // Asked last, when all else has ended: there is a milestone of every end.
  if (unsettled.length === 0) unsettled.push(...(await untold(broker, events)));
  return { unsettled, seq: events.at(-1)?.seq ?? 0 };
}

/** Milestones that are to come, and deliveries whose outcome is not noted yet. */
async function untold(broker: Broker, events: readonly StoredEvent[]): Promise<Unsettled> {
  const missing = missingMilestones(events, feedOf(await readStream(broker, 'FEEDS')));
  const open = outboxOf(await readStream(broker, 'OUTBOX')).filter(
    ({ channel, state }) => channel === 'milestones' && /^(pending|retrying)$/.test(state),
  );
  return [
    ...missing.map((ref) => `the milestone of ${ref} is not in the feed`),
    ...open.map(({ id, state }) => `the delivery ${id} is ${state}`),
  ];
}

/** The work queues: empty when there is nothing to do. */
export const QUEUES = ['JOBS', 'INTAKE'] as const;
