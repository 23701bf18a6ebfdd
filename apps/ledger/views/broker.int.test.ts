import { applyStreams } from '#libs/broker';
import type { AnyEvent } from '#libs/contracts';
import { openEventLog } from '#libs/eventlog';
import { startTestBroker, testLogger, waitFor } from '#libs/testing';
import { LEDGER } from '#streams';
import { describe, expect, test } from 'vitest';
import { followLedger } from '#libs/runtime';
import { findOrder } from './lists.ts';
import { history } from './testdata/history.ts';
import { testFolder } from './testdata/open.ts';
import { eventIndex, openLedgerViews } from './views.ts';

function facts(count: number): AnyEvent[] {
  return Array.from(history(count), ({ seq: _seq, ...event }) => event as AnyEvent);
}

async function setUp() {
  const folder = await testFolder();
  const server = await startTestBroker({ streams: [LEDGER] });
  const broker = await server.connect();
  const logger = testLogger();
  const open = () =>
    openLedgerViews({ folder: folder.path, logger, probeMs: 50, ...followLedger(broker) });
  let views = await open();
  const log = openEventLog({ broker, garrisonId: 'main', index: eventIndex(views) });
  return {
    server,
    broker,
    log,
    get views() {
      return views;
    },
    async reopen() {
      await views.close();
      views = await open();
    },
    async [Symbol.asyncDispose]() {
      log.close();
      await views.close();
      await server[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}

const soon = { timeoutMs: 10_000 };

describe('the views of a real ledger', () => {
  test('hold what was appended, and an append can be read at once', async () => {
    await using s = await setUp();
    const events = facts(1_500);
    for (let at = 0; at < events.length; at += 500) {
      await s.log.appendBatch(events.slice(at, at + 500).map((event) => ({ event })));
    }
    await s.views.catchUp(soon);
    expect(s.views.at()).toBe(1_500);
    const order = events.at(-1)?.order_id ?? events.at(-2)?.order_id ?? '';
    const { seq } = await s.log.append({
      ...(events[0] as AnyEvent),
      event_id: 'mine',
      type: 'ORDER_FAILED',
      order_id: 'mine',
      payload: { reason: 'why not' },
    });
    await s.views.reflect(seq);
    expect(s.views.read((db) => findOrder(db, 'mine'))).toMatchObject({ status: 'FAILED' });
    expect(s.views.read((db) => findOrder(db, order))).toBeDefined();
  });

  test('go on where they stood after a restart, and after the broker was killed', async () => {
    await using s = await setUp();
    const events = facts(900);
    const append = (from: number, to: number) =>
      s.log.appendBatch(events.slice(from, to).map((event) => ({ event })));
    await append(0, 300);
    await s.views.catchUp(soon);
    await s.reopen();
    expect(s.views.at()).toBe(300);
    await append(300, 600);
    await s.views.waitFor(600, soon);
    await s.server.kill();
    await s.server.restart();
    await waitFor(() => s.broker.isConnected());
    await waitFor(() => append(600, 900), { timeoutMs: 10_000 });
    await s.views.waitFor(900, soon);
    const followed = await s.views.digest();
    await s.views.rebuild();
    expect(await s.views.digest()).toEqual(followed);
  });

  test('list what is no event, and go on', async () => {
    await using s = await setUp();
    await s.broker.nc.request('led.v1.main._._._', 'no JSON');
    const [event] = facts(1);
    await s.log.append(event as AnyEvent);
    await s.views.catchUp(soon);
    expect(s.views.poison(10)).toMatchObject([{ seq: 1, view: '*', bytes: 7 }]);
    expect(s.views.at()).toBe(2);
  });

  test('start over when the stream was made anew', async () => {
    await using s = await setUp();
    await s.log.appendBatch(facts(50).map((event) => ({ event })));
    await s.views.catchUp(soon);
    await s.broker.jsm.streams.delete(LEDGER.name);
    await applyStreams(s.broker.jsm, [LEDGER]);
    await s.log.appendBatch(facts(20).map((event) => ({ event })));
    await waitFor(() => s.views.at() === 20, { timeoutMs: 10_000 });
    const { tables } = await s.views.digest();
    expect(tables.find(({ name }) => name === 'events')?.rows).toBe(20);
  });
});
