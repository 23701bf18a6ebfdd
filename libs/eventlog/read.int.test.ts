import { startTestBroker } from '#libs/testing';
import { LEDGER } from '#streams';
import { describe, expect, test } from 'vitest';
import { openEventLog } from './eventlog.ts';
import { ledgerTail, readBySeq, readFirst, readFrom, readSince } from './read.ts';
import { ledgerFilter } from './subjects.ts';
import { facts } from './testdata/events.ts';

/** 1 300 events: order o0, o1 and o2 in turn, of run r0 (the first 700) or r1. */
async function setUp() {
  const server = await startTestBroker({ streams: [LEDGER] });
  const broker = await server.connect();
  const log = openEventLog({ broker, garrisonId: 'g' });
  const events = facts('e', 1_300).map((event, i) => ({
    ...event,
    run_id: i < 700 ? 'r0' : 'r1',
    order_id: `o${i % 3}`,
  }));
  await log.appendBatch(events.slice(0, 1_000).map((event) => ({ event })));
  await Promise.all(events.slice(1_000).map((event) => log.append(event)));
  return { server, broker, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() };
}

const seqs = async (pages: AsyncIterable<{ seq: number }[]>): Promise<number[]> => {
  const all: number[] = [];
  for await (const page of pages) all.push(...page.map(({ seq }) => seq));
  return all;
};
const range = (from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, i) => from + i);

/** Subscriptions of a connection, which the library's types hide. */
function subscriptionCount(nc: object): number {
  const { protocol } = nc as { protocol: { subscriptions: { subs: Map<number, unknown> } } };
  return protocol.subscriptions.subs.size;
}

describe('reading', () => {
  test('by sequence, run, order and theater, over pages', async () => {
    await using it = await setUp();
    const { broker } = it;
    expect(await seqs(readFrom(broker, ledgerFilter({}), 1))).toEqual(range(1, 1_300));
    expect(await seqs(readFrom(broker, ledgerFilter({}), 1_295))).toEqual(range(1_295, 1_300));
    expect(await seqs(readFrom(broker, ledgerFilter({ run_id: 'r1' }), 0))).toEqual(
      range(701, 1_300),
    );
    const order = await seqs(readFrom(broker, ledgerFilter({ order_id: 'o1', run_id: 'r0' }), 1));
    expect(order).toEqual(range(1, 700).filter((seq) => (seq - 1) % 3 === 1));
    expect(await seqs(readFrom(broker, ledgerFilter({ theater_id: 't' }), 1_300))).toEqual([1_300]);
    expect(await ledgerTail(broker)).toBe(1_300);
  });

  test('where there is nothing gives nothing', async () => {
    await using it = await setUp();
    const { broker } = it;
    expect(await seqs(readFrom(broker, ledgerFilter({}), 1_301))).toEqual([]);
    expect(await seqs(readFrom(broker, ledgerFilter({ theater_id: 'none' }), 1))).toEqual([]);
    expect(await readFirst(broker, ledgerFilter({ run_id: null }))).toBeUndefined();
    expect(await readBySeq(broker, 1_301)).toBeUndefined();
    expect(await readFirst(broker, ledgerFilter({ run_id: 'r1' }))).toMatchObject({ seq: 701 });
  });

  test('by time', async () => {
    await using it = await setUp();
    const { broker } = it;
    const message = await broker.jsm.streams.getMessage('LEDGER', { seq: 1_200 });
    // In whole ms, so some that were stored just before it may be among them.
    const since = await seqs(readSince(broker, ledgerFilter({}), message!.time));
    expect(since).toEqual(range(since[0]!, 1_300));
    expect(since[0]).toBeGreaterThan(1_000);
    expect(since[0]).toBeLessThanOrEqual(1_200);
    expect(await seqs(readSince(broker, ledgerFilter({}), new Date(0)))).toEqual(range(1, 1_300));
    expect(await seqs(readSince(broker, ledgerFilter({}), new Date('2100-01-01')))).toEqual([]);
  });

  test('leaves out what is no event, and no subscription behind', async () => {
    await using it = await setUp();
    const { broker } = it;
    const before = subscriptionCount(broker.nc);
    for (let i = 0; i < 3; i += 1) await broker.nc.request('led.v1.g.t.r2.o', `garbage ${i}`);
    expect(await seqs(readFrom(broker, ledgerFilter({}), 1_299))).toEqual([1_299, 1_300]);
    expect(await readFirst(broker, ledgerFilter({ run_id: 'r2' }))).toBeUndefined();
    for (let i = 0; i < 20; i += 1) await seqs(readFrom(broker, ledgerFilter({}), 1_000));
    expect(subscriptionCount(broker.nc)).toBeLessThanOrEqual(before + 1);
  });

  test('without a broker or stream fails soon', async () => {
    await using empty = await startTestBroker();
    const broker = await empty.connect();
    const unavailable = { code: 'DEPENDENCY_UNAVAILABLE' };
    await expect(seqs(readFrom(broker, ledgerFilter({}), 1))).rejects.toMatchObject(unavailable);
    await expect(readBySeq(broker, 1)).rejects.toMatchObject(unavailable);
    await expect(ledgerTail(broker)).rejects.toMatchObject(unavailable);
    await empty.stop();
    await expect.poll(() => broker.isConnected()).toBe(false);
    const startedAt = performance.now();
    await expect(seqs(readFrom(broker, ledgerFilter({}), 1))).rejects.toMatchObject(unavailable);
    await expect(readBySeq(broker, 1)).rejects.toMatchObject(unavailable);
    expect(performance.now() - startedAt).toBeLessThan(200);
  });
});
