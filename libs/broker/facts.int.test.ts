import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { startTestBroker, type TestBroker } from '#libs/testing';
import { STREAMS } from '#streams';
import type { Broker } from './connect.ts';
import { publishAllAt, readLast } from './facts.ts';

let server: TestBroker;
let broker: Broker;
beforeEach(async () => {
  server = await startTestBroker({ streams: STREAMS });
  broker = await server.connect();
});
afterEach(() => server[Symbol.asyncDispose]());

const SUBJECT = 'prj.v1.p-1';
const bytes = (...texts: string[]): Uint8Array[] => texts.map((text) => Buffer.from(text));
const lastText = async (): Promise<string> =>
  Buffer.from((await readLast(broker, 'PROJECTS', SUBJECT))?.data ?? []).toString();
const count = async (): Promise<number> =>
  (await broker.jsm.streams.info('PROJECTS')).state.messages;

describe('several messages to one subject', () => {
  test('are appended together on condition of its last sequence', async () => {
    expect(await publishAllAt(broker, SUBJECT, bytes('a', 'b', 'c'), 0)).toBe(3);
    expect(await publishAllAt(broker, SUBJECT, bytes('d', 'e'), 3)).toBe(5);
    expect(await lastText()).toBe('e');
  });

  test('are none of them appended where it has moved on', async () => {
    await publishAllAt(broker, SUBJECT, bytes('a', 'b'), 0);
    for (const texts of [['x'], ['x', 'y'], ['x', 'y', 'z']]) {
      expect(await publishAllAt(broker, SUBJECT, bytes(...texts), 1)).toBeUndefined();
    }
    expect([await count(), await lastText()]).toEqual([2, 'b']);
  });

  test('are appended whatever it has where no condition is given', async () => {
    await publishAllAt(broker, SUBJECT, bytes('a'), undefined);
    await publishAllAt(broker, SUBJECT, bytes('b', 'c'), undefined);
    expect([await count(), await lastText()]).toEqual([3, 'c']);
  });

  test('are all appended where more batches come at once than the broker keeps open', async () => {
    const batches = Array.from({ length: 200 }, (_, n) => bytes(`${n}`, `${n}`));
    await Promise.all(
      batches.map((messages) => publishAllAt(broker, SUBJECT, messages, undefined)),
    );
    expect(await count()).toBe(400);
  });

  test('of many batches at one version one is stored, whole', async () => {
    const batches = Array.from({ length: 20 }, (_, n) => bytes(`${n}`, `${n}`, `${n}`));
    const answers = await Promise.all(
      batches.map((messages) => publishAllAt(broker, SUBJECT, messages, 0)),
    );
    expect(answers.filter((seq) => seq !== undefined)).toEqual([3]);
    expect(await count()).toBe(3);
  });
});
