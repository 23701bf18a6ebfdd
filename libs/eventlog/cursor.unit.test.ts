import type { Broker } from '#libs/broker';
import type { StoredEvent } from '#libs/contracts';
import fc from 'fast-check';
import { headers, type Msg } from 'nats';
import { describe, expect, test } from 'vitest';
import { decodeEvent } from './codec.ts';
import { type Cursor, parsePosition, startCursor } from './cursor.ts';
import { LEDGER_STREAM } from './subjects.ts';

const number = fc.integer({ min: 0, max: 999_999_999_999_999 });
const name = fc.stringMatching(/^[A-Za-z0-9_-]{1,12}$/);

describe('the position in an ack subject', () => {
  test('is read from both forms', () => {
    fc.assert(
      fc.property(
        fc.tuple(name, name, number, number, number, number, number),
        fc.option(fc.tuple(name, name, fc.option(name))),
        ([stream, consumer, deliveries, seq, consumerSeq, time, pending], newer) => {
          const tokens = [stream, consumer, deliveries, seq, consumerSeq, time, pending];
          const [before, after] = newer === null ? [[], []] : [newer.slice(0, 2), newer.slice(2)];
          const reply = ['$JS', 'ACK', ...before, ...tokens, ...after].filter((t) => t !== null);
          expect(parsePosition(reply.join('.'))).toEqual({ seq, consumerSeq, pending });
        },
      ),
    );
  });

  test.each([
    '',
    '_INBOX.abc.1',
    '$JS.ACK.LEDGER.c.1.2.3.4',
    '$JS.ACK.LEDGER.c.1.x.3.4.5',
    '$JS.ACK.LEDGER.c.1.2..4.5',
    '$JS.ACK.a.LEDGER.c.1.2.3.4.5',
    '$JS.FC.LEDGER.c.1.2.3.4.5',
  ])('is not read from %j', (reply) => {
    expect(parsePosition(reply)).toBeUndefined();
  });

  test('is whole or not there, whatever the text', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        const position = parsePosition(`$JS.ACK.${text}`);
        expect(Object.values(position ?? {}).every(Number.isSafeInteger)).toBe(true);
      }),
    );
  });
});

/** A cursor on a connection that says what the test wants: a real server does not lose on demand. */
function scripted(maxEvents = 10): {
  cursor: Cursor<StoredEvent>;
  pulls: { batch: number }[];
  message(consumerSeq: number, bytes?: number): void;
  status(code: number, text: string, fields?: Record<string, number>): void;
} {
  let deliver: (error: null, msg: Msg) => void = () => undefined;
  const pulls: { batch: number }[] = [];
  const nc = {
    info: { server_id: 's', client_id: 1 },
    isClosed: () => true,
    publish: (_subject: string, request: string) => void pulls.push(JSON.parse(request)),
    subscribe: (_subject: string, options: { callback: typeof deliver }) => {
      deliver = options.callback;
      return { unsubscribe: () => undefined };
    },
  };
  const broker = { nc, isConnected: () => true } as unknown as Broker;
  const { signal } = new AbortController();
  return {
    cursor: startCursor(broker, 'c', {
      stream: LEDGER_STREAM,
      decode: decodeEvent,
      fromSeq: 1,
      maxEvents,
      signal,
    }),
    pulls,
    message: (consumerSeq, bytes = 1) => {
      const reply = `$JS.ACK.LEDGER.c.1.${consumerSeq + 100}.${consumerSeq}.0.0`;
      deliver(null, { reply, subject: 'led.v1.g.t.r.o', data: new Uint8Array(bytes) } as Msg);
    },
    status: (code, text, fields = {}) => {
      const hdrs = headers(code, text);
      for (const [key, value] of Object.entries(fields)) hdrs.set(key, String(value));
      deliver(null, { headers: hdrs, data: new Uint8Array() } as Msg);
    },
  };
}

describe('a cursor', () => {
  test('hands out what came before a gap, and then nothing more', async () => {
    const { cursor, message } = scripted();
    message(1);
    message(2);
    message(4);
    message(5);
    expect(await cursor.take()).toMatchObject({ lastSeq: 102 });
    expect(await cursor.take()).toBeUndefined();
    cursor.close();
  });

  test.each([
    ['a heartbeat that counts more than came', 100, 'Idle Heartbeat', { 'Nats-Last-Consumer': 2 }],
    ['a consumer that is gone', 409, 'Consumer Deleted', {}],
    ['nobody to pull from', 503, 'No Responders', {}],
  ])('loses its place on %s', async (_, code, text, fields) => {
    const { cursor, message, status } = scripted();
    message(1);
    status(100, 'Idle Heartbeat', { 'Nats-Last-Consumer': 1 });
    expect(await cursor.take()).toMatchObject({ lastSeq: 101 });
    status(code, text, fields);
    expect(await cursor.take()).toBeUndefined();
    cursor.close();
  });

  test('asks only for what it has room for', async () => {
    const { cursor, pulls, message, status } = scripted(10);
    for (let i = 1; i <= 10; i += 1) message(i);
    expect(pulls.map(({ batch }) => batch)).toEqual([10]);
    await cursor.take();
    expect(pulls.map(({ batch }) => batch)).toEqual([10, 10]);
    for (let i = 11; i <= 13; i += 1) message(i);
    status(408, 'Request Timeout', { 'Nats-Pending-Messages': 7 });
    expect(pulls.map(({ batch }) => batch)).toEqual([10, 10, 7]);
    cursor.close();
  });

  test('asks for nothing while it holds as many bytes as it may', async () => {
    const { cursor, pulls, message, status } = scripted(10);
    message(1, 16 * 1024 * 1024);
    status(409, 'Message Size Exceeds MaxBytes', { 'Nats-Pending-Messages': 9 });
    expect(pulls).toHaveLength(1);
    await cursor.take();
    expect(pulls.map(({ batch }) => batch)).toEqual([10, 10]);
    cursor.close();
  });
});
