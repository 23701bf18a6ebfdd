import { createHash, randomBytes } from 'node:crypto';
import { isAppError } from '#libs/contracts';
import { startTestBroker } from '#libs/testing';
import { OBJECTS, STREAMS } from '#streams';
import { expect, test } from 'vitest';
import { getObject, putObject } from './objects.ts';

test('bytes of every size come back as they went in', async () => {
  await using server = await startTestBroker({ streams: STREAMS });
  const broker = await server.connect();
  for (const size of [0, 1, 128 * 1024, 128 * 1024 + 1, 1_000_000]) {
    const data = randomBytes(size);
    const stored = await putObject(broker, data);
    expect(stored).toEqual({
      sha256: createHash('sha256').update(data).digest('hex'),
      bytes: size,
    });
    const back = await getObject(broker, stored.sha256);
    expect(Buffer.from(back ?? 'none').equals(data)).toBe(true);
  }
});

test('the same bytes are stored once, also by ten at the same time', async () => {
  await using server = await startTestBroker({ streams: STREAMS });
  const broker = await server.connect();
  const data = randomBytes(300_000);
  await Promise.all(Array.from({ length: 10 }, () => putObject(broker, data)));
  const { state } = await broker.jsm.streams.info(OBJECTS.name);
  await putObject(broker, data);
  const after = await broker.jsm.streams.info(OBJECTS.name);
  expect(after.state.last_seq).toBe(state.last_seq);
  // Three chunks and their entry.
  expect(after.state.messages).toBe(4);
});

test('unknown is null; limits hold both ways; a bad digest is refused', async () => {
  await using server = await startTestBroker({ streams: STREAMS });
  const broker = await server.connect();
  expect(await getObject(broker, '0'.repeat(64))).toBeNull();
  const data = randomBytes(1_000);
  const over = await putObject(broker, data, { maxBytes: 999 }).catch((e: unknown) => e);
  expect(isAppError(over, 'PAYLOAD_TOO_LARGE')).toBe(true);
  const { sha256 } = await putObject(broker, data, { maxBytes: 1_000 });
  const large = await getObject(broker, sha256, { maxBytes: 999 }).catch((e: unknown) => e);
  expect(isAppError(large, 'PAYLOAD_TOO_LARGE')).toBe(true);
  expect(await getObject(broker, sha256, { maxBytes: 1_000 })).toHaveLength(1_000);
  const bad = await getObject(broker, '../x').catch((e: unknown) => e);
  expect(isAppError(bad, 'INVALID_REQUEST')).toBe(true);
});

test('damaged content is an error, never an answer', async () => {
  await using server = await startTestBroker({ streams: STREAMS });
  const broker = await server.connect();
  const { sha256 } = await putObject(broker, Buffer.from('what was meant'));
  const chunk = await broker.jsm.streams.getMessage(OBJECTS.name, { seq: 1 });
  await broker.jsm.streams.deleteMessage(OBJECTS.name, 1);
  await broker.js.publish(chunk?.subject ?? '', 'what was not!!');
  await expect(getObject(broker, sha256)).rejects.toThrow(/corrupt|damaged/);
});

test('reading leaves nothing behind in the server', async () => {
  await using server = await startTestBroker({ streams: STREAMS });
  const broker = await server.connect();
  const { sha256 } = await putObject(broker, randomBytes(300_000));
  await Promise.all(Array.from({ length: 20 }, () => getObject(broker, sha256)));
  const { state } = await broker.jsm.streams.info(OBJECTS.name);
  expect(state.consumer_count).toBe(0);
});

test('objects survive kill -9 of the broker', async () => {
  await using server = await startTestBroker({ sync: 'always', streams: STREAMS });
  const broker = await server.connect();
  const { sha256 } = await putObject(broker, Buffer.from('kept'));
  await server.kill();
  await server.restart();
  const again = await server.connect();
  expect(Buffer.from((await getObject(again, sha256)) ?? '').toString()).toBe('kept');
});
