import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { type Broker, callBroker } from '#libs/broker';
import { isAppError, targetSettings } from '#libs/contracts';
import {
  createLease,
  createSend,
  emitMilestone,
  type Lease,
  listDeliveries,
  openOutbox,
  type Outbox,
} from '#libs/outbox';
import { startReceiver, testLogger, waitFor } from '#libs/testing';
import { milestone } from '../conformance/feeds-kit.ts';
import { startProcesses } from './processes.ts';
import { leaderOf, settled, type Target } from './target.ts';

// Deliveries and leases on three servers, of which one dies.

const PATIENCE = { timeoutMs: 60_000, intervalMs: 100 };
/** No election, however slow, outlives it. */
const LONG_LEASE_MS = 120_000;

let target: Target;
let broker: Broker;
beforeAll(async () => {
  target = await startProcesses();
  broker = await target.cluster.connect();
}, 60_000);
beforeEach(() => settled(broker, 60_000), 70_000);
afterAll(() => target?.cluster[Symbol.asyncDispose]());

/** Asks until it is answered; no quorum is no answer. */
async function answered<T>(ask: () => Promise<T>): Promise<T> {
  const { answer } = await waitFor(
    async () =>
      ask().then(
        (answer) => ({ answer }),
        (error: unknown) => {
          if (!isAppError(error, 'DEPENDENCY_UNAVAILABLE')) throw error;
          return undefined;
        },
      ),
    PATIENCE,
  );
  return answer;
}

/** One of several outbox processes: all send to one receiver. */
async function openOne(folder: string, name: string, url: string): Promise<Outbox> {
  const own = await target.cluster.connect();
  const now = (): Date => new Date();
  const settings = targetSettings.parse({ url, timeout_ms: 10_000 });
  return openOutbox({
    broker: own,
    folder: join(folder, name),
    destinations: [{ name: 'far', send: createSend(own, settings, () => ({}), now) }],
    policy: { attemptsMax: 1_000, firstMs: 20, maxMs: 200 },
    holder: name,
    leaseMs: LONG_LEASE_MS,
    now,
    random: Math.random,
    logger: testLogger(name),
  });
}

test('the leader of OUTBOX dies: all is delivered, and what was noted is not sent again', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'ironclaw-outbox-'));
  await using receiver = await startReceiver();
  const outboxes = await Promise.all(['a', 'b'].map((name) => openOne(folder, name, receiver.url)));
  try {
    const [first, second] = outboxes as [Outbox, Outbox];
    const events = Array.from({ length: 40 }, (_, n) => milestone({ milestoneId: `m.${n}` }).event);
    const emit = async ({ store }: Outbox, event: unknown): Promise<string> => {
      const targets = ['far'];
      const emitted = await answered(() =>
        emitMilestone(event, { store, targets, now: new Date() }),
      );
      return emitted.idempotency_key;
    };
    const noted = (): string[] =>
      first.projection
        .read((reader) => listDeliveries(reader, { target: 'far', limit: 1_000 }))
        .flatMap(({ state, idempotency_key: key }) =>
          state === 'delivered' || state === 'duplicate' ? [key] : [],
        );
    const timesSent = (key: string): number =>
      receiver.requests().filter((request) => request.key === key).length;
    const keys = [];
    for (const event of events.slice(0, 20)) keys.push(await emit(first, event));
    await waitFor(() => noted().length >= 10, PATIENCE);
    const leader = await leaderOf(target, broker, 'OUTBOX');
    const before = noted().map((key) => ({ key, times: timesSent(key) }));
    await leader.kill();
    try {
      for (const event of events.slice(20)) keys.push(await emit(second, event));
      // The very same are known, whoever emits them.
      for (const event of events.slice(0, 20)) await emit(second, event);
      await waitFor(() => noted().length === events.length, PATIENCE);
    } finally {
      await leader.start();
    }
    expect(noted().toSorted()).toEqual(keys.toSorted());
    expect(receiver.taken().toSorted()).toEqual(keys.toSorted());
    for (const { key, times } of before) expect(timesSent(key), key).toBe(times);
    // An outcome that could not be noted is found out by sending the same bytes again.
    for (const requests of Map.groupBy(receiver.requests(), ({ key }) => key).values()) {
      expect(new Set(requests.map(({ body }) => body)).size).toBe(1);
    }
  } finally {
    await Promise.all(outboxes.map((outbox) => outbox.close()));
    await rm(folder, { recursive: true, force: true });
  }
}, 180_000);

const HOLDERS = 9;
/** Long enough to be looked at; whose grant was stored unheard is followed all the same. */
const SHORT_LEASE_MS = 20_000;

/** Many that want one lease, each over a connection to one of the servers. */
async function wanting(id: string, ttlMs: number): Promise<Lease[]> {
  return Promise.all(
    Array.from({ length: HOLDERS }, async (_, index) =>
      createLease(await target.cluster.connect(), {
        kind: 'test',
        id,
        holder: `holder-${index}`,
        ttlMs,
        clock: () => performance.now(),
      }),
    ),
  );
}

/** The holder of a lease as the stream has it. */
const holderOf = async (id: string): Promise<string | undefined> => {
  const query = { last_by_subj: `lease.v1.test.${id}` };
  return (
    await answered(() => callBroker(broker, () => broker.jsm.streams.getMessage('LEASES', query)))
  )?.string();
};

const holdAll = (leases: readonly Lease[]): Promise<boolean[]> =>
  Promise.all(leases.map((lease) => answered(() => lease.hold())));

test('the leader of LEASES dies: its holder keeps a lease alone, and who died is followed by one', async () => {
  const kept = await wanting('kept', LONG_LEASE_MS);
  const words = await holdAll(kept);
  expect(words.filter(Boolean)).toHaveLength(1);
  // Nobody will renew it.
  const [dead] = await wanting('followed', 1_000);
  expect(await answered(() => (dead as Lease).hold())).toBe(true);
  const followers = await wanting('followed', SHORT_LEASE_MS);
  const leader = await leaderOf(target, broker, 'LEASES');
  await leader.kill();
  try {
    expect(await holdAll(kept)).toEqual(words);
    const after = await waitFor(async () => {
      const round = await holdAll(followers);
      return round.includes(true) ? round : undefined;
    }, PATIENCE);
    expect(after.filter(Boolean)).toHaveLength(1);
    expect(await holdAll(followers)).toEqual(after);
    expect(await holderOf('followed')).toBe(`holder-${after.indexOf(true)}`);
    expect(await holdAll(kept)).toEqual(words);
    expect(await holderOf('kept')).toBe(`holder-${words.indexOf(true)}`);
  } finally {
    await leader.start();
  }
}, 180_000);
