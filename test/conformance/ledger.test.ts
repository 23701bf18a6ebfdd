import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { freshIds, startSystem, type System } from './harness.ts';
import { type Data, err, ok, refused, WAYS } from './wire.ts';

let system: System;
beforeAll(async () => {
  system = await startSystem({ roles: ['ledger'] });
});
afterAll(() => system?.[Symbol.asyncDispose]());

describe.each(WAYS)('ledger over %s', (way) => {
  const call = (name: string, input?: unknown) => system.call(way, `ledger.${name}`, input);
  const append = async (event: Data): Promise<Data> => ok(await call('append', event));
  const order = async (order_id: string): Promise<Data> =>
    ok(await call('order', { order_id, at_least: await system.tail() }));
  const run = async (run_id: string): Promise<Data> =>
    ok(await call('run', { run_id, at_least: await system.tail() }));

  /** Base fields of the seed's example, with fresh ids. */
  const base = () => {
    const ids = freshIds();
    const { theater: theater_id, run: run_id, order: order_id, unit: unit_id } = ids;
    return { ids, at: { garrison_id: 'test', theater_id, run_id, order_id, unit_id } };
  };
  const ofRun = (at: Data) => ({ ...at, order_id: null, unit_id: null });

  test('8.1 GET /health answers ok within a second', async () => {
    const began = performance.now();
    const data = ok(await call('health'), 200);
    expect(performance.now() - began).toBeLessThan(1_000);
    expect(data).toMatchObject({ role: 'ledger', status: 'ok', broker: 'connected' });
  });

  test('8.2 the example of the contract is taken as it stands', async () => {
    const { ids, at } = base();
    const event = { type: 'ORDER_STARTED', ...at, payload: { attempt: 1 } };
    const stored = ok(await call('append', event), 201);
    expect(stored.event_id).toMatch(/^[A-Za-z0-9_-]+$/);
    expect(stored.ts).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/);
    expect(Math.abs(Date.parse(stored.ts) - Date.now())).toBeLessThan(10_000);
    expect(stored.duplicate).toBe(false);
    expect(await order(ids.order)).toMatchObject({
      status: 'RUNNING',
      attempt: 1,
      unit_id: ids.unit,
      run_id: ids.run,
      theater_id: ids.theater,
    });
    expect(await run(ids.run)).toMatchObject({ status: 'OPEN', order_ids: [ids.order] });
    const [read] = await system.eventsOf({ order_id: ids.order });
    expect(read).toEqual({ ...event, event_id: stored.event_id, ts: stored.ts, seq: stored.seq });
  });

  test('a filter by a type that is not registered, and a sequence beyond the stream, are told', async () => {
    const unknown = err(await call('events', { type: 'BOGUS' }), 'UNKNOWN_EVENT_TYPE', 400);
    expect(unknown.field).toBe('type');
    for (const type of ['ORDER CLAIMED', 'WORKTREE_Removed']) ok(await call('events', { type }));
    const far = err(await call('events', { at_least: 99_999_999 }), 'INVALID_REQUEST', 400);
    expect(far.field).toBe('at_least');
  });

  test('8.3 the same event_id twice is stored once', async () => {
    const { ids, at } = base();
    const event = {
      event_id: ids.event(1),
      type: 'ARTIFACT_WRITTEN',
      ...at,
      payload: { attempt: 1, path: 'outputs/a.txt', type: 'text/plain' },
    };
    const first = ok(await call('append', event), 201);
    const before = await order(ids.order);
    const again = ok(await call('append', event), 200);
    expect(again).toEqual({ ...first, duplicate: true });
    expect(await system.eventsOf({ order_id: ids.order })).toHaveLength(1);
    const { as_of: _one, ...view } = before;
    expect(await order(ids.order)).toMatchObject(view);
    const reads = await system.call(way, 'ledger.event', { event_id: ids.event(1) });
    expect(ok(reads)).toMatchObject({ event_id: ids.event(1), seq: first.seq });
  });

  test('8.4 an event_id with another content is a conflict and the first stays', async () => {
    const { ids, at } = base();
    const event = { event_id: ids.event(1), type: 'ORDER_STARTED', ...at, payload: { attempt: 1 } };
    const { seq } = await append(event);
    const others = [
      { ...event, type: 'ORDER_COMPLETED' },
      { ...event, payload: { attempt: 2 } },
      { ...event, payload: {} },
      { ...event, unit_id: null },
      { ...event, ts: '2026-01-14T16:21:00Z' },
      { ...event, order_id: freshIds().order },
      { ...event, run_id: freshIds().run },
      { ...event, theater_id: freshIds().theater },
    ];
    for (const other of others) {
      const error = err(await call('append', other), 'EVENT_ID_CONFLICT', 409);
      expect(error.message).toContain(String(seq));
    }
    const fresh = { ...event, event_id: ids.event(2) };
    const batch = [fresh, { ...event, unit_id: null }];
    err(await call('append-batch', batch), 'EVENT_ID_CONFLICT', 409);
    refused(await call('append-batch', [fresh, { ...fresh, unit_id: null }]), 'INVALID_REQUEST');
    expect(await order(ids.order)).toMatchObject({ status: 'RUNNING', attempt: 1 });
    expect(await system.eventsOf({ order_id: ids.order })).toHaveLength(1);
  });

  const report = () => {
    const { ids, at } = base();
    const events = [
      { type: 'ORDER_STARTED', payload: { attempt: 1 } },
      {
        type: 'ARTIFACT_WRITTEN',
        payload: { path: 'outputs/model_output.txt', type: 'text/plain' },
      },
      { type: 'AAR_WRITTEN', payload: { path: 'aar.json' } },
      { type: 'ORDER_COMPLETED', payload: {} },
    ].map((event, index) => ({ event_id: ids.event(index), ...at, ...event }));
    return { ids, events };
  };

  test('8.5 a batch of a worker makes a completed order', async () => {
    const { ids, events } = report();
    const { events: stored } = ok(await call('append-batch', { events }), 201);
    expect(stored.map((one: Data) => one.event_id)).toEqual(events.map((one) => one.event_id));
    const seqs = stored.map((one: Data) => one.seq);
    expect(seqs).toEqual([...seqs].sort((a, b) => a - b));
    const view = await order(ids.order);
    expect(view).toMatchObject({ status: 'COMPLETED', aar: { path: 'aar.json' } });
    expect(view.artifacts).toEqual([{ path: 'outputs/model_output.txt', type: 'text/plain' }]);
    expect(Date.parse(view.started_at)).toBeLessThanOrEqual(Date.parse(view.finished_at));
  });

  test('8.6 the same batch again changes nothing', async () => {
    const { ids, events } = report();
    const first = ok(await call('append-batch', events), 201);
    const before = await order(ids.order);
    const again = ok(await call('append-batch', { events }), 200);
    expect(again.events).toEqual(first.events.map((one: Data) => ({ ...one, duplicate: true })));
    const after = await order(ids.order);
    expect({ ...after, as_of: 0 }).toEqual({ ...before, as_of: 0 });
    expect(await system.eventsOf({ order_id: ids.order })).toHaveLength(events.length);
  });

  test('8.6 a batch of which a part was stored before adds the rest once', async () => {
    const { ids, events } = report();
    ok(await call('append', events[0]), 201);
    const { events: stored } = ok(await call('append-batch', events), 201);
    expect(stored.map((one: Data) => one.duplicate)).toEqual([true, false, false, false]);
    expect(await system.eventsOf({ order_id: ids.order })).toHaveLength(4);
    expect(await order(ids.order)).toMatchObject({ status: 'COMPLETED', anomalies: 0 });
  });

  test('8.7 a batch with one bad event stores none of them and names it', async () => {
    const { ids, events } = report();
    const { type: _type, ...bad } = events[1] as Data;
    const before = await system.tail();
    const error = refused(await call('append-batch', [events[0], bad, events[2]]));
    expect(error.field).toMatch(/^events\[1\]/);
    expect(await system.tail()).toBe(before);
    err(await call('order', { order_id: ids.order }), 'ORDER_NOT_FOUND', 404);
  });

  test('8.8 an empty batch is nothing to do', async () => {
    expect(ok(await call('append-batch', { events: [] }), 200)).toEqual({ events: [] });
    expect(ok(await call('append-batch', []), 200)).toEqual({ events: [] });
  });

  test('8.10 unknown runs, orders, events and theaters are 404', async () => {
    const { run: run_id, order: order_id, theater: theater_id } = freshIds();
    err(await call('run', { run_id }), 'RUN_NOT_FOUND', 404);
    err(await call('order', { order_id }), 'ORDER_NOT_FOUND', 404);
    err(await call('event', { event_id: order_id }), 'EVENT_NOT_FOUND', 404);
    err(await call('theater', { theater_id }), 'THEATER_NOT_FOUND', 404);
  });

  test('8.11 a completed order is not reopened by a late start, whatever its time says', async () => {
    const { ids, at } = base();
    const completed = { type: 'ORDER_COMPLETED', ...at, payload: { attempt: 1 } };
    await append({ ...completed, ts: '2026-01-14T16:21:00Z' });
    await append({ type: 'ORDER_STARTED', ...at, payload: { attempt: 1 } });
    const later = { type: 'ORDER_STARTED', ...at, payload: { attempt: 1 } };
    await append({ ...later, ts: '2099-01-01T00:00:00Z' });
    const view = await order(ids.order);
    expect(view).toMatchObject({ status: 'COMPLETED', attempt: 1, anomalies: 2 });
    const listed = ok(await call('anomalies', { order_id: ids.order }));
    expect(listed.anomalies).toHaveLength(2);
  });

  test('8.12 only a reissue brings a failed order back, and it fences the attempt before', async () => {
    const { ids, at } = base();
    const next = async (type: string, payload: Data = {}): Promise<Data> => {
      await append({ type, ...at, payload });
      return order(ids.order);
    };
    await next('ORDER_STARTED', { attempt: 1 });
    expect(await next('ORDER_FAILED', { attempt: 1 })).toMatchObject({ status: 'FAILED' });
    expect(await next('ORDER_COMPLETED', { attempt: 1 })).toMatchObject({ status: 'FAILED' });
    expect(await next('ORDER_REISSUED')).toMatchObject({ status: 'QUEUED', attempt: 2 });
    const started = await next('ORDER_STARTED', { attempt: 2 });
    expect(started).toMatchObject({ status: 'RUNNING', attempt: 2 });
    const late = await next('ORDER_FAILED', { attempt: 1 });
    expect(late).toMatchObject({ status: 'RUNNING', attempt: 2 });
    const zombie = await next('ORDER_COMPLETED', { attempt: 1 });
    expect(zombie).toMatchObject({ status: 'RUNNING', attempt: 2 });
    expect(await next('ORDER_COMPLETED', { attempt: 2 })).toMatchObject({ status: 'COMPLETED' });
  });

  const TYPES = [
    'RUN_CREATED RUN_UPDATED RUN_COMPLETED RUN_FAILED RUN_CANCELLED',
    'ORDER_CREATED ORDER_ENQUEUED ORDER_CLAIMED ORDER_STARTED ORDER_BLOCKED ORDER_COMPLETED',
    'ORDER_FAILED ORDER_REISSUED ORDER_CANCELLED WORKTREE_CREATED WORKTREE_READY',
    'WORKTREE_ARCHIVED WORKTREE_REMOVED ARTIFACT_WRITTEN AAR_WRITTEN INTEGRATION_READY',
    'INTEGRATION_STARTED INTEGRATION_PASSED INTEGRATION_FAILED INTEGRATED ESCALATION_RAISED',
    'ESCALATION_ACKED RECOVERY_REQUIRED RECOVERY_STARTED RECOVERY_COMPLETED PATROL_TICK',
    'SERVICE_DEGRADED SERVICE_RECOVERED POLICY_UPDATED',
  ].flatMap((line) => line.split(' '));

  test('8.13 each of the 33 event types, and POLICY_UPDATED, is taken', async () => {
    expect(new Set(TYPES).size).toBe(34);
    for (const type of TYPES) {
      const { ids, at } = base();
      const { seq } = ok(await call('append', { type, ...at }), 201);
      const [event] = await system.eventsOf({ order_id: ids.order });
      expect(event).toMatchObject({ seq, type, ...at, payload: {} });
    }
  });

  test.each([
    ['ORDER CLAIMED', 'ORDER_CLAIMED'],
    ['WORKTREE_Removed', 'WORKTREE_REMOVED'],
  ])('8.13 the printed name %s is read as %s', async (printed, meant) => {
    const { ids, at } = base();
    await append({ type: printed, ...at });
    expect(await system.eventsOf({ order_id: ids.order })).toMatchObject([{ type: meant }]);
  });

  test('8.14 a run opens, changes, and ends once', async () => {
    const { ids, at } = base();
    const next = async (type: string, payload: Data = {}): Promise<Data> => {
      await append({ type, ...ofRun(at), payload });
      return run(ids.run);
    };
    const created = await next('RUN_CREATED', { objective: 'first', user_id: 'u_123' });
    expect(created).toMatchObject({ status: 'OPEN', objective: 'first', ended_at: null });
    const updated = await next('RUN_UPDATED', { objective: 'second' });
    expect(updated).toMatchObject({ status: 'OPEN', objective: 'second' });
    expect(await next('RUN_COMPLETED')).toMatchObject({ status: 'COMPLETE' });
    const ended = await run(ids.run);
    expect(ended.ended_at).toMatch(/Z$/);
    const late = await next('RUN_FAILED', { reason: 'too late' });
    expect(late).toMatchObject({ status: 'COMPLETE', ended_at: ended.ended_at });
    expect(await next('RUN_CANCELLED')).toMatchObject({ status: 'COMPLETE' });
  });

  test.each([
    ['RUN_FAILED', 'FAILED'],
    ['RUN_CANCELLED', 'CANCELLED'],
  ])('8.14 %s on a fresh run makes it %s', async (type, status) => {
    const { ids, at } = base();
    await append({ type: 'RUN_CREATED', ...ofRun(at) });
    await append({ type, ...ofRun(at) });
    expect(await run(ids.run)).toMatchObject({ status });
    const lone = base();
    await append({ type, ...ofRun(lone.at) });
    expect(await run(lone.ids.run)).toMatchObject({ status });
  });

  test('8.15 a patrol tick belongs to no run and no order', async () => {
    const tick = { type: 'PATROL_TICK', garrison_id: 'test', run_id: null, order_id: null };
    const { event_id } = ok(await call('append', { ...tick, unit_id: null, payload: {} }), 201);
    const at_least = await system.tail();
    const found = ok(await call('event', { event_id, at_least }));
    expect(found).toMatchObject({ ...tick, theater_id: null });
  });

  test('8.17 50 clients post the same event_id at once: one is stored', async () => {
    const { ids, at } = base();
    const event = {
      event_id: ids.event(1),
      type: 'ORDER_STARTED',
      ...at,
      ts: '2026-01-14T16:21:00Z',
      payload: { attempt: 1 },
    };
    const answers = await Promise.all(Array.from({ length: 50 }, () => call('append', event)));
    const stored = answers.map((answer) => ok(answer));
    expect(stored.filter(({ duplicate }) => !duplicate)).toHaveLength(1);
    expect(new Set(stored.map(({ seq }) => seq)).size).toBe(1);
    expect(await system.eventsOf({ order_id: ids.order })).toHaveLength(1);
  });

  test('8.17 50 clients post different facts under one event_id: one wins, 49 conflict', async () => {
    const { ids, at } = base();
    const answers = await Promise.all(
      Array.from({ length: 50 }, (_, index) =>
        call('append', {
          event_id: ids.event(1),
          type: 'UNIT_SIGNAL',
          ...at,
          payload: { message: `client ${index}` },
        }),
      ),
    );
    const wins = answers.filter(({ body }) => body.ok);
    expect(wins).toHaveLength(1);
    for (const answer of answers) {
      if (!answer.body.ok) err(answer, 'EVENT_ID_CONFLICT', 409);
    }
    expect(await system.eventsOf({ order_id: ids.order })).toHaveLength(1);
  });
});
