import { isAppError } from '#libs/contracts';
import { startTestBroker, type TestBroker } from '#libs/testing';
import { LEDGER } from '#streams';
import { describe, expect, test } from 'vitest';
import type { AppendOptions } from './append.ts';
import { type EventLog, openEventLog } from './eventlog.ts';
import { ledgerTail, readBySeq } from './read.ts';
import { fact, facts } from './testdata/events.ts';
import { type Outcome, startAppender } from './testdata/appending.ts';

async function openLog(server: TestBroker): Promise<EventLog> {
  return openEventLog({ broker: await server.connect(), garrisonId: 'g' });
}

/** The result, or the code of the error. */
async function outcome(run: Promise<Outcome>): Promise<Outcome> {
  return run.catch((error: unknown) => {
    if (isAppError(error)) return { code: error.code };
    throw error;
  });
}

const ledger = { streams: [LEDGER] };

describe('append', () => {
  test('stores what is read back, and knows it again', async () => {
    await using server = await startTestBroker(ledger);
    const log = await openLog(server);
    const event = fact('e1');
    expect(await log.append(event)).toEqual({
      event_id: 'e1',
      ts: event.ts,
      seq: 1,
      duplicate: false,
    });
    expect(await readBySeq(log.broker, 1)).toEqual({ ...event, seq: 1 });
    expect(await log.append(event)).toMatchObject({ seq: 1, duplicate: true });
    await expect(log.append(fact('e1', 'another'))).rejects.toMatchObject({
      code: 'EVENT_ID_CONFLICT',
      field: 'event_id',
      details: { seq: 1 },
    });
    expect(await ledgerTail(log.broker)).toBe(1);
  });

  test('takes an event for the same without a ts that we made ourselves', async () => {
    await using server = await startTestBroker(ledger);
    const log = await openLog(server);
    await log.append(fact('e1'), { tsGiven: false });
    const later = fact('e1', 'a fact', { ts: '2026-01-14T16:21:09Z' });
    expect(await log.append(later, { tsGiven: false })).toMatchObject({
      duplicate: true,
      ts: '2026-01-14T16:21:00Z',
    });
    expect((await outcome(log.append(later))).code).toBe('EVENT_ID_CONFLICT');
  });

  test('50 clients, one id: stored once, all ok', async () => {
    await using server = await startTestBroker(ledger);
    const event = fact('e1');
    const processes = await Promise.all([1, 2].map(() => startAppender(server.url, 5, event)));
    const logs = await Promise.all(Array.from({ length: 40 }, () => openLog(server)));
    for (const process of processes) process.go();
    const outcomes = (
      await Promise.all([
        ...logs.map((log) => outcome(log.append(event)).then((one) => [one])),
        ...processes.map((process) => process.outcomes()),
      ])
    ).flat();
    expect(outcomes).toHaveLength(50);
    expect(outcomes.filter(({ duplicate }) => duplicate === false)).toHaveLength(1);
    expect(outcomes.filter(({ duplicate }) => duplicate === true)).toHaveLength(49);
    expect(new Set(outcomes.map(({ seq }) => seq))).toEqual(new Set([1]));
    expect(await ledgerTail(logs[0]!.broker)).toBe(1);
  });

  test('50 clients, one id, 5 contents: the group of the first is ok, the others are told', async () => {
    await using server = await startTestBroker(ledger);
    const logs = await Promise.all(Array.from({ length: 50 }, () => openLog(server)));
    const outcomes = await Promise.all(
      logs.map((log, i) => outcome(log.append(fact('e1', `content ${i % 5}`)))),
    );
    const winner = outcomes.findIndex(({ duplicate }) => duplicate === false) % 5;
    const told = outcomes.map(({ seq, code }) => code ?? seq);
    expect(told).toEqual(
      outcomes.map((_outcome, i) => (i % 5 === winner ? 1 : 'EVENT_ID_CONFLICT')),
    );
    expect(await ledgerTail(logs[0]!.broker)).toBe(1);
  });

  test.each([
    ['create', 0],
    ['a version', 1],
  ])('20 writers, one expectation (%s): exactly one wins', async (_, version) => {
    await using server = await startTestBroker(ledger);
    const logs = await Promise.all(Array.from({ length: 20 }, () => openLog(server)));
    if (version > 0) await logs[0]!.append(fact('e0'));
    const results = await Promise.allSettled(
      logs.map((log, i) => log.append(fact(`w-${i}`, `by ${i}`), { expect: version })),
    );
    const winners = results.flatMap((result, i) => (result.status === 'fulfilled' ? [i] : []));
    expect(winners).toHaveLength(1);
    const stored = await readBySeq(logs[0]!.broker, version + 1);
    expect(stored).toMatchObject({ payload: { reason: `by ${winners[0]}` } });
    for (const result of results) {
      if (result.status === 'fulfilled') continue;
      expect(result.reason).toMatchObject({
        code: 'VERSION_CONFLICT',
        details: { expected: version, actual: version + 1 },
      });
    }
    expect(await ledgerTail(logs[0]!.broker)).toBe(version + 1);
  });

  test('a version is one of its aggregate, and may be ahead of it', async () => {
    await using server = await startTestBroker(ledger);
    const log = await openLog(server);
    await log.append(fact('e1'));
    await log.append(fact('e2', 'elsewhere', { order_id: 'o2' }));
    await expect(log.append(fact('e3'), { expect: 2 })).rejects.toMatchObject({
      code: 'VERSION_CONFLICT',
      details: { expected: 2, actual: 1 },
    });
    await expect(
      log.append(fact('e3', 'x', { order_id: 'o3' }), { expect: 7 }),
    ).rejects.toMatchObject({ code: 'VERSION_CONFLICT', details: { expected: 7, actual: 0 } });
    expect((await log.append(fact('e3'), { expect: 1 })).seq).toBe(3);
  });

  test('its own event is no conflict, however long ago and whoever wrote after it', async () => {
    const streams = [{ ...LEDGER, duplicateWindowMs: 100 }];
    await using server = await startTestBroker({ streams });
    const log = await openLog(server);
    const own = fact('own');
    await log.append(own, { expect: 0 });
    // More than a page of the aggregate's later events.
    for (const event of facts('later', 600)) void log.append(event);
    await log.append(fact('last'));
    await new Promise((resolve) => setTimeout(resolve, 150));
    expect(await log.append(own, { expect: 0 })).toMatchObject({ seq: 1, duplicate: true });
    await expect(log.append(fact('own', 'other'), { expect: 0 })).rejects.toMatchObject({
      code: 'EVENT_ID_CONFLICT',
    });
    await expect(log.append(fact('new'), { expect: 0 })).rejects.toMatchObject({
      code: 'VERSION_CONFLICT',
      details: { expected: 0, actual: 602 },
    });
    expect(await ledgerTail(log.broker)).toBe(602);
  });

  test('refuses what cannot be stored, at once and without a trace', async () => {
    await using server = await startTestBroker({ ...ledger, maxPayloadBytes: 64 * 1024 });
    const log = await openLog(server);
    const big = (bytes: number) => fact('big', 'x'.repeat(bytes));
    const startedAt = performance.now();
    const refused: [number, AppendOptions][] = [
      [70_000, {}],
      [70_000, { expect: 0 }],
      [300_000, {}],
    ];
    for (const [bytes, options] of refused) {
      expect((await outcome(log.append(big(bytes), options))).code).toBe('PAYLOAD_TOO_LARGE');
    }
    expect(performance.now() - startedAt).toBeLessThan(500);
    await expect(log.append(fact('not an id'))).rejects.toThrow('not an id');
    await expect(log.append(fact('e1\r\nNats-Rollup: all'))).rejects.toThrow('not an id');
    await expect(log.append(fact('e1'), { expect: -1 })).rejects.toThrow('not a version');
    expect(await ledgerTail(log.broker)).toBe(0);
  });

  test('a missing stream is told within the time-out', async () => {
    await using server = await startTestBroker();
    const log = await openLog(server);
    await expect(log.append(fact('e1'), { timeoutMs: 3_000 })).rejects.toMatchObject({
      code: 'DEPENDENCY_UNAVAILABLE',
      details: { outcome: 'not stored' },
    });
  });

  test('a closed log stores nothing more', async () => {
    await using server = await startTestBroker(ledger);
    const log = await openLog(server);
    log.close();
    await expect(log.append(fact('e1'))).rejects.toMatchObject({
      code: 'DEPENDENCY_UNAVAILABLE',
      details: { outcome: 'not stored' },
    });
  });
});
