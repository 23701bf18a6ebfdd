import { rm } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { waitFor } from '#libs/testing';
import { freshIds, startSystem, type System } from './harness.ts';
import { type Data, ok } from './wire.ts';

// Check 16: the ledger as a process of its own, ended with SIGKILL.

let system: System;
beforeAll(async () => {
  system = await startSystem({ roles: [], separateProcesses: ['ledger'] });
});
afterAll(() => system?.[Symbol.asyncDispose]());

const call = (name: string, input?: unknown) => system.call('http', `ledger.${name}`, input);

/** Every GET answer of the ledger about what the tests wrote, as text. */
async function allAnswers(): Promise<string[]> {
  const at_least = await system.tail();
  const answers: string[] = [];
  const list = async (name: string, key: string, input: Data = {}): Promise<Data[]> => {
    const items: Data[] = [];
    let cursor: string | null = null;
    do {
      const page = await call(name, { at_least, limit: 7, ...input, ...(cursor && { cursor }) });
      answers.push(page.text);
      items.push(...ok(page)[key]);
      cursor = page.body.data?.next_cursor;
    } while (cursor !== null);
    return items;
  };
  const runs = await list('runs', 'runs');
  const orders = await list('orders', 'orders');
  const theaters = await list('theaters', 'theaters');
  const events = await list('events', 'events');
  await list('events', 'events', { order: 'asc' });
  await list('anomalies', 'anomalies');
  for (const { run_id } of runs) {
    answers.push((await call('run', { run_id })).text);
    await list('orders', 'orders', { run_id });
    await list('events', 'events', { run_id });
    await list('anomalies', 'anomalies', { run_id });
  }
  for (const { order_id } of orders) answers.push((await call('order', { order_id })).text);
  for (const { theater_id } of theaters) {
    answers.push((await call('theater', { theater_id })).text);
  }
  for (const { event_id } of events) answers.push((await call('event', { event_id })).text);
  expect(answers.length).toBeGreaterThan(50);
  return answers;
}

/** A little of everything: retries, zombies, illegal moves, artifacts, escalations, a second theater. */
async function writeHistory(): Promise<void> {
  for (const _ of [1, 2]) {
    const { theater: theater_id, run: run_id, order: order_id, unit: unit_id } = freshIds();
    const at = { theater_id, run_id, order_id, unit_id };
    const ofRun = { theater_id, run_id };
    const sha = 'a'.repeat(40);
    const events = [
      { type: 'RUN_CREATED', ...ofRun, payload: { objective: 'a history 🙂' } },
      { type: 'ORDER_CREATED', ...at, payload: { objective: 'one', type: 'draft' } },
      { type: 'ORDER_ENQUEUED', ...at, payload: { attempt: 1 } },
      { type: 'ORDER_CLAIMED', ...at, payload: { attempt: 1 } },
      { type: 'ORDER_STARTED', ...at, payload: { attempt: 1 } },
      { type: 'ORDER_BLOCKED', ...at, payload: { attempt: 1, reason: 'waits' } },
      { type: 'ORDER_FAILED', ...at, payload: { attempt: 1, code: 'TIMEOUT', message: 'late' } },
      { type: 'ORDER_COMPLETED', ...at, payload: { attempt: 1 } },
      { type: 'ORDER_REISSUED', ...at, payload: { attempt: 2 } },
      { type: 'ORDER_STARTED', ...at, payload: { attempt: 2 } },
      { type: 'ORDER_FAILED', ...at, payload: { attempt: 1 } },
      { type: 'ARTIFACT_WRITTEN', ...at, payload: { path: 'outputs/a.md', type: 'text/markdown' } },
      { type: 'AAR_WRITTEN', ...at, payload: { path: 'aar.json', status: 'completed' } },
      { type: 'ORDER_COMPLETED', ...at, payload: { attempt: 2, commit_sha: sha } },
      { type: 'ESCALATION_RAISED', ...at, payload: { severity: 'HIGH', reason: 'look' } },
      { type: 'INTEGRATION_STARTED', ...at, payload: {} },
      { type: 'RUN_COMPLETED', ...ofRun },
      { type: 'RUN_FAILED', ...ofRun },
      { type: 'PATROL_TICK' },
    ];
    for (const event of events) ok(await call('append', event), 201);
    const ids = freshIds();
    const batch = [1, 2, 3].map((n) => ({
      type: 'UNIT_SIGNAL',
      theater_id: ids.theater,
      order_id: ids.order,
      payload: { message: `signal ${n}` },
    }));
    ok(await call('append-batch', batch), 201);
  }
}

test('8.16 an event that was answered ok is there after kill -9', async () => {
  for (const round of [1, 2, 3]) {
    const { theater: theater_id, run: run_id, order: order_id, event } = freshIds();
    const body = {
      event_id: event(round),
      type: 'ORDER_STARTED',
      theater_id,
      run_id,
      order_id,
      payload: { attempt: 1 },
    };
    const { seq } = ok(await call('append', body), 201);
    await system.process('ledger').kill();
    await system.process('ledger').restart();
    const order = ok(await call('order', { order_id, at_least: seq }));
    expect(order).toMatchObject({ status: 'RUNNING', attempt: 1, run_id });
    expect(ok(await call('run', { run_id, at_least: seq }))).toMatchObject({ status: 'OPEN' });
    const again = ok(await call('append', body), 200);
    expect(again).toMatchObject({ seq, duplicate: true });
    expect(await system.eventsOf({ order_id })).toHaveLength(1);
  }
});

test('8.16 killed in the middle of writes, it has lost no ok and doubled nothing', async () => {
  const { theater: theater_id, order: order_id, event } = freshIds();
  const acked = new Set<string>();
  let sent = 0;
  const send = async (event_id: string): Promise<boolean> => {
    try {
      const answer = await call('append', { event_id, type: 'UNIT_SIGNAL', theater_id, order_id });
      if (answer.body.ok) acked.add(event_id);
      return answer.body.ok;
    } catch {
      return false; // the ledger is dead: no answer is no promise
    }
  };
  const client = async (): Promise<void> => {
    while (sent < 3_000) {
      sent += 1;
      if (!(await send(event(sent)))) return;
    }
  };
  const clients = Promise.all(Array.from({ length: 8 }, client));
  await waitFor(() => acked.size > 200);
  await system.process('ledger').kill();
  await clients;
  expect(acked.size, 'it died under way').toBeLessThan(3_000);
  await system.process('ledger').restart();
  const ids = (await stored(order_id)).map(({ event_id }) => event_id as string);
  expect(new Set(ids).size).toBe(ids.length);
  expect([...acked].filter((id) => !ids.includes(id))).toEqual([]);
  // Whatever was sent without an answer is sent again with the same ids, and is there once.
  for (let n = 1; n <= sent; n += 1) {
    if (!acked.has(event(n))) expect(await send(event(n))).toBe(true);
  }
  const all = (await stored(order_id)).map(({ event_id }) => event_id as string);
  expect(all.toSorted()).toEqual(Array.from({ length: sent }, (_, n) => event(n + 1)).toSorted());
});

async function stored(order_id: string): Promise<Data[]> {
  const at_least = await system.tail();
  const events: Data[] = [];
  let cursor: string | null = null;
  do {
    const input = { order_id, order: 'asc', limit: 1000, at_least, ...(cursor && { cursor }) };
    const page = ok(await call('events', input));
    events.push(...page.events);
    cursor = page.next_cursor;
  } while (cursor !== null);
  return events;
}

test('8.16 views that were deleted are built anew, byte for byte', async () => {
  await writeHistory();
  const before = await allAnswers();
  await system.process('ledger').kill();
  await rm(path.join(system.stateDir, 'views'), { recursive: true });
  await system.process('ledger').restart();
  expect(await allAnswers()).toEqual(before);
});

test('8.16 POST /views/rebuild changes no answer', async () => {
  await writeHistory();
  const before = await allAnswers();
  const { started } = ok(await call('rebuild-views'), 202);
  expect(started).toBe(true);
  await waitFor(async () => {
    const { views } = ok(await call('views'));
    return views.every(({ state, lag }: Data) => state === 'live' && lag === 0);
  });
  expect(await allAnswers()).toEqual(before);
});
