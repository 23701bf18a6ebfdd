import { isAppError } from '#libs/contracts';
import { startTestBroker } from '#libs/testing';
import { INTAKE, JOBS, LEDGER, STREAMS, streamsWithReplicas } from '#streams';
import { JetStreamApiError } from '@nats-io/jetstream';
import { expect, test } from 'vitest';
import { applyStreams, checkStreams, planStreams } from './streams.ts';

test('apply makes all streams as declared, once', async () => {
  await using server = await startTestBroker();
  const { jsm } = await server.connect();
  const missing = await checkStreams(jsm, STREAMS).catch((error: unknown) => error);
  expect(isAppError(missing, 'STREAM_DRIFT')).toBe(true);
  expect(actions(await planStreams(jsm, STREAMS))).toEqual(STREAMS.map(() => 'create'));
  expect(actions(await applyStreams(jsm, STREAMS))).toEqual(STREAMS.map(() => 'create'));
  expect(actions(await planStreams(jsm, STREAMS))).toEqual(STREAMS.map(() => 'none'));
  expect(actions(await applyStreams(jsm, STREAMS))).toEqual(STREAMS.map(() => 'none'));
  await checkStreams(jsm, STREAMS);
});

test('drift that loses nothing is shown by plan and check and removed by apply', async () => {
  await using server = await startTestBroker();
  const { jsm, js } = await server.connect();
  await applyStreams(jsm, STREAMS);
  await js.publish('job.v1.demo.default', '{}');
  await jsm.streams.update('JOBS', { description: 'changed', max_bytes: 1_000_000 });
  const [plan] = await planStreams(jsm, [JOBS]);
  expect(plan?.action).toBe('update');
  expect(plan?.changes).toEqual([
    { field: 'description', have: 'changed', want: JOBS.description },
    { field: 'max_bytes', have: 1_000_000, want: JOBS.maxBytes },
  ]);
  await expect(checkStreams(jsm, STREAMS)).rejects.toThrow(/JOBS .* description, max_bytes/);
  await applyStreams(jsm, STREAMS);
  await checkStreams(jsm, STREAMS);
  expect((await jsm.streams.info('JOBS')).state.messages).toBe(1);
});

test('a stream with other retention, or holding more than declared, is left as it is', async () => {
  await using server = await startTestBroker();
  const { jsm, js } = await server.connect();
  await jsm.streams.add({ name: 'JOBS', subjects: ['job.v1.*.*'], description: 'by hand' });
  await applyStreams(jsm, [INTAKE]);
  await js.publish('intake.v1.events', 'x'.repeat(5_000));
  const small = { ...INTAKE, maxBytes: 4_000 };
  const plans = await applyStreams(jsm, [JOBS, small]);
  expect(actions(plans)).toEqual(['blocked', 'blocked']);
  expect(plans[0]?.reason).toContain('retention');
  expect(plans[1]?.reason).toContain('bytes');
  expect((await jsm.streams.info('JOBS')).config.description).toBe('by hand');
  expect((await jsm.streams.info('INTAKE')).config.max_bytes).toBe(INTAKE.maxBytes);
  await expect(checkStreams(jsm, [small])).rejects.toThrow(/INTAKE .* max_bytes/);
});

test('applies at the same time all succeed', async () => {
  await using server = await startTestBroker();
  const brokers = await Promise.all(Array.from({ length: 5 }, () => server.connect()));
  await Promise.all(brokers.map(({ jsm }) => applyStreams(jsm, STREAMS)));
  const { jsm } = await server.connect();
  expect(actions(await planStreams(jsm, STREAMS))).toEqual(STREAMS.map(() => 'none'));
});

test('the ledger cannot be deleted from or purged; a used subject of FEEDS is refused', async () => {
  await using server = await startTestBroker();
  const { jsm, js } = await server.connect();
  await applyStreams(jsm, STREAMS);
  await js.publish('led.v1._.demo.r1.o1', '{}');
  await expect(jsm.streams.purge('LEDGER')).rejects.toThrow(JetStreamApiError);
  await expect(jsm.streams.deleteMessage('LEDGER', 1)).rejects.toThrow(JetStreamApiError);
  await js.publish('feed.v1.milestones.abc', '{}');
  await expect(js.publish('feed.v1.milestones.abc', '{}')).rejects.toThrow(/per subject/);
});

test('a message that nobody could handle leaves an advisory', async () => {
  await using server = await startTestBroker();
  const { jsm, js } = await server.connect();
  await applyStreams(jsm, STREAMS);
  await jsm.consumers.add('JOBS', { durable_name: 'w', ack_policy: 'explicit', max_deliver: 1 });
  await js.publish('job.v1.demo.default', '{}');
  const message = await (await js.consumers.get('JOBS', 'w')).next({ expires: 2_000 });
  message?.term('poison');
  await expect
    .poll(async () => (await jsm.streams.getMessage('ADVISORIES', { seq: 1 }))?.json())
    .toMatchObject({ stream: 'JOBS', consumer: 'w', stream_seq: 1, reason: 'poison' });
});

test('replicas are part of the declaration', async () => {
  await using server = await startTestBroker();
  const { jsm } = await server.connect();
  await applyStreams(jsm, [LEDGER]);
  const [plan] = await planStreams(jsm, streamsWithReplicas(3).slice(0, 1));
  expect(plan?.changes).toEqual([{ field: 'num_replicas', have: 1, want: 3 }]);
  const refused = await applyStreams(jsm, streamsWithReplicas(3)).catch((error: unknown) => error);
  expect(isAppError(refused, 'DEPENDENCY_UNAVAILABLE')).toBe(true);
  expect((refused as Error).message).toContain('LEDGER');
});

function actions(plans: { action: string }[]): string[] {
  return plans.map(({ action }) => action);
}
