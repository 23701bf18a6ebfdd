import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import {
  canonicalize,
  checkWindow,
  SIGNATURE_HEADER,
  signingSecret,
  TIMESTAMP_HEADER,
  verifySignature,
} from '#libs/signing';
import { type ReceivedRequest, startReceiver, type TestReceiver, waitFor } from '#libs/testing';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { runCli } from './cli.ts';
import { freshIds, startSystem, type System } from './harness.ts';
import { serve } from './host.ts';
import { type Data, err, ok, WAYS } from './wire.ts';

vi.setConfig({ testTimeout: 120_000 });

const SECRET = 'a secret of this test';
const LONG = { timeoutMs: 60_000 };

let far: TestReceiver;
let partner: TestReceiver;
let shared: TestReceiver;
let system: System;
let folder: string;
let env: Record<string, string>;

beforeAll(async () => {
  far = await startReceiver();
  partner = await startReceiver();
  shared = await startReceiver();
  folder = await mkdtemp(path.join(tmpdir(), 'ironclaw-outbox-test-'));
  env = {
    // A line break at its end, as files have one, is no part of it.
    MILESTONE_SIGNING_SECRET: `${SECRET}\n`,
    PARTNER_SECRET: 'another',
    IRONCLAW_TARGETS: JSON.stringify({
      far: { url: far.url },
      partner: { url: partner.url, secret_env: 'PARTNER_SECRET', signature: 'bound' },
      feed: { url: shared.url },
      mute: { url: far.url, secret_env: 'NOT_SET' },
    }),
    IRONCLAW_MILESTONE_TARGETS: 'feed',
    IRONCLAW_DEMAND_TARGETS: 'feed',
    IRONCLAW_DEMAND_MS: '100',
    IRONCLAW_DELIVERY_FIRST_MS: '20',
    IRONCLAW_DELIVERY_MAX_MS: '200',
  };
  system = await startSystem({ roles: ['ledger', 'outbox', 'gateway'], env });
});
afterAll(async () => {
  await system?.[Symbol.asyncDispose]();
  await far?.[Symbol.asyncDispose]();
  await partner?.[Symbol.asyncDispose]();
  await shared?.[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

const event = (milestoneId: string, more: Data = {}): Data => ({
  milestoneId,
  timestampUtc: '2026-03-01T10:00:00.000Z',
  scope: 'runtime',
  claim: 'it works',
  evidence: [{ type: 'log', path: 'runs/r1', summary: 'seen' }],
  riskStatus: 'on-track',
  nextAction: 'go on',
  source: 'agent',
  ...more,
});
const freshEvent = (more: Data = {}): Data => event(freshIds().event('m'), more);

const requestsOf = (receiver: TestReceiver, id: string): ReceivedRequest[] =>
  receiver.requests().filter(({ body }) => body.includes(JSON.stringify(id)));

/** Which kind of signature the two headers of a request hold. */
function signatureOf(
  { headers, body }: ReceivedRequest,
  secret: string,
  channel: 'milestones' | 'demand',
) {
  const timestamp = String(headers[TIMESTAMP_HEADER]);
  expect(checkWindow(timestamp, Date.now())).toMatchObject({ ok: true });
  const signed = { channel, timestamp, canonical: canonicalize(JSON.parse(body)) };
  return verifySignature([signingSecret(secret)], signed, String(headers[SIGNATURE_HEADER]))?.mode;
}

describe.each(WAYS)('the outbox over %s', (way) => {
  const call = (name: string, input: Data = {}) => system.call(way, `outbox.${name}`, input);
  const emit = async (given: Data, targets: string[]): Promise<Data> =>
    ok(await call('emit-milestone', { event: given, targets }), 202);
  const waitState = async (delivery_id: string, state: string): Promise<Data> =>
    waitFor(async () => {
      const one = ok(await call('delivery', { delivery_id }));
      return one.state === state ? one : undefined;
    }, LONG);

  test('C.79 delivers what is emitted, signed with the trimmed secret, to every target in its own way', async () => {
    const given = freshEvent();
    const { deliveries, idempotency_key } = await emit(given, ['far', 'partner']);
    for (const { delivery_id } of deliveries) await waitState(delivery_id, 'delivered');
    const [toFar] = requestsOf(far, given.milestoneId);
    const [toPartner] = requestsOf(partner, given.milestoneId);
    if (toFar === undefined || toPartner === undefined) throw new Error('it did not arrive');
    const requests = [toFar, toPartner];
    expect(requests.map((one) => one.path)).toEqual(Array(2).fill('/internal/milestones/ingest'));
    expect(signatureOf(toFar, SECRET, 'milestones')).toBe('body');
    expect(signatureOf(toPartner, 'another', 'milestones')).toBe('bound');
    for (const { body } of requests) {
      expect(JSON.parse(body)).toMatchObject({ idempotencyKey: idempotency_key, event: given });
    }
  });

  test('a demand summary goes to its own path', async () => {
    const summaryId = freshIds().event('d');
    const snapshot = {
      summaryId,
      generatedAtUtc: '2026-03-01T10:00:00.000Z',
      source: 'orchestrator',
      queueTotal: 1,
      draftTotal: 0,
      selectedForDraftTotal: 0,
      tagCounts: { draft: 0, priority: 0, manualReview: 0 },
      topPillars: [],
      topKeywordClusters: [],
      segments: [
        {
          id: 'cash-velocity',
          label: 'Cash Velocity',
          liveSignalCount: 0,
          state: 'idle',
          staticWeight: 5,
          clusterLabels: [],
        },
      ],
    };
    const { deliveries } = ok(await call('emit-demand', { snapshot, targets: ['far'] }), 202);
    await waitState(deliveries[0].delivery_id, 'delivered');
    const [request] = requestsOf(far, summaryId);
    expect(request?.path).toBe('/internal/demand/ingest');
    expect(request && signatureOf(request, SECRET, 'demand')).toBe('body');
    const bad = { ...snapshot, queueTotal: '17' };
    err(await call('emit-demand', { snapshot: bad, targets: ['far'] }), 'INVALID_REQUEST');
  });

  test('emitted again it is the same delivery', async () => {
    const given = freshEvent();
    const first = await emit(given, ['far']);
    await waitState(first.deliveries[0].delivery_id, 'delivered');
    const again = await emit(given, ['far']);
    expect(again.idempotency_key).toBe(first.idempotency_key);
    expect(again.deliveries).toMatchObject([{ duplicate: true, state: 'delivered' }]);
    expect(requestsOf(far, given.milestoneId)).toHaveLength(1);
    // Another claim under the same id is another milestone.
    const other = await emit({ ...given, claim: 'another' }, ['far']);
    expect(other.idempotency_key).not.toBe(first.idempotency_key);
    await waitState(other.deliveries[0].delivery_id, 'delivered');
  });

  test('C.78 what is not as the contract says is refused with the field, and nothing is queued', async () => {
    const { as_of: before } = ok(await call('targets'));
    const cases: [Data, string][] = [
      [{ riskStatus: 'red' }, 'event.riskStatus'],
      [{ claim: ' ' }, 'event.claim'],
      [{ evidence: [] }, 'event.evidence'],
      [{ evidence: [{ type: 'video', path: 'p', summary: 's' }] }, 'event.evidence[0].type'],
      [{ timestampUtc: '2026-02-30T00:00:00Z' }, 'event.timestampUtc'],
      [{ source: 'cron' }, 'event.source'],
    ];
    for (const [bad, field] of cases) {
      const answer = await call('emit-milestone', { event: freshEvent(bad), targets: ['mute'] });
      expect(err(answer, 'INVALID_REQUEST').field).toBe(field);
    }
    const unknown = await call('emit-milestone', { event: freshEvent(), targets: ['nobody'] });
    err(unknown, 'UNKNOWN_TARGET');
    expect(ok(await call('deliveries', { target: 'mute', at_least: before })).deliveries).toEqual(
      ok(await call('deliveries', { target: 'mute' })).deliveries,
    );
  });

  test('C.75 a refusal is final and seen: in the list, in the ledger of its target, in its word', async () => {
    const given = freshEvent();
    far.script({ kind: 'status', status: 401, body: '{"reason":"invalid signature"}' });
    const { deliveries } = await emit(given, ['far']);
    const { delivery_id } = deliveries[0];
    const one = await waitState(delivery_id, 'rejected');
    expect(one).toMatchObject({
      attempts: 1,
      last_error: 'HTTP 401: {"reason":"invalid signature"}',
    });
    const listed = await waitFor(async () => {
      const page = ok(await call('deliveries', { state: 'rejected', target: 'far' })).deliveries;
      return page.find((row: Data) => row.delivery_id === delivery_id);
    });
    expect(listed).not.toHaveProperty('body');
    const { health, targets } = ok(await call('targets'));
    expect(health).toBe('degraded');
    const standing = targets.find(({ target }: Data) => target === 'far');
    expect(standing).toMatchObject({ health: 'degraded', address: far.url });
    expect(standing.channels[0].ledger.rejected).toBe(1);

    ok(await call('redrive', { delivery_id }));
    await waitState(delivery_id, 'delivered');
    const refused = err(await call('redrive', { delivery_id }), 'ILLEGAL_TRANSITION');
    expect(refused.message).toContain('delivered');
    err(await call('discard', { delivery_id }), 'ILLEGAL_TRANSITION');
    await waitFor(async () => {
      const after = ok(await call('targets')).targets as Data[];
      return after.find(({ target }) => target === 'far')?.health === 'idle';
    }, LONG);
  });

  test('what is queued for a target without a secret waits, and its word says why', async () => {
    const { deliveries } = await emit(freshEvent(), ['mute']);
    const { delivery_id } = deliveries[0];
    const word = async (): Promise<string> => {
      const { targets } = ok(await call('targets'));
      return targets.find(({ target }: Data) => target === 'mute').health;
    };
    expect(await word()).toBe('misconfigured');
    expect(ok(await call('delivery', { delivery_id }))).toMatchObject({
      state: 'pending',
      attempts: 0,
    });
    expect(ok(await call('discard', { delivery_id }))).toMatchObject({ state: 'discarded' });
  });

  test('pages follow one another, newest first', async () => {
    let at_least = 0;
    for (let number = 1; number <= 5; number += 1) {
      const { deliveries } = await emit(freshEvent(), ['partner']);
      at_least = deliveries[0].seq;
    }
    const { deliveries } = ok(await call('deliveries', { target: 'partner', at_least }));
    const all = deliveries.map((one: Data) => one.delivery_id);
    expect(all.length).toBeGreaterThanOrEqual(5);
    const seen: string[] = [];
    let cursor: string | undefined;
    do {
      const page = ok(
        await call('deliveries', { target: 'partner', limit: 2, ...(cursor && { cursor }) }),
      );
      seen.push(...page.deliveries.map((one: Data) => one.delivery_id));
      cursor = page.next_cursor ?? undefined;
    } while (cursor !== undefined);
    expect(seen).toEqual(all);
    err(await call('deliveries', { cursor: 'x' }), 'INVALID_REQUEST');
    err(await call('delivery', { delivery_id: 'nope' }), 'DELIVERY_NOT_FOUND');
    err(
      await call('redrive', { delivery_id: `demand.far.${'0'.repeat(32)}` }),
      'DELIVERY_NOT_FOUND',
    );
  });
});

describe('IronClaw as a source', () => {
  const append = async (events: Data[]): Promise<void> => {
    ok(await system.call('http', 'ledger.append-batch', events));
  };
  const milestonesOf = (text: string): Data[] =>
    shared.requests().flatMap(({ body }) => {
      const told = JSON.parse(body).event as Data | undefined;
      return told !== undefined && body.includes(text) ? [told] : [];
    });

  test('runs, integrations and escalations become milestones, in order, with evidence', async () => {
    const { theater: theater_id, run: run_id, order: order_id } = freshIds();
    const at = { theater_id, run_id };
    const sha = 'a'.repeat(40);
    const artifacts = [{ order_id, path: `outputs/${run_id}/brief.md`, commit_sha: sha }];
    await append([
      { ...at, type: 'RUN_CREATED', payload: { objective: 'Write the brief' } },
      { ...at, order_id, type: 'ORDER_CREATED', payload: { type: 'essay' } },
      { ...at, order_id, type: 'INTEGRATED', payload: { attempt: 1, commit_sha: sha } },
      { ...at, type: 'ESCALATION_RAISED', payload: { severity: 'HIGH', reason: 'look' } },
      { ...at, type: 'RUN_COMPLETED', payload: { artifacts, duration_ms: 3_000 } },
    ]);
    const told = await waitFor(() => {
      const found = milestonesOf(run_id);
      return found.length >= 4 ? found : undefined;
    }, LONG);
    expect(told.map(({ riskStatus }) => riskStatus)).toEqual([
      'on-track',
      'on-track',
      'blocked',
      'completed',
    ]);
    expect(told[0]?.claim).toContain('Write the brief');
    expect(told[1]?.evidence).toContainEqual(expect.objectContaining({ type: 'commit', ref: sha }));
    expect(told[3]?.evidence).toContainEqual(
      expect.objectContaining({ type: 'doc', path: `outputs/${run_id}/brief.md`, ref: sha }),
    );
    for (const { evidence } of told) {
      expect(evidence[0]).toMatchObject({
        type: 'log',
        ref: expect.stringMatching(/^LEDGER:\d+$/),
      });
    }
  });

  test('queue and drafts become a demand summary where they change, and a restart sends none anew', async () => {
    const summaries = (): Data[] =>
      shared.requests().flatMap(({ body }) => JSON.parse(body).snapshot ?? []);
    const { theater: theater_id, run: run_id, order: order_id } = freshIds();
    const at = { theater_id, run_id, order_id };
    const pillar = `kind_${order_id}`;
    await append([{ ...at, type: 'ORDER_CREATED', payload: { type: pillar } }]);
    await append([
      { ...at, type: 'ORDER_STARTED', payload: { attempt: 1 } },
      { ...at, type: 'ORDER_BLOCKED', payload: { attempt: 1, reason: 'no key' } },
    ]);
    const last = await waitFor(() => {
      const found = summaries().at(-1);
      const is = ({ id }: Data): boolean => id === pillar.toLowerCase();
      return found?.topPillars.some(is) ? found : undefined;
    }, LONG);
    expect(last.tagCounts.manualReview).toBe(1);
    expect(last.topKeywordClusters).toContainEqual(
      expect.objectContaining({ id: 'execution_stalls', count: 1 }),
    );
    expect(last.segments).toHaveLength(7);
    const before = summaries().length;
    // A second process with views of its own: it reads all of the past, which says nothing new.
    const state = path.join(folder, 'second');
    const host = await serve(['outbox'], {
      ...env,
      NATS_URL: system.testBroker.url,
      IRONCLAW_STATE: state,
      IRONCLAW_PORT: '0',
      IRONCLAW_GARRISON: 'test',
    });
    await append([{ ...at, type: 'UNIT_SIGNAL', payload: { attempt: 1, stage: 'waits' } }]);
    await append([{ ...at, type: 'ORDER_CANCELLED', payload: {} }]);
    await waitFor(() => summaries().length > before, LONG);
    await host.close();
    expect(summaries()).toHaveLength(before + 1);
    expect(summaries().at(-1)?.tagCounts.manualReview).toBe(0);
  });

  test('a theater may have its own kinds of milestones, or none', async () => {
    const [quiet, loud] = [freshIds(), freshIds()];
    const dir = path.join(system.stateDir, 'theaters', quiet.theater);
    await mkdir(dir, { recursive: true });
    await writeFile(path.join(dir, 'config.json'), JSON.stringify({ milestones: 'none' }));
    const created = ({ theater: theater_id, run: run_id }: typeof quiet): Data => ({
      theater_id,
      run_id,
      type: 'RUN_CREATED',
      payload: {},
    });
    await append([created(quiet), created(loud)]);
    await waitFor(() => milestonesOf(loud.run).length > 0, LONG);
    expect(milestonesOf(quiet.run)).toEqual([]);
  });
});

describe('the receiver on the same broker', () => {
  test('milestones wait until it is there, and arrive in its feed with their signature', async () => {
    const signing = { MILESTONE_SIGNING_SECRET: SECRET };
    const quick = { IRONCLAW_DELIVERY_FIRST_MS: '20', IRONCLAW_DELIVERY_MAX_MS: '200' };
    const own = await startSystem({ roles: ['ledger', 'outbox'], env: { ...signing, ...quick } });
    try {
      const { theater: theater_id, run: run_id } = freshIds();
      const started = { theater_id, run_id, type: 'RUN_CREATED', payload: { objective: 'Go' } };
      ok(await own.call('http', 'ledger.append', started), 201);
      const waits = await waitFor(async () => {
        const { deliveries } = ok(await own.call('http', 'outbox.deliveries'));
        return (deliveries as Data[]).find(({ state }) => state === 'retrying');
      }, LONG);
      expect(waits).toMatchObject({ target: 'local', last_error: 'nobody listens' });
      const host = await serve(['intake'], {
        ...signing,
        NATS_URL: own.testBroker.url,
        IRONCLAW_STATE: path.join(folder, 'intake'),
        IRONCLAW_PORT: '0',
        IRONCLAW_GARRISON: 'test',
      });
      try {
        const item = await waitFor(async () => {
          const { milestones } = ok(await own.call('nats', 'intake.milestones', { text: run_id }));
          return (milestones as Data[])[0];
        }, LONG);
        expect(item).toMatchObject({
          item: { milestoneId: `run.started.${run_id}`, source: 'orchestrator' },
          receipt: { mode: 'body' },
        });
        await waitFor(async () => {
          const { health, targets } = ok(await own.call('http', 'outbox.targets'));
          return (
            health === 'idle' &&
            targets[0].channels.every(({ ledger }: Data) => ledger.delivered > 0)
          );
        }, LONG);
      } finally {
        await host.close();
      }
    } finally {
      await own[Symbol.asyncDispose]();
    }
  });
});

test('C.79 a blank secret, or a target that is misspelt, refuses to start', async () => {
  const start = (more: Record<string, string>) =>
    serve(['outbox'], {
      ...env,
      NATS_URL: system.testBroker.url,
      IRONCLAW_STATE: path.join(folder, 'refused'),
      IRONCLAW_PORT: '0',
      ...more,
    });
  await expect(start({ MILESTONE_SIGNING_SECRET: ' \n' })).rejects.toMatchObject({
    code: 'INVALID_REQUEST',
  });
  await expect(start({ IRONCLAW_DEMAND_TARGETS: 'faar' })).rejects.toMatchObject({
    field: 'IRONCLAW_DEMAND_TARGETS',
  });
});

describe('the command line', () => {
  const cli = (...args: string[]) => runCli({ IRONCLAW_URL: system.url('gateway') }, args);

  test('emits from options and waits until it is delivered', async () => {
    const id = freshIds().event('cli');
    const args = ['emit', 'milestone', '--id', id, '--claim', 'done', '--next', 'rest'];
    const evidence = ['--evidence', 'commit|main|tagged|4ae3cf0', '--evidence', 'log|x|seen'];
    const done = await cli(...args, ...evidence, '--target', 'far', '--wait', '60', '--json');
    expect(done).toMatchObject({ code: 0, err: '' });
    expect(JSON.parse(done.out).deliveries).toMatchObject([{ target: 'far', state: 'delivered' }]);
    const [request] = requestsOf(far, id);
    expect(JSON.parse(request?.body ?? '').event).toMatchObject({
      source: 'operator',
      evidence: [
        { type: 'commit', path: 'main', summary: 'tagged', ref: '4ae3cf0' },
        { type: 'log' },
      ],
    });
  });

  test('emits from a file, and says what is wrong with it', async () => {
    const file = path.join(folder, 'milestone.json');
    const given = freshEvent();
    await writeFile(file, JSON.stringify({ idempotencyKey: 'theirs', event: given }));
    const emitted = await cli(
      'emit',
      'milestone',
      '--file',
      file,
      '--target',
      'far',
      '--wait',
      '60',
    );
    expect(emitted.code).toBe(0);
    expect(emitted.out).toContain('delivered');
    const again = await cli('emit', 'milestone', '--file', file, '--target', 'far');
    expect(again.out).toContain('emitted before');
    await writeFile(file, JSON.stringify({ ...given, riskStatus: 'red' }));
    const refused = await cli('emit', 'milestone', '--file', file);
    expect(refused).toMatchObject({ code: 2 });
    expect(refused.err).toContain('event.riskStatus');
    expect((await cli('emit', 'milestone', '--file', `${file}.none`)).code).toBe(2);
    expect((await cli('emit', 'milestone', '--id', 'x')).err).toContain('--claim is needed');
    expect((await cli('emit', 'demand')).code).toBe(2);
  });

  test('lists, shows, redrives and tells how targets do', async () => {
    const given = freshEvent();
    far.script({ kind: 'status', status: 400 });
    const file = path.join(folder, 'refused.json');
    await writeFile(file, JSON.stringify(given));
    const emitted = await cli(
      'emit',
      'milestone',
      '--file',
      file,
      '--target',
      'far',
      '--wait',
      '60',
      '--json',
    );
    expect(emitted.code).toBe(1);
    const [{ delivery_id }] = JSON.parse(emitted.out).deliveries;
    await waitFor(async () =>
      (await cli('outbox', 'list', '--is', 'rejected')).err.includes(delivery_id),
    );
    expect((await cli('outbox', 'show', delivery_id)).out).toContain(given.milestoneId);
    expect((await cli('outbox', 'status')).out).toMatch(/^degraded\n/);
    const redriven = await cli('outbox', 'redrive', '--all', '--target', 'far', '--json');
    expect(JSON.parse(redriven.out).redriven).toHaveLength(1);
    await waitFor(async () => {
      const { out } = await cli('outbox', 'show', delivery_id, '--json');
      return JSON.parse(out).state === 'delivered';
    }, LONG);
    expect((await cli('outbox', 'redrive')).code).toBe(2);
    expect((await cli('outbox', 'discard', delivery_id)).code).toBe(1);
  });
});
