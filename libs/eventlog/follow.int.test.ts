import { setTimeout as sleep } from 'node:timers/promises';
import type { Broker } from '#libs/broker';
import { startProxy, startTestBroker, type TestBroker, waitFor } from '#libs/testing';
import { LEDGER } from '#streams';
import { describe, expect, test } from 'vitest';
import type { EventBatch } from './cursor.ts';
import { type EventLog, openEventLog } from './eventlog.ts';
import { type FollowOptions, followBatches } from './follow.ts';
import { ledgerFilter } from './subjects.ts';
import { fact, facts } from './testdata/events.ts';

const ledger = { streams: [LEDGER] };

async function openLog(server: TestBroker): Promise<EventLog> {
  return openEventLog({ broker: await server.connect(), garrisonId: 'g' });
}

/** Follows until it is disposed of, and keeps the sequences in the order they came. */
function follow(
  broker: Broker,
  options: Partial<FollowOptions> = {},
  onBatch: (batch: EventBatch) => Promise<void> | void = () => undefined,
) {
  const stop = new AbortController();
  const seqs: number[] = [];
  const running = (async () => {
    const following = followBatches(broker, { fromSeq: 1, ...options, signal: stop.signal });
    for await (const batch of following) {
      seqs.push(...batch.events.map(({ seq }) => seq), ...batch.poison.map(({ seq }) => seq));
      await onBatch(batch);
    }
  })();
  return {
    seqs,
    async [Symbol.asyncDispose]() {
      stop.abort();
      await running;
    },
  };
}

const range = (from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, i) => from + i);

/** Appends `count` events in batches; an answer that is lost is asked for again. */
async function fill(log: EventLog, prefix: string, count: number, size = 500): Promise<void> {
  for (let at = 0; at < count; at += size) {
    const entries = facts(`${prefix}-${at}`, size).map((event) => ({ event }));
    await waitFor(() => log.appendBatch(entries).catch(() => false), { timeoutMs: 15_000 });
  }
}

async function consumerCount(broker: Broker): Promise<number> {
  return (await broker.jsm.streams.info(LEDGER.name)).state.consumer_count;
}

describe('following', () => {
  test('50 000 events while they are written: in order, without gaps', async () => {
    await using server = await startTestBroker(ledger);
    const logs = await Promise.all([openLog(server), openLog(server)]);
    await fill(logs[0]!, 'before', 10_000, 1_000);
    await using following = follow(await server.connect());
    await Promise.all(logs.map((log, i) => fill(log, `w${i}`, 20_000, 1_000)));
    await waitFor(() => following.seqs.length >= 50_000, { timeoutMs: 20_000 });
    expect(following.seqs).toEqual(range(1, 50_000));
  });

  test('single events come at once', async () => {
    await using server = await startTestBroker(ledger);
    const log = await openLog(server);
    await using following = follow(await server.connect());
    await log.append(fact('first'));
    await waitFor(() => following.seqs.length === 1);
    for (let i = 2; i <= 20; i += 1) {
      await log.append(fact(`e${i}`));
      await waitFor(() => following.seqs.length === i, { timeoutMs: 500, intervalMs: 1 });
    }
    expect(following.seqs).toEqual(range(1, 20));
  });

  test('from a sequence, of some subjects', async () => {
    await using server = await startTestBroker(ledger);
    const log = await openLog(server);
    for (const [i, event] of facts('e', 30).entries()) {
      await log.append({ ...event, order_id: `o${i % 3}` });
    }
    const subjects = ['o1', 'o2'].map((order_id) => ledgerFilter({ order_id }));
    await using following = follow(await server.connect(), { fromSeq: 11, subjects });
    const wanted = range(11, 30).filter((seq) => (seq - 1) % 3 !== 0);
    await waitFor(() => following.seqs.length >= wanted.length);
    expect(following.seqs).toEqual(wanted);
  });

  test.each(['stop', 'kill'] as const)(
    'goes on after the broker’s %s',
    async (how) => {
      await using server = await startTestBroker(ledger);
      const log = await openLog(server);
      await using following = follow(await server.connect());
      const writing = fill(log, 'e', 6_000, 100);
      await waitFor(() => following.seqs.length > 1_000);
      await server[how]();
      await server.restart();
      await writing;
      await waitFor(() => following.seqs.length >= 6_000, { timeoutMs: 15_000 });
      expect(following.seqs).toEqual(range(1, 6_000));
    },
    60_000,
  );

  test('goes on after its connection broke, again and again', async () => {
    await using server = await startTestBroker(ledger);
    const log = await openLog(server);
    await using proxy = await startProxy(server.url);
    await using following = follow(await server.connect({ url: proxy.url }), { maxEvents: 50 });
    let at = 0;
    for (let round = 1; round <= 4; round += 1) {
      const writing = fill(log, `r${round}`, 1_000, 100);
      await waitFor(() => following.seqs.length > at);
      proxy.cut();
      await writing;
      at = 1_000 * round;
      await waitFor(() => following.seqs.length >= at, { timeoutMs: 4_000 });
    }
    expect(following.seqs).toEqual(range(1, 4_000));
  }, 60_000);

  test('goes on after its consumer was deleted', async () => {
    await using server = await startTestBroker(ledger);
    const log = await openLog(server);
    await using following = follow(await server.connect());
    await log.append(fact('e1'));
    await waitFor(() => following.seqs.length === 1);
    for await (const { name } of log.broker.jsm.consumers.list(LEDGER.name)) {
      await log.broker.jsm.consumers.delete(LEDGER.name, name);
    }
    await log.append(fact('e2'));
    await waitFor(() => following.seqs.length === 2);
    expect(following.seqs).toEqual([1, 2]);
  });

  test('waits for a stream that is not there yet', async () => {
    await using server = await startTestBroker();
    await using following = follow(await server.connect());
    await sleep(300);
    const log = await openLog(server);
    await log.broker.jsm.streams.add({ name: LEDGER.name, subjects: [...LEDGER.subjects] });
    await log.append(fact('e1'));
    await waitFor(() => following.seqs.length === 1);
    expect(following.seqs).toEqual([1]);
  });

  test('large events come through, however small the bytes of one pull', async () => {
    await using server = await startTestBroker(ledger);
    const log = await openLog(server);
    const large = 'x'.repeat(200 * 1024);
    for (let at = 0; at < 300; at += 60) {
      const entries = facts(`e${at}`, 60).map(({ event_id }) => ({ event: fact(event_id, large) }));
      await log.appendBatch(entries);
    }
    const startedAt = performance.now();
    await using following = follow(await server.connect());
    await waitFor(() => following.seqs.length >= 300, { timeoutMs: 15_000 });
    expect(following.seqs).toEqual(range(1, 300));
    // Not by way of the watchdog.
    expect(performance.now() - startedAt).toBeLessThan(8_000);
  });

  test('a slow taker holds no more than it may, in number and in bytes', async () => {
    await using server = await startTestBroker(ledger);
    const log = await openLog(server);
    await fill(log, 'e', 3_000, 1_000);
    const large = 'x'.repeat(200 * 1024);
    for (let at = 0; at < 480; at += 60) {
      const entries = facts(`l${at}`, 60).map(({ event_id }) => ({ event: fact(event_id, large) }));
      await log.appendBatch(entries);
    }
    const sizes: number[] = [];
    const bytes: number[] = [];
    await using following = follow(await server.connect(), { maxEvents: 400 }, async (batch) => {
      sizes.push(batch.events.length);
      bytes.push(batch.raw.reduce((sum, raw) => sum + raw.length, 0));
      await sleep(100);
    });
    await waitFor(() => following.seqs.length >= 3_480, { timeoutMs: 20_000 });
    expect(following.seqs).toEqual(range(1, 3_480));
    expect(Math.max(...sizes)).toBeLessThanOrEqual(400);
    expect(Math.max(...bytes)).toBeLessThanOrEqual(48 * 1024 * 1024);
  });

  test('what is no event is reported and passed', async () => {
    await using server = await startTestBroker(ledger);
    const log = await openLog(server);
    await log.append(fact('e1'));
    const garbage = ['not JSON', '', '{"type":{"toString":1}}', JSON.stringify(fact('e2'))];
    for (const text of garbage) await log.broker.nc.request('led.v1.g.t.r.other', text);
    await log.append(fact('e3'));
    const batches: EventBatch[] = [];
    await using following = follow(await server.connect(), {}, (batch) => void batches.push(batch));
    await waitFor(() => following.seqs.length >= 6);
    expect(batches.flatMap(({ events }) => events.map(({ seq }) => seq))).toEqual([1, 6]);
    const poison = batches.flatMap((batch) => batch.poison);
    expect(poison.map(({ seq }) => seq)).toEqual([2, 3, 4, 5]);
    expect(poison[0]).toEqual({
      seq: 2,
      subject: 'led.v1.g.t.r.other',
      reason: expect.stringContaining('not JSON'),
      bytes: 8,
    });
    const last = batches.at(-1);
    expect(last).toMatchObject({ lastSeq: 6, pending: 0 });
  });

  test('ends soon when it is aborted, and leaves no consumer', async () => {
    await using server = await startTestBroker(ledger);
    const log = await openLog(server);
    const broker = await server.connect();
    {
      await using following = follow(broker);
      await log.append(fact('e1'));
      await waitFor(() => following.seqs.length === 1);
      expect(await consumerCount(broker)).toBe(1);
    }
    await waitFor(async () => (await consumerCount(broker)) === 0);
    const aborted = followBatches(broker, { fromSeq: 1, signal: AbortSignal.abort() });
    expect(await aborted.next()).toEqual({ done: true, value: undefined });
    const idle = new AbortController();
    const next = followBatches(broker, { fromSeq: 2, signal: idle.signal }).next();
    await sleep(50);
    const startedAt = performance.now();
    idle.abort();
    expect(await next).toEqual({ done: true, value: undefined });
    expect(performance.now() - startedAt).toBeLessThan(100);
  });

  test('ends when the connection is closed', async () => {
    await using server = await startTestBroker(ledger);
    const broker = await server.connect();
    const never = new AbortController();
    const next = followBatches(broker, { fromSeq: 1, signal: never.signal }).next();
    await sleep(50);
    await broker.close();
    expect(await next).toEqual({ done: true, value: undefined });
  });
});
