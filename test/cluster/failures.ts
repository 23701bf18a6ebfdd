import { setTimeout as sleep } from 'node:timers/promises';
import { consumeDurable, consumeTimers, scheduleTimer } from '#libs/broker';
import type { StoredEvent } from '#libs/contracts';
import { ledgerTail, openEventLog } from '#libs/eventlog';
import { startProxy, testLogger, waitFor } from '#libs/testing';
import { describe, expect, test } from 'vitest';
import {
  answerId,
  longestGapMs,
  type Promises,
  startAnswering,
  startFollower,
  startLoad,
} from './load.ts';
import {
  digestOf,
  fact,
  leaderOf,
  openLog,
  readAll,
  readReplicas,
  settled,
  type Target,
} from './target.ts';

const CUT_MS = 10_000;
/** An election takes 4 to 9 seconds from the last sign of life of a leader that went silent. */
const ELECTION_MS = 15_000;

/** A client learns by missed heartbeats that its consumer's leader has died. */
const CONSUMER_MS = 45_000;

/** Nodes that die, fall silent and are restarted, while events are written. */
export function failureTests(targetOf: () => Target): void {
  describe('failures on three replicas', () => {
    test('the leader dies between write and ack: the retries find their own events', async () => {
      const target = targetOf();
      const direct = await target.cluster.connect();
      const leader = await leaderOf(target, direct, 'LEDGER');
      const kinds = ['any', 0] as const;
      const appending = await Promise.all(
        kinds.map(async (is) => {
          const proxy = await startProxy(leader.url);
          const broker = await target.cluster.connect({ url: proxy.url });
          const log = openEventLog({ broker, garrisonId: 'g' });
          // Whatever it says next: between TLS and us the ack cannot be told from other bytes.
          const swallowed = proxy.swallow('');
          const event = fact(`killed-${is}`, `killed-${is}`);
          const answer = log.append(event, { expect: is, timeoutMs: 30_000 });
          await swallowed;
          await waitFor(async () => (await readAll(direct, `*.*.*.*.*.killed-${is}`)).length === 1);
          return { proxy, answer };
        }),
      );
      await leader.kill();
      for (const { proxy } of appending) await proxy[Symbol.asyncDispose]();
      const answers = await Promise.all(appending.map(({ answer }) => answer));
      await leader.start();
      await settled(await target.cluster.connect());
      for (const [i, is] of kinds.entries()) {
        expect(answers[i]).toMatchObject({ event_id: `killed-${is}`, duplicate: true });
        for (const replica of await readReplicas(target, `*.*.*.*.*.killed-${is}`)) {
          expect(replica.map(({ seq }) => seq)).toEqual([answers[i]!.seq]);
        }
      }
    }, 60_000);

    test('the leader is cut off and healed: nothing acked is missing, writes go on', async () => {
      const target = targetOf();
      const direct = await target.cluster.connect();
      const load = await startLoad(target, 'cut');
      await sleep(1_000);
      const leader = await leaderOf(target, direct, 'LEDGER');
      const others = target.cluster.nodes.filter((node) => node !== leader);
      const from = performance.now();
      await target.cutOff(leader);
      await sleep(CUT_MS);
      await target.heal(leader);
      const until = performance.now();
      await sleep(2_000);
      await load.stop();
      const names = others.map(({ name }) => name);
      expect(longestGapMs(load.promises, names, from, until)).toBeLessThan(ELECTION_MS);
      await checkStored(target, load.promises, 'cut');
    }, 90_000);

    test('a follower is cut off and healed: writes never stop, and it catches up', async () => {
      const target = targetOf();
      const direct = await target.cluster.connect();
      const leader = await leaderOf(target, direct, 'LEDGER');
      const follower = target.cluster.nodes.find((node) => node !== leader)!;
      const load = await startLoad(target, 'behind');
      await sleep(500);
      const from = performance.now();
      await target.cutOff(follower);
      await sleep(3_000);
      const until = performance.now();
      await target.heal(follower);
      await sleep(1_000);
      await load.stop();
      expect(longestGapMs(load.promises, [leader.name], from, until)).toBeLessThan(2_000);
      await checkStored(target, load.promises, 'behind');
    }, 60_000);

    test('a rolling restart under load: writers, followers and reactors go on', async () => {
      const target = targetOf();
      const { nodes, connect } = target.cluster;
      const followers = await Promise.all(
        nodes.map(async ({ url }) => startFollower(await connect({ url }), 'led.v1.>')),
      );
      const logs = await Promise.all(nodes.map(({ url }) => openLog(target, url)));
      const answering = logs.map((log) => startAnswering(log, 'answering', 'rolling'));
      const load = await startLoad(target, 'rolling');
      for (const node of nodes) {
        await sleep(500);
        await node.stop();
        await sleep(500);
        await node.start();
        await settled(await connect({ url: node.url }));
      }
      await load.stop();
      const facts = await checkStored(target, load.promises, 'rolling');
      const answers = await waitFor(
        async () => {
          const stored = await ofOrders(target, 'answers-rolling');
          return stored.length >= facts.length ? stored : undefined;
        },
        { timeoutMs: CONSUMER_MS, intervalMs: 200 },
      );
      expect(answers.map(({ event_id }) => event_id).toSorted()).toEqual(
        facts.map(({ event_id }) => answerId(event_id)).toSorted(),
      );
      await Promise.all(answering.map((reactor) => reactor.stop()));
      const broker = await connect();
      const all = (await readAll(broker, 'led.v1.>')).map((one) => `${one.seq} ${one.event_id}`);
      expect(all).toHaveLength(await ledgerTail(broker));
      for (const follower of followers) {
        await waitFor(() => follower.seen.length >= all.length, { timeoutMs: 15_000 });
        await follower.stop();
        expect(follower.seen).toEqual(all);
      }
    }, 120_000);

    test('timers fire once and a job is handed on, also when their leaders die', async () => {
      const target = targetOf();
      const broker = await target.cluster.connect();
      const holder = await target.cluster.connect();
      const fired: string[] = [];
      const timers = [1, 2, 3].map(() =>
        consumeTimers(broker, {
          durable: 'timers-test',
          kinds: ['test'],
          logger: testLogger(),
          handle: async ({ id }) => void fired.push(id),
        }),
      );
      const ids = Array.from({ length: 20 }, (_, i) => `timer-${i}`);
      const at = new Date(Date.now() + 3_000);
      for (const id of ids) await scheduleTimer(broker, { kind: 'test', id, at, payload: null });

      const taken: string[] = [];
      const jobs = { stream: 'JOBS', durable: 'jobs-test', maxDeliver: 5, logger: testLogger() };
      // The first worker takes the job and goes silent with it.
      const silent = consumeDurable(holder, {
        ...jobs,
        ackWaitMs: 2_000,
        handle: async () => {
          taken.push('silent');
          await holder.nc.close();
        },
      });
      await broker.js.publish('job.v1.t.default', 'work', { msgID: 'job-1' });
      await waitFor(() => taken.length === 1);
      const leader = await leaderOf(target, broker, 'JOBS');
      await leader.kill();
      const next = consumeDurable(broker, {
        ...jobs,
        ackWaitMs: 2_000,
        handle: async (message) => void taken.push(message.string()),
      });
      await expect
        .poll(() => ({ taken, fired: fired.length }), { timeout: CONSUMER_MS })
        .toEqual({ taken: ['silent', 'work'], fired: ids.length });
      await leader.start();
      await settled(broker);
      await sleep(2_500);
      expect(fired.toSorted()).toEqual(ids.toSorted());
      expect(taken).toEqual(['silent', 'work']);
      expect((await broker.jsm.streams.info('JOBS')).state.messages).toBe(0);
      await Promise.all([silent, next, ...timers].map((consuming) => consuming.stop()));
    }, 90_000);
  });
}

/** Every acked event lies once, at its sequence, on each of the three; the three are equal. */
async function checkStored(
  target: Target,
  { acked, wrong }: Promises,
  prefix: string,
): Promise<StoredEvent[]> {
  expect(wrong).toEqual([]);
  expect(acked.size).toBeGreaterThan(100);
  const broker = await target.cluster.connect();
  await settled(broker);
  // Reactors may still be writing: what comes later is on one replica before it is on another.
  const tail = await ledgerTail(broker);
  const replicas = await readLevel(target, tail);
  expect(new Set(replicas.map(digestOf)).size).toBe(1);
  const facts = replicas[0]!.filter(({ order_id }) => order_id?.startsWith(`${prefix}-`));
  const stored = new Map(facts.map(({ event_id, seq }) => [event_id, seq]));
  expect(stored.size, 'no id twice').toBe(facts.length);
  expect([...acked].filter(([id, seq]) => stored.get(id) !== seq)).toEqual([]);
  // A writer goes on with its next event only after an ack: so nothing but what was acked is there.
  expect(stored.size).toBe(acked.size);
  return facts;
}

/** What each replica has up to `tail`, once none of them is still behind it. */
async function readLevel(target: Target, tail: number): Promise<StoredEvent[][]> {
  return waitFor(
    async () => {
      const replicas = await readReplicas(target, 'led.v1.>');
      if (replicas.some((events) => (events.at(-1)?.seq ?? 0) < tail)) return undefined;
      return replicas.map((events) => events.filter(({ seq }) => seq <= tail));
    },
    { timeoutMs: 30_000, intervalMs: 500 },
  );
}

async function ofOrders(target: Target, prefix: string): Promise<StoredEvent[]> {
  const broker = await target.cluster.connect();
  const events = await readAll(broker, 'led.v1.>');
  await broker.close();
  return events.filter(({ order_id }) => order_id?.startsWith(prefix));
}
