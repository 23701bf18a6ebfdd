import { startProxy, startTestBroker } from '#libs/testing';
import { LEDGER } from '#streams';
import { describe, expect, test } from 'vitest';
import { openEventLog } from './eventlog.ts';
import { ledgerTail, readBySeq } from './read.ts';
import { startAppender } from './testdata/appending.ts';
import { fact, facts } from './testdata/events.ts';

const ACK = '"stream":"LEDGER"';

/** A server with a ledger, a proxy before it, and a log that goes through the proxy. */
async function setUp() {
  const server = await startTestBroker({ streams: [LEDGER] });
  const proxy = await startProxy(server.url);
  const broker = await server.connect({ url: proxy.url });
  const log = openEventLog({ broker, garrisonId: 'g' });
  const direct = await server.connect();
  return {
    server,
    proxy,
    log,
    direct,
    async [Symbol.asyncDispose]() {
      await proxy[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}

describe('an ack that never came', () => {
  test.each([
    ['plain', {}],
    ['expecting a version', { expect: 0 }],
  ])('%s: the connection breaks; the retry finds its own event', async (_, options) => {
    await using it = await setUp();
    const swallowed = it.proxy.swallow(ACK);
    const startedAt = performance.now();
    const appending = it.log.append(fact('e1'), options);
    await swallowed;
    expect(await ledgerTail(it.direct)).toBe(1);
    it.proxy.cut();
    expect(await appending).toMatchObject({ event_id: 'e1', seq: 1, duplicate: true });
    // Sent again as soon as the connection is back, not when the first try times out.
    expect(performance.now() - startedAt).toBeLessThan(1_900);
    expect(await ledgerTail(it.direct)).toBe(1);
  });

  test.each([
    ['plain', {}],
    ['expecting a version', { expect: 0 }],
  ])('%s: the broker is killed; the retry finds its own event', async (_, options) => {
    await using it = await setUp();
    const swallowed = it.proxy.swallow(ACK);
    const appending = it.log.append(fact('e1'), options);
    await swallowed;
    await it.server.kill();
    await it.server.restart();
    expect(await appending).toMatchObject({ event_id: 'e1', seq: 1, duplicate: true });
    expect(await ledgerTail(await it.server.connect())).toBe(1);
  });

  test.each([
    ['plain', 'any' as const],
    ['expecting a version', 0],
  ])('a batch, %s: the broker is killed; all of it is found', async (_, expected) => {
    await using it = await setUp();
    const entries = facts('b', 100).map((event, i) =>
      i === 0 ? { event, expect: expected } : { event },
    );
    const swallowed = it.proxy.swallow(ACK);
    const appending = it.log.appendBatch(entries);
    await swallowed;
    await it.server.kill();
    await it.server.restart();
    const stored = await appending;
    expect(stored.map(({ seq }) => seq)).toEqual(entries.map((_entry, i) => i + 1));
    expect(stored.every(({ duplicate }) => duplicate)).toBe(true);
    expect(await ledgerTail(await it.server.connect())).toBe(100);
  });

  test('a mute connection: the event is sent again, and found', async () => {
    await using it = await setUp();
    const swallowed = it.proxy.swallow(ACK);
    const appending = it.log.append(fact('e1'), { timeoutMs: 300 });
    await swallowed;
    await expect(appending).rejects.toMatchObject({
      code: 'DEPENDENCY_UNAVAILABLE',
      details: { outcome: 'unknown' },
    });
    it.proxy.cut();
    await expect.poll(() => it.log.broker.isConnected()).toBe(true);
    expect(await it.log.append(fact('e1'))).toMatchObject({ seq: 1, duplicate: true });
  });

  test('the client is killed; another process appends the same again', async () => {
    await using it = await setUp();
    const swallowed = it.proxy.swallow(ACK);
    const first = await startAppender(it.proxy.url, 1, fact('e1'));
    first.go();
    await swallowed;
    await first.kill();
    const second = await startAppender(it.server.url, 1, fact('e1'));
    second.go();
    expect(await second.outcomes()).toMatchObject([{ seq: 1, duplicate: true }]);
    expect(await ledgerTail(it.direct)).toBe(1);
    expect(await readBySeq(it.direct, 1)).toMatchObject(fact('e1'));
  });
});

describe('a broker that is away', () => {
  test('is told at once, and used again when it is back', async () => {
    await using it = await setUp();
    await it.log.append(fact('e1'));
    await it.server.stop();
    await expect.poll(() => it.log.broker.isConnected()).toBe(false);
    const startedAt = performance.now();
    for (const call of [
      it.log.append(fact('e2')),
      it.log.append(fact('e2'), { expect: 1 }),
      it.log.appendBatch([{ event: fact('e2') }]),
    ]) {
      await expect(call).rejects.toMatchObject({
        code: 'DEPENDENCY_UNAVAILABLE',
        details: { outcome: 'not stored' },
      });
    }
    expect(performance.now() - startedAt).toBeLessThan(200);
    await it.server.restart();
    await expect.poll(() => it.log.broker.isConnected(), { timeout: 5_000 }).toBe(true);
    expect(await it.log.append(fact('e2'))).toMatchObject({ seq: 2, duplicate: false });
  });

  test('in the middle of 500 appends loses none and doubles none', async () => {
    await using it = await setUp();
    const events = facts('e', 500);
    const appending = Promise.all(
      events.map(async (event, i) => {
        await new Promise((resolve) => setTimeout(resolve, i / 5));
        return it.log.append(event, { timeoutMs: 10_000 }).catch((error: unknown) => error);
      }),
    );
    await new Promise((resolve) => setTimeout(resolve, 30));
    await it.server.kill();
    await it.server.restart();
    await appending;
    // Those that were refused while it was away are sent again, as a client would.
    await expect.poll(() => it.log.broker.isConnected(), { timeout: 5_000 }).toBe(true);
    const again = await Promise.all(events.map((event) => it.log.append(event)));
    expect(new Set(again.map(({ seq }) => seq)).size).toBe(500);
    expect(await ledgerTail(await it.server.connect())).toBe(500);
  });

  test('for longer than the time-out: the outcome is unknown', async () => {
    await using it = await setUp();
    const swallowed = it.proxy.swallow(ACK);
    const appending = it.log.append(fact('e1'), { timeoutMs: 600 });
    await swallowed;
    await it.server.kill();
    await expect(appending).rejects.toMatchObject({
      code: 'DEPENDENCY_UNAVAILABLE',
      details: { outcome: 'unknown' },
    });
  });
});
