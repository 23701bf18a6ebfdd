import { isAppError } from '#libs/contracts';
import { startTestBroker, testLogger, waitFor } from '#libs/testing';
import { STREAMS } from '#streams';
import { expect, test } from 'vitest';
import type { Broker } from './connect.ts';
import { cancelTimer, consumeTimers, type FiredTimer, scheduleTimer } from './timers.ts';

const logger = testLogger();

test('a timer fires once, when it is due, with its payload', async () => {
  await using server = await startTestBroker({ streams: STREAMS });
  const broker = await server.connect();
  const fired: FiredTimer[] = [];
  const consuming = collect(broker, fired);
  const at = new Date(Date.now() + 700);
  await scheduleTimer(broker, { kind: 'deadline', id: 'o1', at, payload: { attempt: 1 } });
  await waitFor(() => fired.length > 0);
  await pause(300);
  await consuming.stop();
  expect(fired).toMatchObject([
    { kind: 'deadline', id: 'o1', payload: { attempt: 1 }, attempt: 1 },
  ]);
  expect(fired[0]?.firedAt.getTime()).toBeGreaterThanOrEqual(at.getTime());
  expect(Date.now()).toBeGreaterThanOrEqual(at.getTime());
});

test('a timer that is due in the past fires at once', async () => {
  await using server = await startTestBroker({ streams: STREAMS });
  const broker = await server.connect();
  const fired: FiredTimer[] = [];
  const consuming = collect(broker, fired);
  await scheduleTimer(broker, { kind: 'deadline', id: 'o1', at: new Date(0), payload: null });
  await waitFor(() => fired.length > 0);
  await consuming.stop();
  expect(fired).toHaveLength(1);
});

test('setting it again replaces it, cancelling removes it, and it can be set once more', async () => {
  await using server = await startTestBroker({ streams: STREAMS });
  const broker = await server.connect();
  const fired: FiredTimer[] = [];
  const consuming = collect(broker, fired);
  const soon = new Date(Date.now() + 800);
  const set = (id: string, at: Date, payload: string) =>
    scheduleTimer(broker, { kind: 'deadline', id, at, payload });
  await set('replaced', new Date(Date.now() + 600), 'first');
  await set('replaced', soon, 'second');
  await set('cancelled', soon, 'never');
  await cancelTimer(broker, 'deadline', 'cancelled');
  await set('again', soon, 'never');
  await cancelTimer(broker, 'deadline', 'again');
  await set('again', soon, 'third');
  await cancelTimer(broker, 'deadline', 'unknown');
  await waitFor(() => fired.length >= 2);
  await pause(500);
  await consuming.stop();
  expect(new Map(fired.map(({ id, payload }) => [id, payload]))).toEqual(
    new Map([
      ['again', 'third'],
      ['replaced', 'second'],
    ]),
  );
  expect(fired).toHaveLength(2);
});

test.each(['restart', 'kill'] as const)('timers survive a %s of the broker', async (how) => {
  await using server = await startTestBroker({ sync: 'always', streams: STREAMS });
  const broker = await server.connect();
  const fired: FiredTimer[] = [];
  const consuming = collect(broker, fired);
  const at = (delayMs: number) => new Date(Date.now() + delayMs);
  // One falls due while the broker is away, one after it is back.
  await scheduleTimer(broker, { kind: 'deadline', id: 'away', at: at(150), payload: 1 });
  await scheduleTimer(broker, { kind: 'deadline', id: 'later', at: at(2_500), payload: 2 });
  if (how === 'kill') await server.kill();
  else await server.stop();
  await pause(300);
  await server.restart();
  await waitFor(() => fired.length >= 2, { timeoutMs: 15_000 });
  await consuming.stop();
  expect(new Set(fired.map(({ id }) => id))).toEqual(new Set(['away', 'later']));
});

test('a handler that throws gets the timer again; other kinds are not its business', async () => {
  await using server = await startTestBroker({ streams: STREAMS });
  const broker = await server.connect();
  const seen: number[] = [];
  const consuming = consumeTimers(broker, {
    durable: 't',
    kinds: ['deadline'],
    logger,
    async handle(timer) {
      seen.push(timer.attempt);
      if (timer.attempt < 3) throw new Error('not yet');
    },
  });
  const at = new Date();
  await scheduleTimer(broker, { kind: 'tick', id: 'x', at, payload: null });
  await scheduleTimer(broker, { kind: 'deadline', id: 'x', at, payload: null });
  await waitFor(() => seen.length >= 3);
  await consuming.stop();
  expect(seen).toEqual([1, 2, 3]);
});

test('bad names and large payloads are refused', async () => {
  await using server = await startTestBroker({ streams: STREAMS });
  const broker = await server.connect();
  const at = new Date();
  const set = (kind: string, id: string, payload: unknown) =>
    scheduleTimer(broker, { kind, id, at, payload }).catch((error: unknown) => error);
  expect(isAppError(await set('a.b', 'x', 1), 'INVALID_REQUEST')).toBe(true);
  expect(isAppError(await set('a', '>', 1), 'INVALID_REQUEST')).toBe(true);
  const fits = 'x'.repeat(32 * 1024 - 2);
  expect(await set('a', 'x', fits)).toBeUndefined();
  expect(isAppError(await set('a', 'x', `${fits}x`), 'PAYLOAD_TOO_LARGE')).toBe(true);
});

function collect(broker: Broker, fired: FiredTimer[]) {
  return consumeTimers(broker, {
    durable: 'test',
    kinds: ['deadline'],
    logger,
    async handle(timer) {
      fired.push(timer);
    },
  });
}

function pause(ms: number): Promise<void> {
  return new Promise((done) => setTimeout(done, ms));
}
