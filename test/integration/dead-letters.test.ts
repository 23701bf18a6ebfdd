import { renameSync } from 'node:fs';
import { API, type JobMessage } from '#libs/contracts';
import { jobSubject } from '#libs/eventlog';
import { modelFromEnv } from '#libs/models';
import { createClient, type ServiceClient } from '#libs/service';
import { testLogger, waitFor } from '#libs/testing';
import { AckPolicy } from '@nats-io/jetstream';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { createFixture, type Fixture, typesOf } from '../../apps/worker/testdata/fixture.ts';
import { startSystem, type System } from '../conformance/harness.ts';
import { sendHttp } from '../conformance/wire.ts';

let system: System;
let fixture: Fixture;
let client: ServiceClient;

beforeAll(async () => {
  system = await startSystem({ roles: ['ledger'], env: { IRONCLAW_GARRISON: 'local' } });
  fixture = createFixture(system.broker, () => system.testBroker.connect(), '');
  client = createClient(system.broker, { logger: testLogger() });
});
afterEach(() => fixture.stopWorkers());
afterAll(async () => {
  await system?.[Symbol.asyncDispose]();
  fixture?.[Symbol.dispose]();
});

const startWorker = () => fixture.startWorker({ model: modelFromEnv({}) });
const listed = async (channel?: string) =>
  (await client.call(API.ledger.deadLetters, { ...(channel && { channel }) })).dead_letters;
/** The letter about an order, once it is there. */
const letterOf = (job: JobMessage) =>
  waitFor(
    async () => {
      for (const { seq } of await listed('jobs')) {
        const letter = await client.call(API.ledger.deadLetter, { seq });
        if (letter.payload.includes(`"${job.order_id}"`)) return letter;
      }
      return null;
    },
    { timeoutMs: 15_000 },
  );
const redrive = (seq: number) => client.call(API.ledger.redrive, { seq });
const ended = (job: JobMessage) => waitFor(() => fixture.endOf(job), { timeoutMs: 15_000 });

test('where nothing was set aside the list is empty', async () => {
  const answer = await client.call(API.ledger.deadLetters, {});
  expect(answer).toEqual({ dead_letters: [], next_cursor: null });
});

test('a poison job lands in DEAD; once mended it is redriven, once, and completes', async () => {
  const { job, path } = await fixture.prepare();
  renameSync(path, `${path}-away`);
  await startWorker();
  await fixture.publish(job);
  const letter = await letterOf(job);
  expect(letter).toMatchObject({
    channel: 'jobs',
    code: 'WORKTREE_NOT_FOUND',
    source: { stream: 'JOBS', subject: jobSubject(job.theater_id, 'default') },
  });
  expect(JSON.parse(letter.payload)).toEqual(job);
  expect(await fixture.queueLength()).toBe(0);

  renameSync(`${path}-away`, path);
  expect(await redrive(letter.seq)).toMatchObject({ redriven: true, duplicate: false });
  expect(await ended(job)).toMatchObject({ status: 'COMPLETED', attempt: 1 });
  expect(await redrive(letter.seq)).toMatchObject({ redriven: true, duplicate: true });
  expect((await listed()).map(({ seq }) => seq)).not.toContain(letter.seq);
  await expect(client.call(API.ledger.deadLetter, { seq: letter.seq })).rejects.toMatchObject({
    code: 'DEAD_LETTER_NOT_FOUND',
  });
});

/** Delivers the job as often as it may be, each time to somebody who dies of it. */
async function exhaust(job: JobMessage): Promise<void> {
  const name = `w_${job.theater_id}=default`;
  await system.broker.jsm.consumers.add('JOBS', {
    durable_name: name,
    ack_policy: AckPolicy.Explicit,
    ack_wait: 200 * 1_000_000,
    max_deliver: 2,
    filter_subjects: [jobSubject(job.theater_id, 'default')],
  });
  await fixture.publish(job);
  const consumer = await system.broker.js.consumers.get('JOBS', name);
  for (let round = 0; round < 2; round += 1) {
    expect(await consumer.next({ expires: 5_000 })).not.toBeNull();
  }
  // The server gives up when it is asked for the third time.
  await consumer.next({ expires: 1_000 });
}

test('an exhausted job is moved, its order fails with a reason, and completes when redriven', async () => {
  const { job } = await fixture.prepare({}, 'tdead');
  await fixture.log.append({
    event_id: `enqueued-${job.order_id}`,
    ts: new Date().toISOString(),
    type: 'ORDER_ENQUEUED',
    garrison_id: 'local',
    theater_id: job.theater_id,
    run_id: job.run_id ?? null,
    order_id: job.order_id,
    unit_id: null,
    payload: { attempt: 1 },
  });
  await exhaust(job);
  const letter = await letterOf(job);
  expect(letter.code).toBe('EXHAUSTED');
  expect(letter.reason).toContain('delivered 2 times');
  const failed = await ended(job);
  expect(failed).toMatchObject({
    status: 'FAILED',
    labels: ['job.dead-lettered'],
    last_error: { code: 'JOB_DEAD_LETTERED', retryable: true },
    anomalies: 0,
  });
  await waitFor(async () => (await fixture.queueLength()) === 0);

  expect(await redrive(letter.seq)).toMatchObject({ duplicate: false });
  await startWorker();
  const done = await waitFor(async () => {
    const state = await fixture.stateOf(job);
    return state?.status === 'COMPLETED' ? state : null;
  });
  expect(done).toMatchObject({ attempt: 2, anomalies: 0 });
  const types = typesOf(await fixture.eventsOf(job));
  expect(types.filter((type) => /DEAD|REISSUED/.test(type))).toEqual([
    'JOB_DEAD_LETTERED',
    'ORDER_REISSUED',
    'DEAD_LETTER_REDRIVEN',
  ]);
});

test('a letter is refused where its order is past it, and can be discarded', async () => {
  const { job } = await fixture.prepare({}, 'tdead2');
  await exhaust(job);
  const { seq } = await letterOf(job);
  await startWorker();
  await fixture.publish(job);
  expect((await ended(job)).status).toBe('COMPLETED');
  await expect(redrive(seq)).rejects.toMatchObject({ code: 'ILLEGAL_TRANSITION' });
  const gone = () => sendHttp(system.url('ledger'), 'DELETE', `/dead-letters/${seq}`);
  expect((await gone()).body).toMatchObject({ ok: true, data: { discarded: true } });
  expect((await gone()).body).toMatchObject({ data: { discarded: true, duplicate: true } });
  expect(await fixture.eventsOf(job)).toEqual(
    expect.arrayContaining([expect.objectContaining({ type: 'DEAD_LETTER_DISCARDED' })]),
  );
  await expect(redrive(seq)).rejects.toMatchObject({ code: 'DEAD_LETTER_NOT_FOUND' });
  await expect(redrive(99_999)).rejects.toMatchObject({ code: 'DEAD_LETTER_NOT_FOUND' });
});

test('the list is paged, newest first, by channel', async () => {
  const put = (channel: string, seq: number) =>
    system.broker.js.publish(
      `dead.v1.${channel}`,
      JSON.stringify({
        channel,
        code: 'X',
        reason: `r${seq}`,
        source: { stream: 'INTAKE', seq, subject: 'intake.v1.events' },
        payload: '{}',
        at: new Date().toISOString(),
      }),
    );
  for (let n = 0; n < 5; n += 1) await put(n === 2 ? 'rare' : 'often', n);
  await system.broker.js.publish('dead.v1.often', 'by hand');
  const page = await client.call(API.ledger.deadLetters, { channel: 'often', limit: 2 });
  expect(page.dead_letters.map(({ reason }) => reason)).toEqual([
    'not a dead letter of ours',
    'r4',
  ]);
  const cursor = page.next_cursor ?? '';
  const next = await client.call(API.ledger.deadLetters, { channel: 'often', limit: 3, cursor });
  expect(next.dead_letters.map(({ reason }) => reason)).toEqual(['r3', 'r1', 'r0']);
  expect((await listed('rare')).map(({ reason }) => reason)).toEqual(['r2']);
  await expect(client.call(API.ledger.deadLetters, { cursor: 'x' })).rejects.toMatchObject({
    code: 'INVALID_REQUEST',
  });
});
