import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { freshIds, startSystem, type System } from './harness.ts';
import { BAD_JSON, badEvents, hugeEvent } from './hostile.ts';
import { callNats, type Data, err, ok, refused, sendHttp, WAYS } from './wire.ts';

let system: System;
beforeAll(async () => {
  system = await startSystem({ roles: ['ledger'] });
});
afterAll(() => system?.[Symbol.asyncDispose]());

const place = (): Data => {
  const { theater: theater_id, run: run_id, order: order_id, unit: unit_id } = freshIds();
  return { theater_id, run_id, order_id, unit_id };
};
const at = place();
const JSON_TYPE = { 'content-type': 'application/json' };

describe.each(WAYS)('hostile bodies over %s', (way) => {
  const send = (name: string, path: string, body: string | Uint8Array) =>
    way === 'http'
      ? sendHttp(system.url('ledger'), 'POST', path, { body, headers: JSON_TYPE })
      : callNats(system.broker.nc, name, body);
  const append = (body: string | Uint8Array) => send('ledger.append', '/events', body);
  const appendBatch = (body: string | Uint8Array) =>
    send('ledger.append-batch', '/events/batch', body);

  /** Refused with 4xx, nothing stored, and the ledger well after it. */
  const expectRefused = async (
    sending: typeof append,
    body: string | Uint8Array,
    code?: string,
  ): Promise<void> => {
    const before = await system.tail();
    refused(await sending(body), code);
    expect(await system.tail()).toBe(before);
  };

  test.each([...BAD_JSON, ...badEvents(at)])('8.9 an event is refused: %s', (_name, body, code) =>
    expectRefused(append, body, code),
  );

  test('8.9 a payload of 5 MB is refused', async () => {
    await expectRefused(append, hugeEvent(at), 'PAYLOAD_TOO_LARGE');
  });

  test.each(BAD_JSON)('8.9 a batch is refused: %s', (_name, body) =>
    expectRefused(appendBatch, body),
  );

  test.each([
    ['no events', '{}'],
    ['null', 'null'],
    ['events that are no list', '{"events":{"length":1}}'],
    ['another field', '{"events":[],"atomic":false}'],
    ['a batch in a batch', '[[]]'],
    ['null as an event', '[null]'],
    ['__proto__ as the list', '{"__proto__":{"events":[]}}'],
  ])('8.9 a batch is refused: %s', (_name, body) =>
    expectRefused(appendBatch, body, 'INVALID_REQUEST'),
  );

  test('8.9 a batch of 1001 events is refused, one of 1000 is stored', async () => {
    const ids = freshIds();
    const many = (count: number): string =>
      JSON.stringify(
        Array.from({ length: count }, (_, index) => ({
          event_id: ids.event(index),
          type: 'UNIT_SIGNAL',
          theater_id: ids.theater,
          order_id: ids.order,
        })),
      );
    await expectRefused(appendBatch, many(1_001), 'PAYLOAD_TOO_LARGE');
    expect(ok(await appendBatch(many(1_000)), 201).events).toHaveLength(1_000);
    expect(await system.eventsOf({ order_id: ids.order })).toHaveLength(1_000);
  });

  test.each(badEvents(at).filter(([, , code]) => code !== 'PAYLOAD_TOO_LARGE'))(
    '8.9 a batch with one such event is refused whole: %s',
    async (_name, body) => {
      const good = JSON.stringify({ type: 'PATROL_TICK' });
      await expectRefused(appendBatch, `[${good},${String(body)},${good}]`);
    },
  );

  test('8.9 hostile texts in the right places are kept to the letter', async () => {
    const ids = place();
    const texts = {
      nul: 'a\0b',
      override: '\u202egnp.exe',
      emoji: '👩‍👩‍👧‍👦🙂',
      bomInside: 'a\ufeffb',
      combining: 'e\u0301 is not é',
      markup: '<script>alert(1)</script>',
      separators: '\u2028\u2029',
      last: '\u{10ffff}',
    };
    const payload = { texts, numbers: [0.1, -1e-7, 2 ** 53 - 1, 1e20 + 0.5 > 0], 'a.b': { '': 1 } };
    const event = { type: 'UNIT_SIGNAL', ...ids, payload };
    ok(await append(JSON.stringify(event)), 201);
    const [stored] = await system.eventsOf({ order_id: ids.order_id });
    expect(stored?.payload).toEqual(payload);
  });

  test('8.9 the last of two equal keys counts, and no prototype is touched', async () => {
    const ids = place();
    const body = JSON.stringify({ type: 'BOGUS', ...ids }).replace(
      /\}$/,
      ',"type":"ORDER_STARTED"}',
    );
    ok(await append(body), 201);
    expect(await system.eventsOf({ order_id: ids.order_id })).toMatchObject([
      { type: 'ORDER_STARTED' },
    ]);
    expect(({} as Data).ok).toBeUndefined();
  });

  test('8.9 after all that the ledger is well', async () => {
    const health = ok(await system.call(way, 'ledger.health'), 200);
    expect(health).toMatchObject({ status: 'ok', broker: 'connected' });
    const { views, poison } = ok(await system.call(way, 'ledger.views'));
    expect(poison).toEqual([]);
    expect(views.every((view: Data) => view.poison === 0)).toBe(true);
    ok(await append(JSON.stringify({ type: 'PATROL_TICK' })), 201);
  });
});

describe('hostile requests over http', () => {
  const good = JSON.stringify({ type: 'PATROL_TICK' });
  const send = (body: string | Uint8Array, headers: Record<string, string>) =>
    sendHttp(system.url('ledger'), 'POST', '/events', { body, headers });

  test.each([
    ['text', { 'content-type': 'text/plain' }],
    ['a form', { 'content-type': 'application/x-www-form-urlencoded' }],
    ['no type', {}],
    ['a type that only begins so', { 'content-type': 'application/jsonx' }],
    ['another charset', { 'content-type': 'application/json; charset=utf-16' }],
    ['latin1', { 'content-type': 'application/json; charset=iso-8859-1' }],
  ] as [string, Record<string, string>][])(
    '8.9 a content type is refused: %s',
    async (_n, headers) => {
      const before = await system.tail();
      err(await send(good, headers), 'UNSUPPORTED_MEDIA_TYPE', 415);
      expect(await system.tail()).toBe(before);
    },
  );

  test('8.9 a gzip body is refused, a bomb as well', async () => {
    const headers = { ...JSON_TYPE, 'content-encoding': 'gzip' };
    err(await send(gzipSync(good), headers), 'UNSUPPORTED_MEDIA_TYPE', 415);
    err(await send(gzipSync(' '.repeat(50_000_000)), headers), 'UNSUPPORTED_MEDIA_TYPE', 415);
    refused(await send(gzipSync(good), JSON_TYPE), 'INVALID_JSON');
  });

  test('8.9 no body is refused', async () => {
    refused(await send('', JSON_TYPE), 'INVALID_REQUEST');
  });

  test('8.9 usual spellings of the type are understood', async () => {
    ok(await send(good, { 'content-type': 'application/json; charset=UTF-8' }), 201);
    ok(await send(good, { 'content-type': 'Application/JSON' }), 201);
  });

  test('8.9 the query of an append is refused', async () => {
    const path = '/events?type=PATROL_TICK';
    refused(await sendHttp(system.url('ledger'), 'POST', path, { body: good, headers: JSON_TYPE }));
  });
});
