import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { waitFor } from '#libs/testing';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Io } from '../../apps/cli/io.ts';
import { run } from '../../apps/cli/program.ts';
import { freshIds, startSystem, type System } from './harness.ts';
import { serve } from './host.ts';
import { type Data, err, ok, WAYS } from './wire.ts';

// Outcomes come as events, as if units had reported them: what is learned depends on nothing else.

const PROFILES = { A: { model: 'model-a', temperature: 0.1 }, B: { model: 'model-b' } };
const TASKED = Object.fromEntries(
  Object.entries(PROFILES).map(([name, one]) => [name, { ...one, task_types: ['essay'] }]),
);
/** One step of type essay, meant for profile B. */
const book = (name: string, step: Data = {}) => ({
  name,
  version: 1,
  description: 'an essay',
  files: [],
  steps: [
    {
      key: 'write',
      type: 'essay',
      objective: '{{objective}}',
      profile: 'B',
      prompt: { system: 'Write.' },
      outputs: [{ path: 'outputs/{{run_id}}/essay.md' }],
      ...step,
    },
  ],
  reply: [{ step: 'write', path: 'outputs/{{run_id}}/essay.md' }],
});

let system: System;
let dir: string;
let env: Record<string, string>;
beforeAll(async () => {
  dir = await mkdtemp(path.join(tmpdir(), 'ironclaw-books-'));
  await writeFile(path.join(dir, 'essay.json'), JSON.stringify(book('essay')));
  const pinned = book('essay-pinned', { profile_pinned: true });
  await writeFile(path.join(dir, 'essay-pinned.json'), JSON.stringify(pinned));
  env = {
    IRONCLAW_PLAYBOOKS: dir,
    IRONCLAW_PROFILES: JSON.stringify(TASKED),
    IRONCLAW_LEARN_MS: '86400000',
    IRONCLAW_EXPLORATION: '0.2',
  };
  system = await startSystem({ roles: ['ledger', 'vault', 'co', 'learning'], env });
});
afterAll(async () => {
  await system?.[Symbol.asyncDispose]();
  await rm(dir, { recursive: true, force: true });
});

type Fate = { ok: boolean; ms: number; retries?: number; cost?: number };

/** The events of an order from its start to its end. */
function toEnd(at: Data, { ok: done, ms, retries = 0, cost = 0 }: Fate): Data[] {
  const events: Data[] = [];
  for (let attempt = 1; attempt <= retries + 1; attempt += 1) {
    events.push({ ...at, type: 'ORDER_STARTED', payload: { attempt } });
    if (attempt > retries) break;
    events.push(
      { ...at, type: 'ORDER_FAILED', payload: { attempt, code: 'MODEL_ERROR', message: 'no' } },
      { ...at, type: 'ORDER_REISSUED', payload: { attempt: attempt + 1, reason: 'again' } },
    );
  }
  const payload = { attempt: retries + 1, duration_ms: ms, cost_micro_usd: cost };
  const failure = { code: 'MODEL_ERROR', message: 'no', retryable: false };
  events.push(
    done
      ? { ...at, type: 'ORDER_COMPLETED', payload }
      : { ...at, type: 'ORDER_FAILED', payload: { ...payload, ...failure } },
  );
  return events;
}

const append = async (events: Data[]): Promise<void> => {
  ok(await system.call('http', 'ledger.append-batch', events));
};

/** Orders of one profile with these fates, none of them planned by anybody; gives their ids. */
async function feed(theater_id: string, profile: string, fates: Fate[]): Promise<Data[]> {
  const places = fates.map(() => {
    const { run: run_id, order: order_id } = freshIds();
    return { theater_id, run_id, order_id };
  });
  const events = places.flatMap((at, i) => [
    {
      ...at,
      type: 'ORDER_CREATED',
      payload: { type: 'essay', profile: { name: profile, model: `measured-${profile}` } },
    },
    ...toEnd(at, fates[i] as Fate),
  ]);
  await append(events);
  return places;
}

/** A: 9 of 10 completed, in 100 to 1 000 ms; B: 2 of 10, in 2 s each, with one retry each. */
async function feedBoth(theater: string): Promise<{ a: Data[]; b: Data[] }> {
  const tenths = Array.from({ length: 10 }, (_, i) => i);
  const a = await feed(
    theater,
    'A',
    tenths.map((i) => ({ ok: i < 9, ms: 100 * (i + 1), cost: 7 })),
  );
  const b = await feed(
    theater,
    'B',
    tenths.map((i) => ({ ok: i < 2, ms: 2_000, retries: 1 })),
  );
  return { a, b };
}

const cellOf = (policy: Data, profile: string): Data =>
  policy.cells.find((cell: Data) => cell.profile === profile && cell.task_type === 'essay');

async function createRun(theater_hint: string, more: Data = {}): Promise<string> {
  const input = { theater_hint, objective: 'Write an essay', playbook: 'essay', ...more };
  return ok(await system.call('http', 'co.create-run', input), 201).run_id;
}

/** Plans a run and gives its one order as it was created. */
async function plannedOrder(theater: string, more: Data = {}): Promise<Data> {
  const run_id = await createRun(theater, more);
  const { order_ids } = ok(await system.call('http', 'co.plan', { run_id }));
  const events = await system.eventsOf({ order_id: order_ids[0] });
  const created = events.find(({ type }) => type === 'ORDER_CREATED') as Data;
  return { run_id, order_id: order_ids[0], theater_id: theater, ...created.payload };
}

describe.each(WAYS)('learning over %s', (way) => {
  const call = async (name: string, input: Data = {}): Promise<Data> =>
    ok(await system.call(way, `learning.${name}`, input));
  const tick = async (theater_id: string): Promise<Data> => {
    const { theaters } = await call('tick', { theater_id });
    expect(theaters).toHaveLength(1);
    return theaters[0];
  };
  const updates = async (theater_id: string): Promise<Data[]> =>
    (await system.eventsOf({ theater_id })).filter(({ type }) => type === 'POLICY_UPDATED');

  test('8.51 rates, latency and retries of each profile; the better one is preferred', async () => {
    const { theater } = freshIds();
    await feedBoth(theater);
    const { policy, changed, reason } = await tick(theater);
    expect(changed).toBe(true);
    expect(cellOf(policy, 'A')).toMatchObject({
      orders: 10,
      attempts: 10,
      completed: 9,
      failed: 1,
      success_rate: 0.9,
      retries: 0,
      latency_ms: { p50: 500, p90: 900, p99: 1_000 },
      cost_micro_usd: 70,
    });
    expect(cellOf(policy, 'B')).toMatchObject({
      orders: 10,
      attempts: 20,
      completed: 2,
      failed: 8,
      success_rate: 0.2,
      retries: 10,
      latency_ms: { p50: 2_000, p90: 2_000, p99: 2_000 },
    });
    expect(policy.routes.essay.profile).toBe('A');
    expect(reason).toMatch(/A completed 9 of 10.*B completed 2 of 10.*A is preferred/);
    const [event, ...more] = await updates(theater);
    expect(more).toEqual([]);
    expect(event?.payload).toMatchObject({
      policy_version: 1,
      previous_version: null,
      window: policy.window,
      reason,
      document: { sha256: expect.stringMatching(/^[0-9a-f]{64}$/) },
    });
    expect(await call('policy', { theater_id: theater })).toMatchObject({ policy, pinned: false });
  });

  test('8.51 the next plans use it, but for a share that keeps measuring', async () => {
    const { theater } = freshIds();
    const before = await plannedOrder(theater, { playbook: 'essay-pinned' });
    expect(before).toMatchObject({ profile: { name: 'B', model: 'model-b' } });
    await feedBoth(theater);
    await tick(theater);
    const orders: Data[] = [];
    for (let n = 0; n < 30; n += 1) orders.push(await plannedOrder(theater));
    const followed = orders.filter(({ routing }) => !routing.explored);
    expect(followed.length).toBeGreaterThan(15);
    for (const { profile, routing } of followed) {
      expect(profile).toEqual({ name: 'A', model: 'model-a', temperature: 0.1 });
      expect(routing).toMatchObject({ profile: 'A', policy_version: 1 });
      expect(routing.reason).toContain('A is preferred');
    }
    const explored = orders.filter(({ routing }) => routing.explored);
    for (const { profile } of explored) expect(profile.name).toBe('B');
    const pinned = await plannedOrder(theater, { playbook: 'essay-pinned' });
    expect(pinned).toMatchObject({ profile: { name: 'B' }, routing: { policy_version: null } });
  });

  test('8.52 nothing new makes no new version, however often and however many ask', async () => {
    const { theater } = freshIds();
    await feedBoth(theater);
    const ticks = await Promise.all(Array.from({ length: 8 }, () => tick(theater)));
    expect(ticks.filter(({ changed }) => changed)).toHaveLength(1);
    const tail = await system.tail();
    const again = await tick(theater);
    expect(again).toMatchObject({ changed: false, policy: { version: 1 } });
    expect(again.reason).toContain('nothing new');
    expect(await system.tail()).toBe(tail);
    expect(await updates(theater)).toHaveLength(1);
  });

  test('8.52 no history at all: ok, and no recommendation', async () => {
    const { theater: theater_id } = freshIds();
    ok(await system.call('http', 'vault.open-theater', { theater_id }));
    expect(await tick(theater_id)).toMatchObject({ changed: false, policy: null });
    expect(await call('policy', { theater_id })).toMatchObject({ policy: null });
    expect((await call('history', { theater_id })).versions).toEqual([]);
    expect(await updates(theater_id)).toEqual([]);
    const unknown = await system.call(way, 'learning.tick', { theater_id: freshIds().theater });
    err(unknown, 'THEATER_NOT_FOUND', 404);
  });

  test('8.52 a correction lowers the score; a later good word takes it back', async () => {
    const { theater } = freshIds();
    const { a } = await feedBoth(theater);
    const first = (await tick(theater)).policy;
    const { theater_id, run_id } = a[0] as Data;
    const judge = (verdict: string) =>
      append([{ theater_id, run_id, type: 'FEEDBACK_RECORDED', payload: { verdict } }]);
    await judge('corrected');
    const second = (await tick(theater)).policy;
    expect(second).toMatchObject({ version: 2, previous_version: 1 });
    expect(cellOf(second, 'A')).toMatchObject({ completed: 9, corrected: 1, success_rate: 0.8 });
    expect(cellOf(second, 'A').score).toBeLessThan(cellOf(first, 'A').score);
    expect(cellOf(second, 'B')).toEqual(cellOf(first, 'B'));
    await judge('good');
    const third = (await tick(theater)).policy;
    expect(cellOf(third, 'A').score).toBe(cellOf(first, 'A').score);
    const { versions } = await call('history', { theater_id });
    expect(versions.map(({ version }: Data) => version)).toEqual([3, 2, 1]);
    expect(versions[2]).toMatchObject({ previous_version: null, window: first.window });
  });

  test('8.52 work that the gates refuse counts as failed', async () => {
    const { theater } = freshIds();
    const { a } = await feedBoth(theater);
    const refused = (a.slice(0, 3) as Data[]).map((at) => ({
      ...at,
      type: 'INTEGRATION_FAILED',
      payload: { gate: 'artifacts' },
    }));
    await append(refused);
    const { policy } = await tick(theater);
    expect(cellOf(policy, 'A')).toMatchObject({ completed: 6, failed: 4 });
  });

  test('a policy is pinned, unpinned, rolled back and compared', async () => {
    const { theater: theater_id } = freshIds();
    await feedBoth(theater_id);
    await tick(theater_id);
    const many = Array.from({ length: 60 }, () => ({ ok: true, ms: 10 }));
    await feed(theater_id, 'B', many);
    const two = (await tick(theater_id)).policy;
    expect(two).toMatchObject({ version: 2, routes: { essay: { profile: 'B' } } });
    const { changes } = await call('diff', { theater_id, from: 1, to: 2 });
    expect(changes).toContainEqual({ path: 'routes.essay.profile', before: 'A', after: 'B' });
    expect(changes).toContainEqual({ path: 'cells.essay.B.completed', before: 2, after: 62 });
    const by = 'ana';
    expect(await call('rollback', { theater_id, version: 1, by })).toMatchObject({
      pinned: false,
      policy: {
        version: 3,
        previous_version: 2,
        routes: { essay: { profile: 'A' } },
        reason: 'version 1 again, by ana',
      },
    });
    expect((await plannedOrders(theater_id)).every((name) => name === 'A')).toBe(true);
    expect(await tick(theater_id), 'nothing new').toMatchObject({ changed: false });

    expect(await call('pin', { theater_id, by })).toMatchObject({ pinned: true });
    const tail = await system.tail();
    expect(await call('pin', { theater_id, by })).toMatchObject({ pinned: true });
    expect(await system.tail()).toBe(tail);
    await feed(theater_id, 'B', [{ ok: true, ms: 10 }]);
    expect(await tick(theater_id)).toMatchObject({
      changed: false,
      pinned: true,
      reason: 'pinned at version 3',
    });
    expect(await call('pin', { theater_id, version: 2 })).toMatchObject({
      pinned: true,
      policy: { version: 4, routes: { essay: { profile: 'B' } } },
    });
    await call('pin', { theater_id, pinned: false });
    await feed(theater_id, 'B', [{ ok: true, ms: 10 }]);
    expect(await tick(theater_id)).toMatchObject({ changed: true, policy: { version: 5 } });
    const { versions } = await call('history', { theater_id });
    expect(versions).toHaveLength(5);
  });

  const plannedOrders = async (theater: string): Promise<string[]> => {
    const names: string[] = [];
    for (let n = 0; n < 5; n += 1) {
      const { profile, routing } = await plannedOrder(theater);
      if (!routing.explored) names.push(profile.name);
    }
    return names;
  };

  test.each<[string, Data, string]>([
    ['policy', {}, 'THEATER_NOT_FOUND'],
    ['history', {}, 'THEATER_NOT_FOUND'],
    ['pin', {}, 'THEATER_NOT_FOUND'],
    ['rollback', { version: 1 }, 'THEATER_NOT_FOUND'],
    ['rollback', { version: 0 }, 'INVALID_REQUEST'],
    ['diff', { from: 1, to: 2 }, 'THEATER_NOT_FOUND'],
    ['diff', { from: 'x', to: 2 }, 'INVALID_REQUEST'],
  ])('8.53 %s of nothing is refused', async (name, input, code) => {
    const { theater: theater_id } = freshIds();
    const answer = await system.call(way, `learning.${name}`, { theater_id, ...input });
    expect(err(answer).code).toBe(code);
  });

  test('8.53 a version that was never made is not found', async () => {
    const { theater: theater_id } = freshIds();
    await feedBoth(theater_id);
    const fault = async (name: string, input: Data): Promise<string> =>
      err(await system.call(way, `learning.${name}`, { theater_id, ...input }), undefined, 404)
        .code;
    expect(await fault('pin', { version: 1 })).toBe('POLICY_NOT_FOUND');
    await tick(theater_id);
    expect(await fault('rollback', { version: 2 })).toBe('POLICY_NOT_FOUND');
    expect(await fault('diff', { from: 1, to: 2 })).toBe('POLICY_NOT_FOUND');
  });
});

test('the command line shows, compares, pins and rolls back', async () => {
  const { theater } = freshIds();
  await feedBoth(theater);
  ok(await system.call('http', 'learning.tick', { theater_id: theater }));
  await feed(theater, 'A', [{ ok: true, ms: 50 }]);
  ok(await system.call('http', 'learning.tick', { theater_id: theater }));
  const cli = async (...args: string[]): Promise<{ code: number; text: string }> => {
    const lines: string[] = [];
    const write = (line: string) => void lines.push(line);
    const colours = { out: false, err: false };
    const io = { env: {}, out: write, err: write, colours } as unknown as Io;
    const url = system.url('gateway');
    const code = await run(['policy', ...args, '--theater', theater, '--url', url], io);
    return { code, text: lines.join('\n') };
  };
  const shown = await cli('show');
  expect(shown.code).toBe(0);
  expect(shown.text).toMatch(/version +2\n/);
  expect(shown.text).toMatch(/essay +A +preferred +11 +91 %/);
  expect((await cli('history')).text).toMatch(/^version.*\n2 .*\n1 /);
  expect((await cli('diff', '1', '2')).text).toMatch(/cells\.essay\.A\.orders +10 +11/);
  expect((await cli('pin', '--by', 'ana')).text).toContain('2, pinned');
  expect((await cli('unpin')).text).not.toContain('pinned');
  const back = await cli('rollback', '1', '--by', 'ana', '--json');
  expect(JSON.parse(back.text)).toMatchObject({ policy: { version: 3, previous_version: 2 } });
  expect(await cli('rollback', '9')).toMatchObject({ code: 1 });
  expect(await cli('rollback', 'x')).toMatchObject({ code: 2 });
});

test('three instances at once make one version; one that starts anew knows all', async () => {
  const own = { ...env, IRONCLAW_PORT: '0', IRONCLAW_STATE: system.stateDir };
  const settings = { ...own, IRONCLAW_GARRISON: 'test', NATS_URL: system.testBroker.url };
  const others = await Promise.all([serve(['learning'], settings), serve(['learning'], settings)]);
  try {
    const { theater: theater_id } = freshIds();
    await feedBoth(theater_id);
    const bases = [system.url('learning'), ...others.map(({ http }) => http?.url ?? '')];
    const ticks = await Promise.all(
      [...bases, ...bases].map(async (base) => {
        const response = await fetch(`${base.replace(/\/$/, '')}/learn/tick`, {
          method: 'POST',
          body: JSON.stringify({ theater_id }),
          headers: { 'content-type': 'application/json' },
        });
        return (await response.json()) as Data;
      }),
    );
    for (const { data } of ticks) expect(data.theaters[0].policy.version).toBe(1);
    expect(ticks.filter(({ data }) => data.theaters[0].changed)).toHaveLength(1);
    const events = await system.eventsOf({ theater_id });
    expect(events.filter(({ type }) => type === 'POLICY_UPDATED')).toHaveLength(1);
  } finally {
    for (const other of others) await other.close();
  }
});

test('the timer makes a policy without anybody asking', async () => {
  const { theater: theater_id } = freshIds();
  await feedBoth(theater_id);
  const settings = {
    ...env,
    IRONCLAW_LEARN_MS: '1000',
    IRONCLAW_PORT: '0',
    IRONCLAW_STATE: system.stateDir,
    IRONCLAW_GARRISON: 'test',
    NATS_URL: system.testBroker.url,
  };
  const other = await serve(['learning'], settings);
  try {
    const look = async (): Promise<Data | undefined> =>
      (await system.eventsOf({ theater_id })).find(({ type }) => type === 'POLICY_UPDATED');
    const { payload } = await waitFor(look, { timeoutMs: 10_000 });
    expect(payload.policy_version).toBe(1);
  } finally {
    await other.close();
  }
});

test('200 orders: routing turns to the better profile, and more succeed than by chance', async () => {
  // Order ids follow from these names, so the orders that explore are the same every time.
  const theater = 'routing_200';
  const QUALITY: Record<string, number> = { A: 0.85, B: 0.45 };
  /** 0 to 1, the same for the same order number. */
  const luck = (n: number): number => (n * 0.618_033_988_749) % 1;
  const rounds: { better: number; succeeded: number }[] = [];
  for (let round = 0; round < 10; round += 1) {
    let [better, succeeded] = [0, 0];
    for (let n = 0; n < 20; n += 1) {
      const request_id = `${theater}_${round}_${n}`;
      const { run_id, order_id, profile } = await plannedOrder(theater, { request_id });
      const good = luck(round * 20 + n) < (QUALITY[profile.name] ?? 0);
      await append(toEnd({ theater_id: theater, run_id, order_id }, { ok: good, ms: 50 }));
      if (profile.name === 'A') better += 1;
      if (good) succeeded += 1;
    }
    rounds.push({ better, succeeded });
    ok(await system.call('http', 'learning.tick', { theater_id: theater }));
  }
  const sum = (list: typeof rounds, key: 'better' | 'succeeded') =>
    list.reduce((total, one) => total + one[key], 0);
  const [early, late] = [rounds.slice(0, 2), rounds.slice(-3)];
  expect(sum(early, 'better') / 40).toBeLessThan(0.5);
  expect(sum(late, 'better') / 60).toBeGreaterThan(0.65);
  expect(sum(late, 'better'), 'it goes on measuring the other').toBeLessThan(60);
  // Uniform routing would have had 65 % succeed.
  expect(sum(rounds, 'succeeded')).toBeGreaterThan(0.65 * 200);
  expect(sum(late, 'succeeded') / 60).toBeGreaterThan(sum(early, 'succeeded') / 40);
}, 120_000);
