import { type ReceiverMode, startReceiver, waitFor } from '#libs/testing';
import { expect, test, vi } from 'vitest';
import { decideDiscard, decideRedrive, evolveDelivery } from './delivery.ts';
import { emitMilestone } from './emit.ts';
import { emitMany, ledgerOf, milestone, rowsOf, startLab, waitLedger } from './testdata/lab.ts';

vi.setConfig({ testTimeout: 120_000 });

const now = new Date();

test('C.72 three answers of 503 are the end at three attempts; body kept, redrive possible', async () => {
  await using lab = await startLab();
  await using receiver = await startReceiver();
  receiver.setMode({ kind: 'status', status: 503 });
  const outbox = await lab.start({ far: receiver.url }, { attemptsMax: 3 });
  await emitMany(outbox, ['far'], 1, 1);
  await waitLedger(outbox, 'far', { dead: 1, retrying: 0 });
  expect(receiver.requests()).toHaveLength(3);
  const [row] = rowsOf(outbox, 'far');
  expect(row).toMatchObject({ state: 'dead', attempts: 3 });
  expect(row?.last_error).toMatch(/^HTTP 503/);

  const stored = await outbox.store.find(row?.delivery_id ?? '');
  if (stored === undefined) throw new Error('the dead delivery is gone');
  expect(JSON.parse(stored.delivery.body ?? '')).toMatchObject({ event: { milestoneId: 'm-1' } });
  receiver.setMode({ kind: 'take' });
  const event = decideRedrive(stored.delivery, now);
  if (event === undefined) throw new Error('it cannot be redriven');
  await outbox.store.replace(evolveDelivery(stored.delivery, event, stored.seq), stored.seq);
  await waitLedger(outbox, 'far', { dead: 0, delivered: 1 });
  // The very same bytes.
  expect(new Set(receiver.requests().map(({ body }) => body)).size).toBe(1);
});

const OUTAGE_REQUESTS = 6;
const OUTAGES: ReceiverMode[] = [{ kind: 'status', status: 503 }, { kind: 'hang_up' }];

test.each(OUTAGES)(
  'C.73 an outage ($kind) makes nothing dead: all arrive once after it',
  async (outage) => {
    await using lab = await startLab();
    await using receiver = await startReceiver();
    receiver.script(...Array<ReceiverMode>(OUTAGE_REQUESTS).fill(outage));
    const outbox = await lab.start({ far: receiver.url });
    const keys = await emitMany(outbox, ['far'], 1, 10);
    await waitLedger(outbox, 'far', { delivered: 10, pending: 0, retrying: 0 });
    expect(ledgerOf(outbox, 'far')).toMatchObject({ dead: 0, rejected: 0, duplicate: 0 });
    // The outage is the target's: few deliveries are used to find out whether it is over.
    const asked = receiver.requests().slice(0, OUTAGE_REQUESTS);
    expect(new Set(asked.map(({ key }) => key)).size).toBeLessThanOrEqual(4);
    expect(receiver.taken().toSorted()).toEqual(keys.toSorted());
  },
);

test.each([429, 408])('C.74 %i is tried again', async (status) => {
  await using lab = await startLab();
  await using receiver = await startReceiver();
  receiver.script({ kind: 'status', status, retryAfter: '0' });
  const outbox = await lab.start({ far: receiver.url });
  await emitMany(outbox, ['far'], 1, 1);
  await waitLedger(outbox, 'far', { delivered: 1 });
  expect(receiver.requests()).toHaveLength(2);
});

test('C.74 Retry-After is honoured for the whole target', async () => {
  await using lab = await startLab();
  await using receiver = await startReceiver();
  receiver.setMode({ kind: 'status', status: 429, retryAfter: '3600' });
  const outbox = await lab.start({ far: receiver.url }, { maxMs: 86_400_000 });
  await emitMany(outbox, ['far'], 1, 3);
  await waitLedger(outbox, 'far', { retrying: 1, pending: 2 });
  const row = rowsOf(outbox, 'far').find(({ state }) => state === 'retrying');
  const waits = Date.parse(row?.next_attempt_at ?? '') - Date.parse(row?.last_attempt_at ?? '');
  expect(waits).toBe(3_600_000);
  expect(receiver.requests()).toHaveLength(1);
});

test.each([400, 401, 403, 409, 413, 301])(
  'C.75 %i is final, with the status in last_error',
  async (status) => {
    await using lab = await startLab();
    await using receiver = await startReceiver();
    const reason = '{"ok":false,"status":"rejected","reason":"invalid signature"}';
    receiver.script({ kind: 'status', status, body: reason });
    const outbox = await lab.start({ far: receiver.url });
    await emitMany(outbox, ['far'], 1, 2);
    await waitLedger(outbox, 'far', { rejected: 1, delivered: 1 });
    const row = rowsOf(outbox, 'far').find(({ state }) => state === 'rejected');
    expect(row).toMatchObject({ attempts: 1, last_error: `HTTP ${status}: ${reason}` });
    expect(row?.body_bytes).toBeGreaterThan(0);
    expect(receiver.requests()).toHaveLength(2);
  },
);

test('C.76 an answer that was lost is asked for again under the same key, and ends as duplicate', async () => {
  await using lab = await startLab();
  await using receiver = await startReceiver();
  receiver.script({ kind: 'take_then_hang_up' });
  const outbox = await lab.start({ far: receiver.url });
  const [key] = await emitMany(outbox, ['far'], 1, 1);
  await waitLedger(outbox, 'far', { duplicate: 1, retrying: 0 });
  expect(receiver.taken()).toEqual([key]);
  expect(receiver.requests().map((one) => one.key)).toEqual([key, key]);
});

test('C.77 500 that wait survive restarts of broker and outbox and are delivered in order', async () => {
  await using lab = await startLab();
  await using receiver = await startReceiver();
  const first = await lab.start({});
  const keys = await emitMany(first, ['far'], 1, 500);
  await lab.stop(first);
  await lab.testBroker.restart();
  await waitFor(() => lab.broker.isConnected(), { timeoutMs: 20_000 });
  const outbox = await lab.start({ far: receiver.url });
  await waitLedger(outbox, 'far', { delivered: 500, pending: 0 });
  expect(receiver.requests().map(({ key }) => key)).toEqual(keys);
});

test('C.78 a wrong event is refused with code and field, and nothing is queued', async () => {
  await using lab = await startLab();
  const outbox = await lab.start({});
  const bad = { ...milestone(1), riskStatus: 'red' };
  await expect(
    emitMilestone(bad, { store: outbox.store, targets: ['far'], now }),
  ).rejects.toMatchObject({ code: 'INVALID_REQUEST', field: 'event.riskStatus' });
  const { state } = await lab.broker.jsm.streams.info('OUTBOX');
  expect(state.messages).toBe(0);
});

test('C.80 five emits make exactly five requests, and all are delivered', async () => {
  await using lab = await startLab();
  await using receiver = await startReceiver();
  const outbox = await lab.start({ far: receiver.url });
  const keys = await Promise.all(
    [1, 2, 3, 4, 5].map((number) => emitMany(outbox, ['far'], number, number)),
  );
  await waitLedger(outbox, 'far', { delivered: 5, pending: 0 });
  expect(receiver.requests()).toHaveLength(5);
  expect(new Set(receiver.taken())).toEqual(new Set(keys.flat()));
});

test('the same event emitted again is the same delivery, whatever the order of its members', async () => {
  await using lab = await startLab();
  await using receiver = await startReceiver();
  const outbox = await lab.start({ far: receiver.url });
  const { store } = outbox;
  const first = await emitMilestone(milestone(1), { store, targets: ['far'], now });
  await waitLedger(outbox, 'far', { delivered: 1 });
  const turned = Object.fromEntries(Object.entries(milestone(1)).toReversed());
  const again = await emitMilestone(turned, { store, targets: ['far', 'near'], now });
  expect(again.idempotency_key).toBe(first.idempotency_key);
  expect(again.deliveries).toMatchObject([
    { target: 'far', duplicate: true, state: 'delivered' },
    { target: 'near', duplicate: false, state: 'pending' },
  ]);
  expect(receiver.requests()).toHaveLength(1);
});

test('a full outbox refuses what is new, keeps what waits, and goes on once that is delivered', async () => {
  await using lab = await startLab(64 * 1024);
  await using receiver = await startReceiver();
  const idle = await lab.start({});
  let queued = 0;
  const fill = async (): Promise<void> => {
    for (;;) {
      await emitMany(idle, ['far'], queued + 1, queued + 1);
      queued += 1;
    }
  };
  await expect(fill()).rejects.toMatchObject({
    code: 'DEPENDENCY_UNAVAILABLE',
    message: expect.stringContaining('takes no more'),
  });
  expect(queued).toBeGreaterThan(10);
  await waitLedger(idle, 'far', { pending: queued });
  const outbox = await lab.start({ far: receiver.url });
  await waitLedger(outbox, 'far', { delivered: queued, pending: 0 });
  // Records of what was taken have no body: there is room again.
  await emitMany(outbox, ['far'], queued + 1, queued + 1);
  await waitLedger(outbox, 'far', { delivered: queued + 1 });
});

test('a target that does not answer holds up no other', async () => {
  await using lab = await startLab();
  await using slow = await startReceiver();
  await using quick = await startReceiver();
  slow.setMode({ kind: 'hang' });
  const outbox = await lab.start({ slow: slow.url, quick: quick.url });
  await emitMany(outbox, ['slow', 'quick'], 1, 20);
  await waitLedger(outbox, 'quick', { delivered: 20 });
  expect(ledgerOf(outbox, 'slow')).toMatchObject({ delivered: 0, dead: 0 });
});

test('an event that always fails is passed by those that do not', async () => {
  await using lab = await startLab();
  await using receiver = await startReceiver();
  let poison: string | undefined;
  receiver.forKey((key) => {
    poison ??= key;
    return key === poison ? { kind: 'status', status: 500 } : undefined;
  });
  const outbox = await lab.start({ far: receiver.url }, { attemptsMax: 10_000 });
  const keys = await emitMany(outbox, ['far'], 1, 10);
  await waitLedger(outbox, 'far', { delivered: 9, retrying: 1 });
  expect(receiver.taken()).toEqual(keys.filter((key) => key !== poison));
});

test('two outboxes on one broker deliver each event once', async () => {
  await using lab = await startLab();
  await using receiver = await startReceiver();
  const one = await lab.start({ far: receiver.url });
  const two = await lab.start({ far: receiver.url });
  const keys = await emitMany(one, ['far'], 1, 50);
  await waitLedger(two, 'far', { delivered: 50, pending: 0 });
  expect(receiver.requests().map(({ key }) => key)).toEqual(keys);
  // The one that goes gives its lanes to the other.
  await lab.stop(one);
  await emitMany(two, ['far'], 51, 60);
  await waitLedger(two, 'far', { delivered: 60, pending: 0 });
  expect(receiver.requests()).toHaveLength(60);
});

test('what is discarded is not sent any more', async () => {
  await using lab = await startLab();
  await using receiver = await startReceiver();
  receiver.setMode({ kind: 'status', status: 503, retryAfter: '3600' });
  const outbox = await lab.start({ far: receiver.url }, { maxMs: 86_400_000 });
  await emitMany(outbox, ['far'], 1, 1);
  await waitLedger(outbox, 'far', { retrying: 1 });
  const [row] = rowsOf(outbox, 'far');
  const stored = await outbox.store.find(row?.delivery_id ?? '');
  const event = stored && decideDiscard(stored.delivery, now);
  if (stored === undefined || event === undefined) throw new Error('it cannot be discarded');
  await outbox.store.replace(evolveDelivery(stored.delivery, event, stored.seq), stored.seq);
  await waitLedger(outbox, 'far', { retrying: 0, discarded: 1 });
  expect(receiver.requests()).toHaveLength(1);
});
