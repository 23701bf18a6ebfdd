import { setTimeout as sleep } from 'node:timers/promises';
import { type AnyEvent, AppError, type ParsedEvent, type StoredEvent } from '#libs/contracts';
import { startTestBroker, type TestBroker } from '#libs/testing';
import { LEDGER } from '#streams';
import { describe, expect, test } from 'vitest';
import { type EventIndex, openEventLog } from './eventlog.ts';
import { followBatches } from './follow.ts';
import { ledgerTail } from './read.ts';
import { fact, facts } from './testdata/events.ts';

const WINDOW_MS = 200;
const streams = [{ ...LEDGER, duplicateWindowMs: WINDOW_MS }];

/** An index in memory, fed by following the ledger; `held` stops it. */
async function startIndex(server: TestBroker) {
  const broker = await server.connect();
  const stop = new AbortController();
  const byId = new Map<string, StoredEvent>();
  let at = 0;
  let held = false;
  const feed = (async () => {
    for await (const batch of followBatches(broker, { fromSeq: 1, signal: stop.signal })) {
      while (held && !stop.signal.aborted) await sleep(5);
      for (const event of batch.events) byId.set(event.event_id, event);
      at = batch.lastSeq;
    }
  })();
  const index: EventIndex = {
    findById: (id) => byId.get(id),
    behindMs: () => Number.POSITIVE_INFINITY,
    catchUp: async () => {
      const wanted = await ledgerTail(broker);
      for (let waitedMs = 0; at < wanted; waitedMs += 5) {
        if (waitedMs > 300) throw new AppError('VIEW_BEHIND', { at, wanted });
        await sleep(5);
      }
    },
  };
  return {
    index,
    hold: (on: boolean) => {
      held = on;
    },
    async [Symbol.asyncDispose]() {
      stop.abort();
      await feed;
    },
  };
}

const given = (event: AnyEvent): ParsedEvent => ({ event, idGiven: true, tsGiven: true });

describe('beyond the broker’s memory of ids', () => {
  test('an id is known through the index, alone and in batches', async () => {
    await using server = await startTestBroker({ streams });
    await using indexing = await startIndex(server);
    const broker = await server.connect();
    const log = openEventLog({ broker, garrisonId: 'g', index: indexing.index });
    const events = facts('e', 20);
    await log.recordBatch(events.map(given));
    await sleep(WINDOW_MS * 1.5);

    expect(await log.record(given(events[4]!))).toMatchObject({ seq: 5, duplicate: true });
    await expect(log.record(given(fact('e-4', 'another')))).rejects.toMatchObject({
      code: 'EVENT_ID_CONFLICT',
      details: { seq: 5 },
    });
    const mixed = await log.recordBatch(
      [fact('n-0'), events[7]!, fact('n-1'), events[3]!].map(given),
    );
    expect(mixed.map(({ seq, duplicate }) => [seq, duplicate])).toEqual([
      [21, false],
      [8, true],
      [22, false],
      [4, true],
    ]);
    await expect(
      log.recordBatch([fact('n-2'), fact('n-3'), fact('e-4', 'another')].map(given)),
    ).rejects.toMatchObject({ code: 'EVENT_ID_CONFLICT', field: 'events[2].event_id' });
    expect(await ledgerTail(broker)).toBe(22);
  });

  test('without the index it would be stored again: the test can fail', async () => {
    await using server = await startTestBroker({ streams });
    const log = openEventLog({ broker: await server.connect(), garrisonId: 'g' });
    await log.record(given(fact('e1')));
    await sleep(WINDOW_MS * 1.5);
    expect(await log.record(given(fact('e1')))).toMatchObject({ seq: 2, duplicate: false });
  });

  test('an index that is behind is waited for, and told if it does not come', async () => {
    await using server = await startTestBroker({ streams });
    await using indexing = await startIndex(server);
    const broker = await server.connect();
    const log = openEventLog({ broker, garrisonId: 'g', index: indexing.index });
    indexing.hold(true);
    await openEventLog({ broker, garrisonId: 'g' }).append(fact('e1'));
    await sleep(WINDOW_MS * 1.5);
    await expect(log.record(given(fact('e1')))).rejects.toMatchObject({ code: 'VIEW_BEHIND' });
    await expect(log.recordBatch([given(fact('e1'))])).rejects.toMatchObject({
      code: 'VIEW_BEHIND',
    });
    const recording = log.record(given(fact('e1')));
    await sleep(50);
    indexing.hold(false);
    expect(await recording).toMatchObject({ seq: 1, duplicate: true });
  });

  test('an index that is near enough is not waited for; ids of our own are not looked up', async () => {
    await using server = await startTestBroker({ streams: [LEDGER] });
    const broker = await server.connect();
    const unused = (): never => {
      throw new Error('not to be called');
    };
    const near: EventIndex = { findById: () => undefined, behindMs: () => 59_000, catchUp: unused };
    const log = openEventLog({ broker, garrisonId: 'g', index: near });
    expect(await log.record(given(fact('e1')))).toMatchObject({ seq: 1, duplicate: false });
    expect(await log.record(given(fact('e1')))).toMatchObject({ seq: 1, duplicate: true });
    const none: EventIndex = { findById: unused, behindMs: unused, catchUp: unused };
    const own = openEventLog({ broker, garrisonId: 'g', index: none });
    const made = { event: fact('made'), idGiven: false, tsGiven: false };
    expect(await own.record(made)).toMatchObject({ seq: 2 });
    expect(await own.recordBatch([{ ...made, event: fact('made2') }])).toMatchObject([{ seq: 3 }]);
  });
});
