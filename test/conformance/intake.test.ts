import { afterAll, beforeAll, expect, test } from 'vitest';
import { waitFor } from '#libs/testing';
import { freshIds, startSystem, type System } from './harness.ts';
import { BAD_JSON, badEvents, type Hostile } from './hostile.ts';
import { type Data, err, ok } from './wire.ts';

// The third way in: events that any NATS client publishes to intake.v1.events. There is no answer
// but the broker's; each message ends in the ledger or, with the reason, in DEAD.

let system: System;
beforeAll(async () => {
  system = await startSystem({ roles: ['ledger'] });
});
afterAll(() => system?.[Symbol.asyncDispose]());

/** Publishes one message; gives its sequence on the queue. */
async function publish(message: unknown): Promise<number> {
  const isBytes = typeof message === 'string' || message instanceof Uint8Array;
  const payload = isBytes ? message : JSON.stringify(message);
  return (await system.broker.js.publish('intake.v1.events', payload)).seq;
}

/** Waits until the queue is empty: every message was stored or set aside. */
async function settled(): Promise<void> {
  await waitFor(async () => (await system.broker.jsm.streams.info('INTAKE')).state.messages === 0, {
    timeoutMs: 15_000,
  });
}

/** What was set aside, by the sequence it had on the queue. */
async function deadLetters(from = 1): Promise<Map<number, Data>> {
  const { last_seq } = (await system.broker.jsm.streams.info('DEAD')).state;
  const found = new Map<number, Data>();
  for (let seq = from; seq <= last_seq; seq += 1) {
    const message = await system.broker.jsm.streams.getMessage('DEAD', { seq });
    const letter = message?.json<Data>();
    if (letter !== undefined) found.set(letter.source.seq, letter);
  }
  return found;
}

const base = () => {
  const ids = freshIds();
  const { theater: theater_id, run: run_id, order: order_id, unit: unit_id } = ids;
  return { ids, at: { garrison_id: 'test', theater_id, run_id, order_id, unit_id } };
};
const order = async (order_id: string): Promise<Data> =>
  ok(await system.call('nats', 'ledger.order', { order_id, at_least: await system.tail() }));

test('8.2 queued: the example of the contract is stored', async () => {
  const { ids, at } = base();
  await publish({ type: 'ORDER_STARTED', ...at, payload: { attempt: 1 } });
  await settled();
  const [event] = await system.eventsOf({ order_id: ids.order });
  expect(event?.event_id).toMatch(/^[A-Za-z0-9_-]+$/);
  expect(event?.ts).toMatch(/Z$/);
  expect(await order(ids.order)).toMatchObject({
    status: 'RUNNING',
    attempt: 1,
    unit_id: ids.unit,
  });
});

test('8.3 queued: the same event_id twice is stored once', async () => {
  const { ids, at } = base();
  const event = { event_id: ids.event(1), type: 'ORDER_STARTED', ...at, payload: { attempt: 1 } };
  const seqs = [await publish(event), await publish(event), await publish([event])];
  await settled();
  expect(await system.eventsOf({ order_id: ids.order })).toHaveLength(1);
  const dead = await deadLetters();
  expect(seqs.filter((seq) => dead.has(seq))).toEqual([]);
});

test('8.4 queued: an event_id with another content is set aside', async () => {
  const { ids, at } = base();
  const event = { event_id: ids.event(1), type: 'ORDER_STARTED', ...at, payload: { attempt: 1 } };
  await publish(event);
  await settled();
  const seq = await publish({ ...event, type: 'ORDER_COMPLETED' });
  await settled();
  expect((await deadLetters()).get(seq)).toMatchObject({ code: 'EVENT_ID_CONFLICT' });
  expect(await order(ids.order)).toMatchObject({ status: 'RUNNING' });
});

const report = () => {
  const { ids, at } = base();
  const events = [
    { type: 'ORDER_STARTED', payload: { attempt: 1 } },
    { type: 'ARTIFACT_WRITTEN', payload: { path: 'outputs/a.txt', type: 'text/plain' } },
    { type: 'AAR_WRITTEN', payload: { path: 'aar.json' } },
    { type: 'ORDER_COMPLETED', payload: {} },
  ].map((event, index) => ({ event_id: ids.event(index), ...at, ...event }));
  return { ids, events };
};

test('8.5 8.6 queued: a batch, bare or in an object, is stored whole and once', async () => {
  const { ids, events } = report();
  await publish(events);
  await settled();
  const view = await order(ids.order);
  expect(view).toMatchObject({ status: 'COMPLETED', aar: { path: 'aar.json' } });
  expect(view.artifacts).toEqual([{ path: 'outputs/a.txt', type: 'text/plain' }]);
  await publish({ events });
  await settled();
  expect(await system.eventsOf({ order_id: ids.order })).toHaveLength(4);
  expect({ ...(await order(ids.order)), as_of: 0 }).toEqual({ ...view, as_of: 0 });
});

test('8.7 queued: a batch with one bad event is set aside whole, naming it', async () => {
  const { ids, events } = report();
  const { type: _type, ...bad } = events[1] as Data;
  const seq = await publish([events[0], bad, events[2]]);
  await settled();
  const letter = (await deadLetters()).get(seq);
  expect(letter).toMatchObject({ channel: 'intake', code: 'INVALID_REQUEST' });
  expect(letter?.reason).toContain('events[1]');
  err(await system.call('nats', 'ledger.order', { order_id: ids.order }), 'ORDER_NOT_FOUND', 404);
});

test('8.8 queued: an empty batch is nothing to do', async () => {
  const before = await system.tail();
  const seqs = [await publish([]), await publish({ events: [] })];
  await settled();
  expect(await system.tail()).toBe(before);
  const dead = await deadLetters();
  expect(seqs.filter((seq) => dead.has(seq))).toEqual([]);
});

test('8.9 queued: whatever is no event is set aside with the reason and its bytes', async () => {
  const { ids, at } = base();
  // An array is a batch here, and an empty one nothing to do.
  const isBatch = ([name]: Hostile): boolean => name.startsWith('an array');
  const cases = [...BAD_JSON, ...badEvents(at)].filter((one) => !isBatch(one));
  const before = await system.tail();
  const sent: [number, Hostile][] = [];
  for (const one of cases) sent.push([await publish(one[1]), one]);
  await settled();
  expect(await system.tail()).toBe(before);
  const dead = await deadLetters();
  for (const [seq, [name, body, code]] of sent) {
    const letter = dead.get(seq);
    expect(letter, name).toMatchObject({
      channel: 'intake',
      code: code ?? expect.stringMatching(/^(INVALID_|PAYLOAD_TOO_LARGE|UNKNOWN_)/),
      source: { stream: 'INTAKE', seq, subject: 'intake.v1.events' },
    });
    expect(letter?.reason, name).not.toBe('');
    if (typeof body === 'string' && body.isWellFormed() && body.length < 200_000) {
      expect(letter?.payload, name).toBe(body.replace(/^\ufeff/, ''));
    }
  }
  err(await system.call('nats', 'ledger.order', { order_id: ids.order }), 'ORDER_NOT_FOUND', 404);
});

test('8.9 queued: a message of 5 MB is refused by the broker itself', async () => {
  const { at } = base();
  const text = 'x'.repeat(5_000_000);
  const huge = { type: 'ORDER_STARTED', ...at, payload: { text } };
  await expect(publish(huge)).rejects.toThrow(/exceeds|maximum/i);
});

test('8.9 queued: after all that the ledger is well', async () => {
  const { ids, at } = base();
  await publish({ type: 'ORDER_STARTED', ...at });
  await settled();
  expect(await order(ids.order)).toMatchObject({ status: 'RUNNING' });
  ok(await system.call('http', 'ledger.health'), 200);
});
