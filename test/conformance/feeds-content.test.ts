import { headers as natsHeaders } from 'nats';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { waitFor } from '#libs/testing';
import {
  type Channel,
  deadLetters,
  demand,
  freshKey,
  idsOf,
  latest,
  milestone,
  read,
  SECRET,
  segment,
  send,
  type SendOptions,
  signatureOf,
  startFeeds,
  type Taken,
  without,
} from './feeds-kit.ts';
import type { System } from './harness.ts';
import { type Data, WAYS } from './wire.ts';

// What may be delivered, and what becomes of it (checks 25 to 43, 58 to 64, 68 of the reference of
// signed feeds). Every check over HTTP and over NATS.

let system: System;
beforeAll(async () => {
  system = await startFeeds();
});
afterAll(() => system?.[Symbol.asyncDispose]());

const isAccepted = ({ status, body }: Taken): void => {
  expect({ status, word: body.status }, JSON.stringify(body)).toEqual({
    status: 200,
    word: 'accepted',
  });
};
const isDuplicate = ({ status, body }: Taken): void => {
  expect({ status, word: body.status }).toEqual({ status: 200, word: 'duplicate' });
};
const rej = ({ status, body }: Taken, wanted = 400): void => {
  expect(body).toEqual({ ok: false, status: 'rejected', reason: expect.stringMatching(/\S/) });
  expect(status, JSON.stringify(body)).toBe(wanted);
};
const at = (offsetMs: number): string => new Date(Date.now() + offsetMs).toISOString();
const demandLive = async (of: System): Promise<Data> =>
  (await read(of, '/api/command-center/demand-live')).body;

describe.each(WAYS)('over %s', (way) => {
  const post = (envelope: unknown, options: SendOptions = {}, channel: Channel = 'milestones') =>
    send(system, way, channel, envelope, options);
  /** The item of this id as the feed has it. */
  const stored = async (id: string): Promise<Data | undefined> => {
    const path = `/milestones?limit=1000&text=${encodeURIComponent(id)}`;
    const { milestones } = (await read(system, path)).body.data;
    return (milestones as Data[]).find(({ item }) => item.milestoneId === id)?.item;
  };

  test(`C.25 C.26 ${way}: an event that is none, or lacks its names, is rejected`, async () => {
    const whole = milestone();
    for (const event of [null, 'text', []]) rej(await post({ ...milestone(), event }));
    rej(await post(without(milestone(), 'event')));
    for (const name of ['milestoneId', 'scope', 'claim']) {
      rej(await post({ ...milestone(), event: without(whole.event, name) }));
      for (const value of ['', '  ', 5]) rej(await post(milestone({ [name]: value })));
    }
  });

  test(`C.27 C.28 C.29 C.30 ${way}: nothing is repaired`, async () => {
    const item = { type: 'log', path: 'p', summary: 's' };
    const whole = milestone().event as Data;
    const bad: Data[] = [
      { riskStatus: 'red' },
      { riskStatus: 'Blocked' },
      { evidence: [] },
      { evidence: 'none' },
      { evidence: {} },
      { evidence: [without(item, 'path')] },
      { evidence: [without(item, 'summary')] },
      { evidence: [{ ...item, type: 'video' }] },
      { evidence: [null] },
      { source: 'cron' },
      { source: null },
      { nextAction: '' },
      { nextAction: '  ' },
    ];
    for (const change of bad) rej(await post(milestone(change)));
    for (const name of ['riskStatus', 'evidence', 'nextAction', 'timestampUtc']) {
      rej(await post({ ...milestone(), event: without(whole, name) }));
    }
    const milestoneId = freshKey();
    isAccepted(await post({ ...milestone(), event: without({ ...whole, milestoneId }, 'source') }));
    expect(await stored(milestoneId)).not.toHaveProperty('source');
  });

  test(`C.31 C.33 ${way}: a time that is none, or far ahead, is rejected`, async () => {
    for (const timestampUtc of [
      'yesterday',
      1_700_000_000_000,
      '2026-02-30T00:00:00Z',
      '2026-02-20T00:00:00+02:00',
      '2026-02-20',
      '2026-02-20T00:00:00',
      '9999-12-31T23:59:59Z',
    ]) {
      rej(await post(milestone({ timestampUtc })));
    }
  });

  test(`C.32 ${way}: the instant is kept, however fine it was told`, async () => {
    for (const [timestampUtc, kept] of [
      ['2026-02-20T10:00:00Z', '2026-02-20T10:00:00.000Z'],
      ['2026-02-20T10:00:00.123456Z', '2026-02-20T10:00:00.123Z'],
    ]) {
      const milestoneId = freshKey();
      isAccepted(await post(milestone({ milestoneId, timestampUtc })));
      expect((await stored(milestoneId))?.timestampUtc).toBe(kept);
    }
  });

  test(`C.34 ${way}: members that are not known are signed, and not in the feed`, async () => {
    const milestoneId = freshKey();
    const one = milestone({ milestoneId, more: { a: 1 } }, { extra: true });
    isAccepted(await post(one));
    expect(await stored(milestoneId)).toEqual(without(one.event, 'more'));
  });

  test(`C.36 C.37 ${way}: text comes back as it was`, async () => {
    const claims = [
      '\u{1f680} 発射 \u202bعربي\u202c e\u0301 \u2028 a\u0001\tb',
      '<img src=x onerror=alert(1)>',
      'half \ud800 pair',
    ];
    for (const claim of claims) {
      const milestoneId = freshKey();
      isAccepted(await post(milestone({ milestoneId, claim })));
      expect((await stored(milestoneId))?.claim).toBe(claim);
    }
  });

  test(`C.38 C.39 ${way}: keys are any text, and only equal ones are the same`, async () => {
    const run = freshKey();
    const ends = ['a.b', 'a b', 'a_b', '*', '>', '__proto__', '\u{1f511}', 'a\0b', 'Case', 'case'];
    const keys = [...ends.map((end) => `${run}${end}`), `${run}${'k'.repeat(2_000)}`];
    const own = keys.map((idempotencyKey) => milestone({}, { idempotencyKey }));
    for (const one of own) isAccepted(await post(one));
    for (const one of own) isDuplicate(await post(one));
    const bare = ['__proto__', '*', '>'].map((key) => milestone({}, { idempotencyKey: key }));
    if (way === 'http') for (const one of bare) isAccepted(await post(one));
    const long = milestone({}, { idempotencyKey: 'k'.repeat(4_097) });
    rej(await post(long));
  });

  test(`C.40 ${way}: a key for another body is a conflict, and stays to be seen`, async () => {
    const first = milestone({ milestoneId: freshKey() });
    isAccepted(await post(first));
    const other = { ...first, event: { ...first.event, milestoneId: freshKey() } };
    rej(await post(other), 409);
    expect(await stored(first.event.milestoneId)).toEqual(first.event);
    expect(await stored(other.event.milestoneId)).toBeUndefined();
    const [letter] = await deadLetters(system);
    expect(letter).toMatchObject({ idempotencyKey: first.idempotencyKey });
    expect(letter?.reason).toContain('another body');
    isDuplicate(await post(first));
  });

  test(`C.41 ${way}: one milestoneId under two keys is two items`, async () => {
    const milestoneId = freshKey();
    for (const _ of [1, 2]) isAccepted(await post(milestone({ milestoneId })));
    const path = `/milestones?text=${encodeURIComponent(milestoneId)}`;
    expect((await read(system, path)).body.data.milestones).toHaveLength(2);
  });

  test(`C.43 ${way}: of 50 at once exactly one is accepted`, async () => {
    const one = milestone({ milestoneId: freshKey() });
    const answers = await Promise.all(Array.from({ length: 50 }, () => post(one)));
    const words = answers.map(({ body }) => body.status as string);
    expect(words.filter((word) => word === 'accepted')).toHaveLength(1);
    expect(words.filter((word) => word === 'duplicate')).toHaveLength(49);
    const path = `/milestones?text=${encodeURIComponent(one.event.milestoneId)}`;
    expect((await read(system, path)).body.data.milestones).toHaveLength(1);
  });

  test(`C.58 C.59 ${way}: a demand snapshot is accepted once`, async () => {
    await using own = await startFeeds();
    const one = demand();
    const first = await send(own, way, 'demand', one);
    expect(first).toEqual({
      status: 200,
      body: { ok: true, status: 'accepted', summaryId: 'demand.1' },
    });
    expect(await demandLive(own)).toEqual({ ok: true, snapshot: one.snapshot, stale: false });
    expect(await latest(own)).toEqual([]);
    isDuplicate(await send(own, way, 'demand', one));
  });

  test(`C.60 C.62 C.68 ${way}: a snapshot that is not whole and right is rejected`, async () => {
    await using own = await startFeeds();
    const good = demand({ summaryId: 'good' });
    isAccepted(await send(own, way, 'demand', good));
    const whole = demand().snapshot as Data;
    const needed = ['summaryId', 'generatedAtUtc', 'source', 'tagCounts', 'segments', 'queueTotal'];
    const bad: Data[] = [
      ...needed.map((name) => without(whole, name)),
      ...['17', -4, 3.9, true, null].map((queueTotal) => ({ ...whole, queueTotal })),
      { ...whole, source: 'agent' },
      { ...whole, segments: [] },
      { ...whole, segments: [{ ...segment('a', 1, 'boiling') }] },
      { ...whole, generatedAtUtc: 'soon' },
      { ...whole, generatedAtUtc: at(365 * 86_400_000) },
    ];
    for (const snapshot of bad) rej(await send(own, way, 'demand', demand({}, { snapshot })));
    const huge = demand({ queueTotal: null });
    const raw = JSON.stringify(huge).replace('"queueTotal":null', '"queueTotal":1e400');
    rej(await send(own, way, 'demand', huge, { raw }));
    expect(await demandLive(own)).toMatchObject({ snapshot: { summaryId: 'good' } });
    expect(await deadLetters(own)).toEqual([]);
  });

  test(`C.61 ${way}: an envelope of the other channel is rejected`, async () => {
    rej(await post(milestone(), {}, 'demand'));
    rej(await post(demand(), {}, 'milestones'));
  });

  test(`C.63 ${way}: a key is one on each channel`, async () => {
    const idempotencyKey = freshKey();
    isAccepted(await post(milestone({}, { idempotencyKey })));
    isAccepted(await post(demand({}, { idempotencyKey }), {}, 'demand'));
  });

  test(`C.64 ${way}: an older snapshot does not replace a newer one`, async () => {
    await using own = await startFeeds();
    const newer = demand({ summaryId: 'newer' });
    isAccepted(await send(own, way, 'demand', newer));
    const older = demand({ summaryId: 'older', generatedAtUtc: at(-1_200_000), queueTotal: 2 });
    isAccepted(await send(own, way, 'demand', older));
    expect(await demandLive(own)).toMatchObject({ snapshot: { summaryId: 'newer' } });
    const { snapshots, trend } = (await read(own, '/demand/history')).body.data;
    expect((snapshots as Data[]).map(({ item }) => item.summaryId)).toEqual(['newer', 'older']);
    expect(trend).toMatchObject({ snapshots: 2, from: older.snapshot.generatedAtUtc });
    expect(trend.counters[0]).toMatchObject({ name: 'queueTotal', min: 2, max: 12, change: 10 });
  });
});

describe('queued on signed.v1.queue.<channel>', () => {
  const publish = async (channel: string, envelope: Data, timestamp: string, secret = SECRET) => {
    const headers = natsHeaders();
    headers.set('x-openclaw-signature', signatureOf(envelope, secret));
    headers.set('X-OpenClaw-Timestamp', timestamp);
    const subject = `signed.v1.queue.${channel}`;
    return system.broker.js.publish(subject, JSON.stringify(envelope), { headers });
  };
  const settled = () =>
    waitFor(async () => (await system.broker.jsm.streams.info('INTAKE')).state.messages === 0, {
      timeoutMs: 20_000,
    });

  test('each ends in the feed or in the dead letters', async () => {
    const [good, bad] = [milestone({ milestoneId: freshKey() }), milestone()];
    const letters = (await system.broker.jsm.streams.info('DEAD')).state.last_seq;
    await publish('milestones', good, at(0));
    await publish('milestones', good, at(0));
    const { seq } = await publish('milestones', bad, at(0), 'another secret');
    await publish('milestones', milestone(), at(-3_600_000));
    await publish('nowhere', milestone(), at(0));
    await settled();
    await waitFor(async () => idsOf(await latest(system)).includes(good.event.milestoneId), {
      timeoutMs: 10_000,
    });
    const added: Data[] = [];
    for (let at = letters + 1; at <= letters + 3; at += 1) {
      const letter = await system.broker.jsm.streams.getMessage('DEAD', { seq: at });
      added.push(letter?.json<Data>() ?? {});
    }
    expect(added.map(({ code }) => code as string).sort()).toEqual([
      'INVALID_REQUEST',
      'signature',
      'timestamp',
    ]);
    const signature = added.find(({ code }) => code === 'signature');
    expect(signature).toMatchObject({
      source: { stream: 'INTAKE', seq },
      payload: JSON.stringify(bad),
      delivery: { key: bad.idempotencyKey, signature: signatureOf(bad, 'another secret') },
    });
  });
});
