import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, expect, test } from 'vitest';
import { ROLES } from '#libs/contracts';
import { waitFor } from '#libs/testing';
import { freshIds, startSystem, type System } from '../conformance/harness.ts';
import { type Answer, type Data, err, ok } from '../conformance/wire.ts';

// Nobody helps the system here but by stopping and starting the broker.

let system: System | undefined;
afterEach(async () => {
  await system?.[Symbol.asyncDispose]();
  system = undefined;
});

type Sent = { event_id: string; answer: Answer; duringOutage: boolean };

/** Appends one event after the other until it is told to stop; keeps every answer. */
function appendSteadily(to: System, isDown: () => boolean) {
  const ids = freshIds();
  const sent: Sent[] = [];
  let goesOn = true;
  const appending = (async () => {
    for (let count = 0; goesOn; count += 1) {
      const event_id = ids.event(count);
      const body = { event_id, type: 'UNIT_SIGNAL', theater_id: ids.theater, order_id: ids.order };
      const before = isDown();
      const answer = await to.call('http', 'ledger.append', body);
      // Down from the request to the answer: the outage alone decides what comes back.
      sent.push({ event_id, answer, duringOutage: before && isDown() });
      await sleep(10);
    }
  })();
  return {
    sent,
    stop: async () => {
      goesOn = false;
      await appending;
    },
  };
}

test('8.55 while the broker is away callers are told so, nothing is answered as stored, and all goes ' +
  'on by itself when it is back', { timeout: 120_000 }, async () => {
  const at = await startSystem({
    roles: ROLES,
    env: { IRONCLAW_JOB_LEASE_MS: '2000', IRONCLAW_LOCAL_MODEL_DELAY_MS: '1500' },
  });
  system = at;
  const { theater } = freshIds();
  const chat = (request_id: string) =>
    at.call('http', 'gateway.chat', {
      message: 'Build me a summary of the call.\nNora sends the contract on Monday.',
      theater_hint: theater,
      mode: 'async',
      request_id,
    });
  const before = ok(await chat('before')).run_id as string;
  let isDown = false;
  const traffic = appendSteadily(at, () => isDown);
  await waitFor(() => traffic.sent.length >= 10);

  // In the middle of the run: its order is with the model, whose answer will meet no broker.
  await waitFor(
    async () =>
      (await at.eventsOf({ run_id: before })).some(({ type }) => type === 'MODEL_CALL_STARTED'),
    { timeoutMs: 20_000 },
  );
  await at.testBroker.stop();
  isDown = true;
  const seen = traffic.sent.length;
  await waitFor(() => traffic.sent.length >= seen + 10, { timeoutMs: 20_000 });
  for (const [name, input] of [
    ['gateway.chat', { message: 'Build me a summary', mode: 'async', request_id: 'during' }],
    ['gateway.chat', { message: 'Build me a summary', mode: 'sync', wait_ms: 1_000 }],
    ['co.create-run', { objective: 'Build me a summary' }],
    ['vault.open-theater', { theater_id: freshIds().theater }],
  ] as const) {
    const startedAt = performance.now();
    const error = err(await at.call('http', name, input), 'DEPENDENCY_UNAVAILABLE', 503);
    expect(error.message, name).toMatch(/broker/i);
    expect(performance.now() - startedAt, `${name} is told at once`).toBeLessThan(5_000);
  }
  // What is known can still be read.
  expect(ok(await at.call('http', 'gateway.run', { run_id: before })).run_id).toBe(before);
  const health = (await at.call('http', 'gateway.health')).body.data as Data;
  expect(health).toMatchObject({ status: 'degraded', broker: 'disconnected' });
  isDown = false;
  await at.testBroker.restart();

  const during = await waitFor(
    async () => {
      const answer = await chat('during');
      return answer.body.ok ? (answer.body.data?.run_id as string) : undefined;
    },
    { timeoutMs: 20_000, intervalMs: 200 },
  );
  for (const run_id of [before, during]) {
    await waitFor(
      async () => ok(await at.call('http', 'gateway.run', { run_id })).status === 'COMPLETE',
      { timeoutMs: 60_000, intervalMs: 200 },
    );
    const events = (await at.eventsOf({ run_id })).map(({ type }) => type as string);
    for (const type of ['RUN_CREATED', 'ORDER_COMPLETED', 'INTEGRATED', 'RUN_COMPLETED']) {
      expect(
        events.filter((one) => one === type),
        `${type} of ${run_id}`,
      ).toHaveLength(1);
    }
  }
  const goneOn = traffic.sent.length;
  await waitFor(() => traffic.sent.slice(goneOn).some(({ answer }) => answer.body.ok));
  await traffic.stop();
  judge(traffic.sent, await storedIds(at));
});

/** Ids in the stream itself, each as often as it is there. */
async function storedIds(at: System): Promise<Map<string, number>> {
  const stored = new Map<string, number>();
  const consumer = await at.broker.js.consumers.get('LEDGER');
  const tail = await at.tail();
  const messages = await consumer.consume();
  for await (const message of messages) {
    const { event_id } = message.json<{ event_id: string }>();
    stored.set(event_id, (stored.get(event_id) ?? 0) + 1);
    if (message.seq >= tail) break;
  }
  return stored;
}

function judge(sent: readonly Sent[], stored: ReadonlyMap<string, number>): void {
  const down = sent.filter(({ duringOutage }) => duringOutage);
  expect(down.length).toBeGreaterThanOrEqual(5);
  for (const { answer } of down) err(answer, 'DEPENDENCY_UNAVAILABLE', 503);
  for (const { event_id, answer } of sent) {
    if (answer.body.ok) expect(stored.get(event_id), `${event_id} was acknowledged`).toBe(1);
    else err(answer, 'DEPENDENCY_UNAVAILABLE', 503);
    expect(stored.get(event_id) ?? 0).toBeLessThanOrEqual(1);
  }
}
