import { startTestBroker, testLogger, waitFor } from '#libs/testing';
import { STREAMS } from '#streams';
import { expect, test } from 'vitest';
import { type ConsumeOptions, consumeDurable } from './consume.ts';
import { applyStreams } from './streams.ts';

const logger = testLogger();

function options(handle: ConsumeOptions['handle'], more: Partial<ConsumeOptions> = {}) {
  const base = { stream: 'JOBS', durable: 'w', ackWaitMs: 1_000, maxDeliver: -1, logger };
  return { ...base, handle, ...more };
}

test('every message is handled, never more at once than allowed, and then acked', async () => {
  await using server = await startTestBroker({ streams: STREAMS });
  const broker = await server.connect();
  let now = 0;
  let most = 0;
  const seen = new Set<string>();
  const consuming = consumeDurable(
    broker,
    options(
      async (message) => {
        most = Math.max(most, ++now);
        await pause(20);
        seen.add(message.string());
        now--;
      },
      { concurrency: 3 },
    ),
  );
  for (let i = 0; i < 30; i++) await broker.js.publish('job.v1.demo.default', String(i));
  await waitFor(() => seen.size === 30);
  await consuming.stop();
  await broker.nc.flush();
  expect(most).toBe(3);
  expect((await broker.jsm.streams.info('JOBS')).state.messages).toBe(0);
});

test('a handler that takes longer than the ack wait keeps its message', async () => {
  await using server = await startTestBroker({ streams: STREAMS });
  const broker = await server.connect();
  let runs = 0;
  let done = false;
  const consuming = consumeDurable(
    broker,
    options(async () => {
      runs++;
      await pause(2_500);
      done = true;
    }),
  );
  await broker.js.publish('job.v1.demo.default', '');
  await waitFor(() => done);
  await consuming.stop();
  expect(runs).toBe(1);
});

test('a handling that is over its limit is aborted and the message goes out again', async () => {
  await using server = await startTestBroker({ streams: STREAMS });
  const broker = await server.connect();
  const attempts: number[] = [];
  const consuming = consumeDurable(
    broker,
    options(
      async (message, signal) => {
        attempts.push(message.info.deliveryCount);
        if (attempts.length > 1) return;
        await new Promise((_, reject) => {
          signal.addEventListener('abort', () => reject(signal.reason as Error));
        });
      },
      { handleLimitMs: 100 },
    ),
  );
  await broker.js.publish('job.v1.demo.default', '');
  await waitFor(() => attempts.length === 2);
  await consuming.stop();
  expect(attempts).toEqual([1, 2]);
});

test('stopping waits for the handler at work and aborts its signal', async () => {
  await using server = await startTestBroker({ streams: STREAMS });
  const broker = await server.connect();
  let started = false;
  let finished = false;
  const consuming = consumeDurable(
    broker,
    options(async (_message, signal) => {
      started = true;
      await new Promise((resolve) => signal.addEventListener('abort', resolve));
      await pause(50);
      finished = true;
    }),
  );
  await broker.js.publish('job.v1.demo.default', '');
  await waitFor(() => started);
  await consuming.stop();
  expect(finished).toBe(true);
});

test('stopping returns at any moment of starting', async () => {
  await using server = await startTestBroker({ streams: STREAMS });
  const broker = await server.connect();
  for (const delayMs of [0, 1, 2, 4, 8, 16, 32]) {
    const consuming = consumeDurable(
      broker,
      options(async () => {}),
    );
    await pause(delayMs);
    const stopped = consuming.stop().then(() => true);
    expect(await Promise.race([stopped, pause(2_000)])).toBe(true);
  }
});

test('a consumer that somebody deletes is made again', async () => {
  await using server = await startTestBroker({ streams: STREAMS });
  const broker = await server.connect();
  const seen: string[] = [];
  const consuming = consumeDurable(
    broker,
    options(async (message) => {
      seen.push(message.string());
    }),
  );
  await broker.js.publish('job.v1.demo.default', 'a');
  await waitFor(() => seen.length === 1);
  await broker.jsm.consumers.delete('JOBS', 'w');
  await broker.js.publish('job.v1.demo.default', 'b');
  await waitFor(() => seen.length === 2, { timeoutMs: 10_000 });
  await consuming.stop();
  expect(seen).toEqual(['a', 'b']);
});

test('settings of a consumer that exists are brought up to date', async () => {
  await using server = await startTestBroker({ streams: STREAMS });
  const broker = await server.connect();
  const first = consumeDurable(
    broker,
    options(async () => {}),
  );
  const info = () => broker.jsm.consumers.info('JOBS', 'w').catch(() => null);
  await waitFor(info);
  await first.stop();
  const second = consumeDurable(
    broker,
    options(async () => {}, { ackWaitMs: 5_000 }),
  );
  await expect.poll(async () => (await info())?.config.ack_wait).toBe(5e9);
  await second.stop();
});

test('a stream that is made later is waited for', async () => {
  await using server = await startTestBroker();
  const broker = await server.connect();
  let seen = 0;
  const consuming = consumeDurable(
    broker,
    options(async () => {
      seen++;
    }),
  );
  await pause(100);
  await applyStreams(broker.jsm, STREAMS);
  await broker.js.publish('job.v1.demo.default', '');
  await waitFor(() => seen > 0);
  await consuming.stop();
  expect(seen).toBe(1);
});

function pause(ms: number): Promise<void> {
  return new Promise((done) => setTimeout(done, ms));
}
