import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { invalid, isAppError } from '#libs/contracts';
import { compileGate } from '#libs/missions';
import { startTrackerServer, type TrackerServer } from '#libs/testing';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { bindProject } from './bind.ts';
import { createTrackerClient, type TrackerClient, type TrackerOptions } from './client.ts';
import type { ProjectIdentity } from './identity.ts';

const IDENTITY: ProjectIdentity = {
  uuid: '0b0f4b0e-7a57-4f5e-9b1a-3d3c52a1d001',
  slug: 'my-project',
  node_id: 'a1b2c3d4e5f6',
  repo_slug: 'owner/my-project',
  build_id: '7d0f3a52-51f0-4a53-8f3b-0c6f9d2f7e11',
};
const ORIGIN = {
  provider: 'linear' as const,
  mission_slug: '064-my-mission',
  project_slug: 'my-project',
  external_issue_id: 'issue-1',
  external_issue_key: 'LIN-1',
  external_issue_url: 'https://linear.example/LIN-1',
  title: 'An issue',
};

let tracker: TrackerServer;
let waits: number[];
let nowMs: number;
let tokens: string[];
let refreshes: number;
beforeEach(async () => {
  tracker = await startTrackerServer();
  [waits, nowMs, tokens, refreshes] = [[], 0, ['token-1'], 0];
});
afterEach(() => tracker[Symbol.asyncDispose]());

function client(options: Partial<TrackerOptions> = {}): TrackerClient {
  let keys = 0;
  return createTrackerClient({
    server: tracker.url,
    token: () => tokens.at(-1),
    refresh: async () => {
      refreshes += 1;
      tokens.push(`token-${tokens.length + 1}`);
      return true;
    },
    team: 'the-team',
    gate: (identity) => {
      if (!identity.build_id) throw invalid('build_id', 'must not be empty');
    },
    newKey: () => `key-${(keys += 1)}`,
    sleep: async (ms) => {
      waits.push(ms);
      nowMs += ms;
    },
    nowMs: () => nowMs,
    ...options,
  });
}

/** The error that a promise ends with. */
async function fault(promise: Promise<unknown>) {
  const error = await promise.then(
    () => expect.fail('it must fail'),
    (reason: unknown) => reason,
  );
  if (!isAppError(error)) throw error;
  return error;
}
const paths = (): string[] => tracker.requests().map(({ path }) => path);

describe('D.55 bind', () => {
  test('sends exactly the identity of the seed, who asks and for which team', async () => {
    const bound = await bindProject(client(), 'linear', IDENTITY);
    expect(bound).toEqual({ binding_ref: 'binding-of-token-1', label: 'Board 1', existed: false });
    const [resolve, confirm] = tracker.requests();
    expect(resolve).toMatchObject({ method: 'POST', path: 'bind-resolve/' });
    expect(resolve?.body).toEqual({ provider: 'linear', project_identity: IDENTITY });
    expect(confirm?.body).toEqual({
      provider: 'linear',
      candidate_token: 'token-1',
      project_identity: IDENTITY,
    });
    for (const { headers } of tracker.requests()) {
      expect(headers).toMatchObject({ authorization: 'Bearer token-1', 'x-team-slug': 'the-team' });
    }
    expect(resolve?.headers['idempotency-key']).toBeUndefined();
    expect(confirm?.headers['idempotency-key']).toBe('key-1');
    const again = await bindProject(client(), 'linear', IDENTITY);
    expect(again).toMatchObject({ binding_ref: bound.binding_ref, existed: true });
    const { bindValidate } = client();
    expect(await bindValidate('linear', bound.binding_ref, IDENTITY)).toMatchObject({
      valid: true,
    });
    expect(await bindValidate('linear', 'other', IDENTITY)).toMatchObject({ valid: false });
  });

  test('without build_id it is refused before anything is sent', async () => {
    const bad = { ...IDENTITY, build_id: '' };
    expect(await fault(bindProject(client(), 'jira', bad))).toMatchObject({ field: 'build_id' });
    expect((await fault(client().bindConfirm('jira', 't', bad))).field).toBe('build_id');
    expect((await fault(client().bindValidate('jira', 'r', bad))).field).toBe('build_id');
    expect(tracker.requests()).toEqual([]);
  });

  test.each(['uuid', 'slug', 'node_id', 'repo_slug', 'build_id'] as const)(
    'the gate of the seed wants %s in every request, before it is sent',
    async (field) => {
      const shipped = join(import.meta.dirname, '../missionlog/upstream-3.0.0-shape.json');
      const gate = compileGate(JSON.parse(readFileSync(shipped, 'utf8')));
      const gated = client({ gate: (identity) => gate.tracker('tracker', identity) });
      const without: Partial<ProjectIdentity> = { ...IDENTITY };
      delete without[field];
      const bad = [without, { ...IDENTITY, [field]: null }, { ...IDENTITY, [field]: ' ' }];
      for (const identity of bad as ProjectIdentity[]) {
        const calls = [
          gated.bindResolve('jira', identity),
          gated.bindConfirm('jira', 't', identity),
          gated.bindValidate('jira', 'r', identity),
        ];
        for (const call of calls) {
          expect(await fault(call)).toMatchObject({
            code: 'CONTRACT_VIOLATION',
            field: `project_identity.${field}`,
            details: { context: 'tracker', reason: expect.stringMatching(/required|empty/) },
          });
        }
      }
      expect(tracker.requests()).toEqual([]);
    },
  );

  test.each([
    ['token', { token: () => undefined }],
    ['team', { team: undefined }],
    ['team', { team: '' }],
  ])('without %s it is refused before anything is sent', async (what, options) => {
    const error = await fault(bindProject(client(options), 'jira', IDENTITY));
    expect(error).toMatchObject({ code: 'TRACKER_LOGIN', status: 401 });
    expect(error.message).toContain(`no ${what}`);
    expect(tracker.requests()).toEqual([]);
  });

  test('401 renews the token once and goes on with the new one', async () => {
    tracker.script('bind-resolve/', { status: 401 }, { status: 200, body: { match_type: 'none' } });
    await client().bindResolve('jira', IDENTITY);
    expect(refreshes).toBe(1);
    const sent = tracker.requests().map(({ headers }) => headers.authorization);
    expect(sent).toEqual(['Bearer token-1', 'Bearer token-2']);
  });

  test('401 again, or no new token, is an expired session', async () => {
    tracker.script('*', { status: 401 });
    const error = await fault(client().bindResolve('jira', IDENTITY));
    expect(error.details).toMatchObject({ error_code: 'session_expired' });
    expect([refreshes, tracker.requests().length]).toEqual([1, 2]);
    const none = { refresh: async () => false };
    const other = await fault(client(none).bindResolve('jira', IDENTITY));
    expect(other).toMatchObject({ code: 'TRACKER_LOGIN' });
    expect(tracker.requests()).toHaveLength(3);
  });

  test.each([
    [{ retry_after_seconds: 7 }, 7_000],
    [{}, 5_000],
    [{ retry_after_seconds: 'soon' }, 5_000],
  ])('429 %j waits %i ms once', async (body, waitMs) => {
    const none = { status: 200, body: { match_type: 'none' } };
    tracker.script('bind-resolve/', { status: 429, body }, none);
    await client().bindResolve('jira', IDENTITY);
    expect(waits).toEqual([waitMs]);
  });

  test('429 again, or one that is too long to wait for, is told', async () => {
    tracker.script('*', { status: 429, body: { message: 'slow down' } });
    const error = await fault(client().bindResolve('jira', IDENTITY));
    expect(error).toMatchObject({
      code: 'TRACKER_REFUSED',
      details: { error_code: 'rate_limited', retryable: true, status: 429 },
    });
    expect(waits).toEqual([5_000]);
    tracker.script('*', { status: 429, body: { retry_after_seconds: 86_400 } });
    await fault(client().bindResolve('jira', IDENTITY));
    expect(waits).toHaveLength(1);
  });

  test('one wish has one key, also when it is sent again', async () => {
    const done = { status: 200, body: { binding_ref: 'r' } };
    tracker.script('bind-confirm/', { status: 429 }, { status: 401 }, done);
    const one = client();
    await one.bindConfirm('jira', 't', IDENTITY);
    await one.bindConfirm('jira', 't', IDENTITY);
    const keys = tracker.requests().map(({ headers }) => headers['idempotency-key']);
    expect(keys).toEqual(['key-1', 'key-1', 'key-1', 'key-2']);
  });

  test.each([400, 403, 404, 409, 500, 503])('%i is told with all its fields', async (status) => {
    const body = {
      error_code: 'provider_down',
      category: 'upstream',
      message: 'Jira is away',
      retryable: true,
      user_action_required: true,
      source: 'jira',
      retry_after_seconds: 30,
    };
    tracker.script('*', { status, body });
    const error = await fault(client().bindResolve('jira', IDENTITY));
    expect(error).toMatchObject({ code: 'TRACKER_REFUSED', details: { ...body, status } });
    expect(error.message).toContain('Jira is away');
    expect(tracker.requests()).toHaveLength(1);
  });

  test.each([
    [{ status: 502, text: '<html>' }, 'TRACKER_REFUSED'],
    [{ status: 200, text: 'OK' }, 'TRACKER_REFUSED'],
    [{ status: 200, body: [] }, 'TRACKER_REFUSED'],
    [{ status: 302, body: {} }, 'TRACKER_REFUSED'],
    ['disconnect' as const, 'DEPENDENCY_UNAVAILABLE'],
    ['hang' as const, 'DEPENDENCY_UNAVAILABLE'],
  ])('%j is an error that can be told: %s', async (step, code) => {
    tracker.script('*', step);
    const error = await fault(client({ timeoutMs: 300 }).bindResolve('jira', IDENTITY));
    expect(error.code).toBe(code);
  });

  test('nobody there is told', async () => {
    const { url } = tracker;
    await tracker[Symbol.asyncDispose]();
    const error = await fault(client({ server: url }).bindResolve('jira', IDENTITY));
    expect(error.code).toBe('DEPENDENCY_UNAVAILABLE');
    tracker = await startTrackerServer();
  });

  test('invalid_candidate_token resolves once more, and no more than once', async () => {
    const stale = { status: 409, body: { error_code: 'invalid_candidate_token' } };
    tracker.script('bind-confirm/', stale, { status: 200, body: { binding_ref: 'ref' } });
    expect((await bindProject(client(), 'jira', IDENTITY)).binding_ref).toBe('ref');
    const flow = ['bind-resolve/', 'bind-confirm/', 'bind-resolve/', 'bind-confirm/'];
    expect(paths()).toEqual(flow);
    tracker.script('bind-confirm/', stale);
    const error = await fault(bindProject(client(), 'jira', IDENTITY));
    expect(error.details).toMatchObject({ error_code: 'invalid_candidate_token' });
    expect(paths().slice(4)).toEqual(flow);
  });

  test('another refusal of the choice is not tried again', async () => {
    tracker.script('bind-confirm/', { status: 403, body: { error_code: 'not_yours' } });
    await fault(bindProject(client(), 'jira', IDENTITY));
    expect(paths()).toEqual(['bind-resolve/', 'bind-confirm/']);
  });

  test('exact with a token is confirmed without a choice', async () => {
    const exact = { match_type: 'exact', candidate_token: 'the-one', display_label: 'Board' };
    tracker.script('bind-resolve/', { status: 200, body: exact });
    expect((await bindProject(client(), 'jira', IDENTITY)).binding_ref).toBe('binding-of-the-one');
  });

  const several = [3, 1, 2].map((n) => ({
    candidate_token: `t${n}`,
    display_label: `Board ${n}`,
    confidence: 'low',
    match_reason: 'name',
    sort_position: n - 1,
  }));
  test.each([
    [undefined, null],
    [0, null],
    [4, null],
    [-1, null],
    [1, 't1'],
    [3, 't3'],
  ])('several candidates and the choice %j: %s', async (select, token) => {
    const body = { match_type: 'candidates', candidates: several };
    tracker.script('bind-resolve/', { status: 200, body });
    const binding = bindProject(client(), 'jira', IDENTITY, select);
    if (token !== null) return expect((await binding).binding_ref).toBe(`binding-of-${token}`);
    const error = await fault(binding);
    expect(error.code).toBe('TRACKER_CHOICE');
    expect(error.details?.candidates).toMatchObject([
      { select: 1, label: 'Board 1' },
      { select: 2, label: 'Board 2' },
      { select: 3, label: 'Board 3' },
    ]);
    expect(paths()).toEqual(['bind-resolve/']);
  });

  test.each(['none', 'something'])('match %s fails', async (match_type) => {
    tracker.script('bind-resolve/', { status: 200, body: { match_type } });
    expect((await fault(bindProject(client(), 'jira', IDENTITY))).code).toBe('TRACKER_CHOICE');
  });
});

describe('D.55 origin', () => {
  test('the same origin again is a success, another one a conflict', async () => {
    const one = client();
    await one.bindOrigin(ORIGIN);
    await one.bindOrigin(ORIGIN);
    const error = await fault(one.bindOrigin({ ...ORIGIN, external_issue_id: 'issue-2' }));
    expect(error.details).toMatchObject({ status: 409, error_code: 'origin_conflict' });
    expect(tracker.requests()[0]?.body).toMatchObject(ORIGIN);
    expect(tracker.requests()[0]?.headers['idempotency-key']).toBe('key-1');
  });

  test('202 is asked after: 1 s doubling to 30 s, until it is done', async () => {
    tracker.script('mission-origin/bind/', { status: 202, body: { operation_id: 'op/1' } });
    const pending = Array.from({ length: 7 }, () => ({ status: 200, body: { status: 'running' } }));
    const done = { status: 200, body: { status: 'completed', result: { origin_link_id: 'x' } } };
    tracker.script('operations/op%2F1/', ...pending, done);
    expect(await client().bindOrigin(ORIGIN)).toEqual({ origin_link_id: 'x' });
    expect(waits).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
  });

  test('an operation that fails, or does not end in 5 minutes, is told', async () => {
    tracker.script('mission-origin/bind/', { status: 202, body: { operation_id: 'op' } });
    const error = { error_code: 'boom', message: 'it broke' };
    tracker.script('operations/op/', { status: 200, body: { status: 'failed', error } });
    expect((await fault(client().bindOrigin(ORIGIN))).details).toMatchObject(error);
    tracker.script('operations/op/', { status: 200, body: { status: 'pending' } });
    expect((await fault(client().bindOrigin(ORIGIN))).code).toBe('TIMEOUT');
    const waited = waits.reduce((sum, ms) => sum + ms, 0);
    expect(waited).toBeGreaterThanOrEqual(300_000);
    expect(waited).toBeLessThan(330_001);
    tracker.script('mission-origin/bind/', { status: 202, body: {} });
    expect((await fault(client().bindOrigin(ORIGIN))).code).toBe('TRACKER_REFUSED');
  });
});
