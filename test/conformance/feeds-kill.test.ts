import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { waitFor } from '#libs/testing';
import { deadLetters, latest, milestone, send, startFeeds, type Taken } from './feeds-kit.ts';
import type { System } from './harness.ts';
import { type Data, type Way, WAYS } from './wire.ts';

// What crashes and outages may not do (checks 45 to 47 of the reference of signed feeds).

/** Words of the answers; undefined where there was none. */
type Answer = Taken | undefined;

const attempt = async (system: System, way: Way, envelope: Data): Promise<Answer> => {
  try {
    return await send(system, way, 'milestones', envelope);
  } catch {
    // The process died under this request: nobody knows what became of it.
    return undefined;
  }
};

/** Keys of all items in the stream, in order. */
async function storedKeys(system: System): Promise<string[]> {
  const { last_seq } = (await system.broker.jsm.streams.info('FEEDS')).state;
  const keys: string[] = [];
  for (let from = 1; from <= last_seq; from += 100) {
    const seqs = Array.from({ length: Math.min(100, last_seq - from + 1) }, (_, n) => from + n);
    const found = await Promise.all(
      seqs.map((seq) => system.broker.jsm.streams.getMessage('FEEDS', { seq })),
    );
    keys.push(...found.map((message) => message?.json<{ key: string }>().key ?? ''));
  }
  return keys;
}

const word = (answer: Answer): unknown => answer?.body.status;

test.each(WAYS)(
  'C.45 over %s: kill -9 during 1 000 posts at once loses and doubles nothing',
  { timeout: 120_000 },
  async (way) => {
    await using system = await startFeeds({}, { roles: [], separateProcesses: ['intake'] });
    const all = Array.from({ length: 1_000 }, (_, n) => milestone({ milestoneId: `m.${n}` }));
    const intake = system.process('intake');
    // Killed once fifty were accepted, whenever that is: some are stored, others are under way.
    const fiftieth = Promise.withResolvers<void>();
    let count = 0;
    const counted = async (one: Data): Promise<Answer> => {
      const answer = await attempt(system, way, one);
      if (word(answer) === 'accepted') count += 1;
      if (count === 50) fiftieth.resolve();
      return answer;
    };
    const killed = fiftieth.promise.then(() => intake.kill());
    // Over NATS nobody says that the receiver died.
    const over = killed.then(() => sleep(2_000, undefined));
    const first = await Promise.all(all.map((one) => Promise.race([counted(one), over])));
    await killed;
    // The kill fell among the posts.
    expect(first.filter((answer) => answer === undefined).length).toBeGreaterThanOrEqual(1);
    const accepted = all.filter((_, index) => word(first[index]) === 'accepted');
    await intake.restart();
    const second: Answer[] = [];
    for (let from = 0; from < all.length; from += 100) {
      const some = all.slice(from, from + 100);
      second.push(...(await Promise.all(some.map((one) => send(system, way, 'milestones', one)))));
    }
    for (const [index, one] of all.entries()) {
      expect(second[index]?.status).toBe(200);
      if (accepted.includes(one)) expect(word(second[index])).toBe('duplicate');
    }
    const keys = await storedKeys(system);
    expect(keys.toSorted()).toEqual(all.map((one) => one.idempotencyKey as string).toSorted());
  },
);

describe.each(WAYS)('over %s', (way) => {
  test(`C.46 ${way}: after a restart of everything old keys are known`, {
    timeout: 60_000,
  }, async () => {
    // The server's own memory of ids is 2 minutes; a key needs none of it.
    await using system = await startFeeds({}, { roles: [], separateProcesses: ['intake'] });
    const one = milestone();
    expect(word(await send(system, way, 'milestones', one))).toBe('accepted');
    const { config } = await system.broker.jsm.streams.info('FEEDS');
    await system.broker.jsm.streams.update('FEEDS', { ...config, duplicate_window: 100_000_000 });
    await system.process('intake').kill();
    await system.testBroker.kill();
    await system.testBroker.restart();
    await waitFor(() => system.broker.isConnected(), { timeoutMs: 20_000 });
    const { config: now } = await system.broker.jsm.streams.info('FEEDS');
    await system.broker.jsm.streams.update('FEEDS', { ...now, duplicate_window: 120e9 });
    await system.process('intake').restart();
    expect(word(await send(system, way, 'milestones', one))).toBe('duplicate');
    expect(await latest(system)).toHaveLength(1);
  });
});

test('C.47 while the broker is away: 503, and once it is back the same key once', async () => {
  await using system = await startFeeds();
  const one = milestone();
  await system.testBroker.kill();
  const refused = await send(system, 'http', 'milestones', one);
  expect(refused).toEqual({
    status: 503,
    body: { ok: false, status: 'rejected', reason: expect.stringMatching(/\S/) },
  });
  // Reads go on from what is known.
  expect(await latest(system)).toEqual([]);
  await system.testBroker.restart();
  const taken = await waitFor(
    async () => {
      const answer = await send(system, 'http', 'milestones', one);
      return answer.status === 200 ? answer : undefined;
    },
    { timeoutMs: 25_000, intervalMs: 100 },
  );
  expect(word(taken)).toBe('accepted');
  expect(word(await send(system, 'http', 'milestones', one))).toBe('duplicate');
  expect(await latest(system)).toHaveLength(1);
  expect(await deadLetters(system)).toEqual([]);
});
