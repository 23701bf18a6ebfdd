import { setTimeout as sleep } from 'node:timers/promises';
import type { Broker } from '#libs/broker';
import { type AnyEvent, isAppError } from '#libs/contracts';
import { type EventLog, followBatches, startReactor } from '#libs/eventlog';
import { testLogger } from '#libs/testing';
import { fact, openLog, type Target } from './target.ts';

/** What the writers were promised, and when. */
export type Promises = {
  /** Sequence of each event that was acked, by its id. */
  acked: Map<string, number>;
  /** Names of the nodes' writers, and the times of their acks (ms, performance.now). */
  ackTimes: Map<string, number[]>;
  /** Errors that no outage explains. */
  wrong: unknown[];
};

export type Load = {
  promises: Promises;
  /** Ends the writers; what they have begun is sent until it is acked. */
  stop(): Promise<void>;
};

const PAUSE_MS = 15;
const RETRY_MS = 100;

/**
 * Two writers at each node, one plain and one that expects a version, each on an aggregate of its
 * own. An event without an answer is sent again, with the same id, until it has one.
 */
export async function startLoad(target: Target, prefix: string): Promise<Load> {
  const stopping = new AbortController();
  const promises: Promises = { acked: new Map(), ackTimes: new Map(), wrong: [] };
  const writers: Promise<void>[] = [];
  for (const node of target.cluster.nodes) {
    const times: number[] = [];
    promises.ackTimes.set(node.name, times);
    for (const expecting of [false, true]) {
      const log = await openLog(target, node.url);
      const order = `${prefix}-${node.name}-${expecting ? 'expecting' : 'plain'}`;
      const writing = write(log, order, expecting, { promises, times, signal: stopping.signal });
      writers.push(writing.catch((error: unknown) => void promises.wrong.push(error)));
    }
  }
  return {
    promises,
    async stop() {
      stopping.abort();
      await Promise.all(writers);
    },
  };
}

type Writing = { promises: Promises; times: number[]; signal: AbortSignal };

async function write(
  log: EventLog,
  order: string,
  expecting: boolean,
  { promises, times, signal }: Writing,
): Promise<void> {
  let version = 0;
  for (let i = 0; !signal.aborted; i += 1) {
    const event = fact(order, `${order}-${i}`);
    const { seq } = await appendUntilKnown(log, event, expecting ? version : 'any');
    promises.acked.set(event.event_id, seq);
    times.push(performance.now());
    version = seq;
    await sleep(PAUSE_MS);
  }
}

/** Asks again while nothing is known; other errors are not for an outage to bring. */
export async function appendUntilKnown(
  log: EventLog,
  event: AnyEvent,
  expect: 'any' | number = 'any',
  limitMs = 60_000,
): Promise<{ seq: number }> {
  const deadline = performance.now() + limitMs;
  for (;;) {
    try {
      return await log.append(event, { expect });
    } catch (error) {
      if (!isAppError(error, 'DEPENDENCY_UNAVAILABLE') || performance.now() > deadline) throw error;
      await sleep(RETRY_MS);
    }
  }
}

/** The longest time between two acks of the writers at these nodes, within a span. */
export function longestGapMs(
  promises: Promises,
  nodes: readonly string[],
  from: number,
  to: number,
): number {
  const times = nodes
    .flatMap((name) => promises.ackTimes.get(name) ?? [])
    .filter((at) => at >= from && at <= to)
    .toSorted((a, b) => a - b);
  const marks = [from, ...times, to];
  return Math.max(...marks.slice(1).map((at, i) => at - (marks[i] as number)));
}

/** Follows the ledger from its beginning; keeps `seq id` of each event in the order they came. */
export function startFollower(broker: Broker, filter: string) {
  const stopping = new AbortController();
  const seen: string[] = [];
  const running = (async () => {
    const options = { fromSeq: 1, subjects: [filter], signal: stopping.signal };
    for await (const { events } of followBatches(broker, options)) {
      seen.push(...events.map(({ seq, event_id }) => `${seq} ${event_id}`));
    }
  })();
  return {
    seen,
    async stop(): Promise<void> {
      stopping.abort();
      await running;
    },
  };
}

/** Answers each fact of `orders` by a signal of its own order, with an id that follows from it. */
export function startAnswering(log: EventLog, name: string, orders: string) {
  return startReactor(log.broker, {
    name,
    types: ['ORDER_BLOCKED'],
    key: (event) => event.order_id ?? '',
    logger: testLogger(name),
    async handle(event) {
      if (event.order_id?.startsWith(`${orders}-`) !== true) return;
      const { seq: _, ...source } = event;
      await log.append({
        ...source,
        event_id: answerId(event.event_id),
        type: 'UNIT_SIGNAL',
        order_id: `answers-${event.order_id}`,
        payload: { message: 'seen' },
      } as AnyEvent);
    },
  });
}

export function answerId(eventId: string): string {
  return `${eventId}-answer`;
}
