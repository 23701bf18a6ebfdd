import { setTimeout as sleep } from 'node:timers/promises';
import { LIMITS, type StoredEvent } from '#libs/contracts';
import { startTestBroker, type TestBroker } from '#libs/testing';
import { LEDGER } from '#streams';
import { describe, expect, test } from 'vitest';
import type { Appended } from './append.ts';
import type { BatchEntry } from './batch.ts';
import { type EventLog, openEventLog } from './eventlog.ts';
import { ledgerTail, readFrom } from './read.ts';
import { fact, facts } from './testdata/events.ts';

async function openLog(server: TestBroker): Promise<EventLog> {
  return openEventLog({ broker: await server.connect(), garrisonId: 'g' });
}

async function readAll(log: EventLog): Promise<StoredEvent[]> {
  const events: StoredEvent[] = [];
  for await (const page of readFrom(log.broker, 'led.v1.>', 1)) events.push(...page);
  return events;
}

const entries = (events: readonly BatchEntry['event'][]): BatchEntry[] =>
  events.map((event) => ({ event }));
/** Ids in the order and at the sequences that an append answered. */
const placed = (results: readonly Appended[]) =>
  results.map(({ seq, event_id }) => [seq, event_id]);
const ledger = { streams: [LEDGER] };

describe('a batch', () => {
  test.each([1, 2, LIMITS.batchEvents])('of %i is stored in order', async (count) => {
    await using server = await startTestBroker(ledger);
    const log = await openLog(server);
    await log.append(fact('before'));
    const stored = await log.appendBatch(entries(facts('b', count)));
    expect(stored.every(({ duplicate }) => !duplicate)).toBe(true);
    const read = (await readAll(log)).slice(1).map(({ seq, event_id }) => [seq, event_id]);
    expect(placed(stored)).toEqual(read);
    expect(read).toHaveLength(count);
  });

  test('has limits in number and bytes, and names what is wrong', async () => {
    await using server = await startTestBroker(ledger);
    const log = await openLog(server);
    const append = (events: readonly BatchEntry['event'][]) => log.appendBatch(entries(events));
    await expect(append(facts('b', LIMITS.batchEvents + 1))).rejects.toMatchObject({
      code: 'PAYLOAD_TOO_LARGE',
      field: 'events',
    });
    const large = facts('b', 80).map((event) => fact(event.event_id, 'x'.repeat(220_000)));
    await expect(append(large)).rejects.toMatchObject({ code: 'PAYLOAD_TOO_LARGE' });
    expect(await append(large.slice(0, 70))).toHaveLength(70);
    await expect(append([fact('c'), fact('d', 'x'.repeat(300_000))])).rejects.toMatchObject({
      code: 'PAYLOAD_TOO_LARGE',
      field: 'events[1].payload',
    });
    await expect(append([fact('c'), fact('d'), fact('c')])).rejects.toMatchObject({
      code: 'INVALID_REQUEST',
      field: 'events[2].event_id',
    });
    await expect(append([])).rejects.toThrow('needs an event');
    expect(await ledgerTail(log.broker)).toBe(70);
  });

  test('is all or nothing: one version that is wrong leaves nothing', async () => {
    await using server = await startTestBroker(ledger);
    const log = await openLog(server);
    await log.append(fact('e1', 'x', { order_id: 'o2' }));
    const batch = [
      { event: fact('b1'), expect: 0 },
      { event: fact('b2') },
      { event: fact('b3', 'x', { order_id: 'o2' }), expect: 7 },
      { event: fact('b4', 'x', { order_id: 'o3' }), expect: 0 },
    ];
    await expect(log.appendBatch(batch)).rejects.toMatchObject({
      code: 'VERSION_CONFLICT',
      field: 'events[2]',
      details: { index: 2, expected: 7, actual: 1 },
    });
    expect(await ledgerTail(log.broker)).toBe(1);
    batch[2]!.expect = 1;
    expect((await log.appendBatch(batch)).map(({ seq }) => seq)).toEqual([2, 3, 4, 5]);
    await expect(
      log.appendBatch([{ event: fact('c1') }, { event: fact('c2'), expect: 3 }]),
    ).rejects.toThrow('only the first event of an aggregate');
  });

  test('holding events that are stored stores the rest, once', async () => {
    await using server = await startTestBroker(ledger);
    const log = await openLog(server);
    const events = facts('b', 10).map((event, i) => ({ ...event, order_id: `o${i % 3}` }));
    await log.append(events[2]!);
    await log.append(events[7]!);
    const stored = await log.appendBatch(entries(events));
    expect(stored.map(({ duplicate }) => duplicate)).toEqual(
      events.map((_, i) => i === 2 || i === 7),
    );
    expect(stored.map(({ seq }) => seq)).toEqual([3, 4, 1, 5, 6, 7, 8, 2, 9, 10]);
    const again = await log.appendBatch(entries(events));
    expect(placed(again)).toEqual(placed(stored));
    expect(again.every(({ duplicate }) => duplicate)).toBe(true);
    expect(await ledgerTail(log.broker)).toBe(10);
  });

  test('holding an id that is stored with other content stores nothing', async () => {
    await using server = await startTestBroker(ledger);
    const log = await openLog(server);
    await log.append(fact('b-3', 'another'));
    await expect(log.appendBatch(entries(facts('b', 5)))).rejects.toMatchObject({
      code: 'EVENT_ID_CONFLICT',
      field: 'events[3].event_id',
      details: { seq: 1 },
    });
    expect(await ledgerTail(log.broker)).toBe(1);
  });

  test('of a decision: done before is ok, in part is a conflict, elsewhere is left out', async () => {
    const streams = [{ ...LEDGER, duplicateWindowMs: 100 }];
    await using server = await startTestBroker({ streams });
    const log = await openLog(server);
    const decision = (id: string, at: number): BatchEntry[] => [
      { event: fact(`${id}-run`, 'x', { order_id: null }) },
      { event: fact(`${id}-a`), expect: at },
      { event: fact(`${id}-b`) },
    ];
    const stored = await log.appendBatch(decision('d1', 0));
    await log.append(fact('later'));
    // Beyond the broker's own memory of ids.
    await sleep(150);
    const again = await log.appendBatch(decision('d1', 0));
    expect(again).toEqual(stored.map((one) => ({ ...one, duplicate: true })));

    await log.append(fact('d2-a'));
    // Refused by id, and later, when the broker has forgotten the id, by version.
    for (const waitMs of [0, 150]) {
      await sleep(waitMs);
      await expect(log.appendBatch(decision('d2', 4))).rejects.toMatchObject({
        code: 'VERSION_CONFLICT',
        details: { index: 1, expected: 4, actual: 5 },
      });
    }
    await log.append(fact('d3-run', 'x', { order_id: null }));
    const third = await log.appendBatch(decision('d3', 5));
    expect(third.map(({ seq, duplicate }) => [seq, duplicate])).toEqual([
      [6, true],
      [7, false],
      [8, false],
    ]);
    await expect(
      log.appendBatch([{ event: fact('d1-a', 'another'), expect: 0 }]),
    ).rejects.toMatchObject({ code: 'EVENT_ID_CONFLICT', field: 'events[0].event_id' });
    expect(await ledgerTail(log.broker)).toBe(8);
  });

  test.each([
    ['any', 'any' as const],
    ['create', 0],
  ])('raced by 10 clients is stored once (%s)', async (_, expected) => {
    await using server = await startTestBroker(ledger);
    const logs = await Promise.all(Array.from({ length: 10 }, () => openLog(server)));
    const batch = facts('b', 50).map((event, i) =>
      i === 0 ? { event, expect: expected } : { event },
    );
    const results = await Promise.all(logs.map((log) => log.appendBatch(batch)));
    const fresh = results.filter((result) => !result[0]!.duplicate);
    expect(fresh).toHaveLength(1);
    for (const result of results) expect(placed(result)).toEqual(placed(fresh[0]!));
    expect(await ledgerTail(logs[0]!.broker)).toBe(50);
  });

  test('beside 60 others and single writers: every sequence that is answered is right', async () => {
    await using server = await startTestBroker(ledger);
    const logs = await Promise.all(Array.from({ length: 6 }, () => openLog(server)));
    const answers = await Promise.all([
      ...Array.from({ length: 60 }, (_, i) =>
        logs[i % 6]!.appendBatch(entries(facts(`b${i}`, 20, { order_id: `o${i % 7}` }))),
      ),
      ...facts('single', 200).map((event, i) => logs[i % 6]!.append(event).then((one) => [one])),
    ]);
    const answered = placed(answers.flat()).toSorted((a, b) => Number(a[0]) - Number(b[0]));
    const read = (await readAll(logs[0]!)).map(({ seq, event_id }) => [seq, event_id]);
    expect(read).toHaveLength(1_400);
    expect(answered).toEqual(read);
  });

  test('does not leave a half behind when the stream has no batches', async () => {
    await using server = await startTestBroker({ streams: [{ ...LEDGER, allowAtomic: false }] });
    const log = await openLog(server);
    await expect(log.appendBatch(entries(facts('b', 3)))).rejects.toMatchObject({
      code: 'DEPENDENCY_UNAVAILABLE',
      details: { outcome: 'not stored' },
    });
    expect(await ledgerTail(log.broker)).toBe(0);
  });
});
