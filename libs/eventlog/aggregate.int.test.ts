import { describe, expect, test } from 'vitest';
import type { AnyEvent } from '#libs/contracts';
import { startTestBroker } from '#libs/testing';
import { LEDGER } from '#streams';
import { createAggregateStore } from './aggregate.ts';
import { openEventLog } from './eventlog.ts';
import { ledgerFilter, ledgerSubject } from './subjects.ts';

const place = { garrison_id: 'local', theater_id: 'demo', run_id: 'run', order_id: null };

function update(id: string): AnyEvent {
  const fields = { event_id: id, ts: '2026-01-14T16:21:00Z', unit_id: null };
  return { ...fields, ...place, type: 'RUN_UPDATED', payload: {} };
}

describe('aggregates', () => {
  test('fold what is new since the last load, for each subject its version', async () => {
    await using server = await startTestBroker({ streams: [LEDGER] });
    const broker = await server.connect();
    const log = openEventLog({ broker, garrisonId: 'local' });
    const store = createAggregateStore<string[]>(broker, [], (ids, events) => [
      ...ids,
      ...events.map(({ event_id }) => event_id),
    ]);
    const filter = ledgerFilter(place);
    expect((await store.load(filter)).seq).toBe(0);
    await log.append(update('a'));
    const first = await store.load(filter, 1);
    expect([first.state, first.seq, first.versionOf(ledgerSubject(place))]).toEqual([['a'], 1, 1]);
    await log.append(update('b'), { expect: first.seq });
    expect((await store.load(filter, 2)).state).toEqual(['a', 'b']);
    log.close();
  });

  test('count foreign bytes in the version, so that conditional appends still fit', async () => {
    await using server = await startTestBroker({ streams: [LEDGER] });
    const broker = await server.connect();
    const log = openEventLog({ broker, garrisonId: 'local' });
    const store = createAggregateStore<number>(broker, 0, (n, events) => n + events.length);
    await log.append(update('a'));
    await broker.js.publish(ledgerSubject(place), 'not an event');
    const loaded = await store.load(ledgerFilter(place));
    expect([loaded.state, loaded.versionOf(ledgerSubject(place))]).toEqual([1, 2]);
    const done = await log.append(update('b'), { expect: loaded.versionOf(ledgerSubject(place)) });
    expect(done.seq).toBe(3);
    log.close();
  });

  test('wait for an event that is known to be there, and say so when it does not come', async () => {
    await using server = await startTestBroker({ streams: [LEDGER] });
    const broker = await server.connect();
    const log = openEventLog({ broker, garrisonId: 'local' });
    const store = createAggregateStore<number>(broker, 0, (n, events) => n + events.length);
    const later = store.load(ledgerFilter(place), 1);
    await log.append(update('a'));
    expect((await later).state).toBe(1);
    await expect(store.load(ledgerFilter(place), 99)).rejects.toMatchObject({
      code: 'VIEW_BEHIND',
    });
    log.close();
  });
});
