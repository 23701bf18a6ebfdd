import type { Broker } from '#libs/broker';
import type { Delivery, Rejection } from '#libs/feeds';
import { testLogger } from '#libs/testing';
import { expect, test } from 'vitest';
import { createRejections, type RejectedLetter } from './rejections.ts';

const HTTP = { stream: '', seq: 0, subject: 'signed.v1.milestones' };
const rejection: Rejection = {
  ok: false,
  status: 401,
  reasonClass: 'signature',
  reason: 'invalid signature',
  key: 'k',
};
const delivery = (body: Uint8Array): Delivery => ({
  channel: 'milestones',
  body,
  signature: 's',
  timestamp: 't',
  arrivedMs: 0,
  attemptId: 'a',
});

/** A broker that takes every letter. */
function taking() {
  const letters: RejectedLetter[] = [];
  const publish = async (_subject: string, text: string) => {
    letters.push(JSON.parse(text) as RejectedLetter);
    return { seq: letters.length };
  };
  const broker = { isConnected: () => true, js: { publish } } as unknown as Broker;
  return { letters, rejections: createRejections(broker, testLogger()) };
}

test('a flood fills no more than its budget; what was queued is always kept', async () => {
  const { letters, rejections } = taking();
  for (let count = 0; count < 1_500; count += 1) {
    await rejections.record(delivery(Buffer.from('{}')), rejection, HTTP);
  }
  expect(letters.length).toBeGreaterThanOrEqual(1_000);
  expect(letters.length).toBeLessThan(1_500);
  const queued = { stream: 'INTAKE', seq: 7, subject: 'signed.v1.queue.milestones' };
  const seq = await rejections.record(delivery(Buffer.from('{}')), rejection, queued);
  expect(seq).toBe(letters.length);
  expect(rejections.lastSeq()).toBe(letters.length);
});

test('large bodies are told by size and digest once their budget is used up', async () => {
  const { letters, rejections } = taking();
  const body = new Uint8Array(256 * 1024).fill(0x61);
  for (let count = 0; count < 80; count += 1)
    await rejections.record(delivery(body), rejection, HTTP);
  const kept = letters.filter(({ encoding }) => encoding === 'text');
  expect(kept).toHaveLength(64);
  expect(letters.at(-1)).toMatchObject({
    payload: '',
    encoding: 'none',
    delivery: { size: body.length, digest: kept[0]?.delivery.digest },
  });
});

test('bytes that are no text, or grow by their escapes, are kept as base64', async () => {
  const { letters, rejections } = taking();
  for (const body of [Uint8Array.of(0xff, 0x00), new Uint8Array(256 * 1024)]) {
    await rejections.record(delivery(body), rejection, HTTP);
    const letter = letters.at(-1);
    expect(letter?.encoding).toBe('base64');
    expect(Buffer.from(letter?.payload ?? '', 'base64').equals(Buffer.from(body))).toBe(true);
  }
});

test('long keys, reasons and headers are cut', async () => {
  const { letters, rejections } = taking();
  const long = 'x'.repeat(100_000);
  const hostile = { ...delivery(Buffer.from('')), signature: long, timestamp: long };
  await rejections.record(hostile, { ...rejection, key: long, reason: long }, HTTP);
  const [letter] = letters;
  expect(JSON.stringify(letter).length).toBeLessThan(2_000);
  expect(letter?.delivery.key).toHaveLength(256);
});
