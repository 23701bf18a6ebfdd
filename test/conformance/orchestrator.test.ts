import { existsSync, mkdirSync } from 'node:fs';
import { isAbsolute, join } from 'node:path';
import { startTestBroker, type TestBroker } from '#libs/testing';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { FIVE, MISSION, missionRig, P, REVIEW, type Rig, type Said } from './orchestrator-rig.ts';

let broker: TestBroker;
beforeAll(async () => {
  broker = await startTestBroker();
});
afterAll(() => broker[Symbol.asyncDispose]());

const rig = (wps = FIVE): Rig => missionRig({ NATS_URL: broker.url }, wps);
const codeOf = ({ code, json }: Said): string => `${code} ${String(json.error_code)}`;
const NAMES = [
  'mission-state',
  'list-ready',
  'start-implementation',
  'start-review',
  'transition',
  'append-history',
  'accept-mission',
  'merge-mission',
];
const REST = ['--wp', 'WP01', '--actor', 'a', '--to', 'claimed', '--note', 'n'];
const restOf = (name: string): string[] => {
  if (name === 'transition') return REST;
  if (name === 'append-history') return [...REST.slice(0, 4), ...REST.slice(6)];
  if (name.startsWith('start')) return REST.slice(0, 4);
  return name === 'accept-mission' ? REST.slice(2, 4) : [];
};
const asActor = (wp: string, actor: string) => ['--wp', wp, '--actor', actor];
const begin = (it: Rig, wp: string, actor = 'impl') =>
  it.api('start-implementation', ...asActor(wp, actor), '--policy', P);
const move = (it: Rig, wp: string, to: string, ...more: string[]) =>
  it.api('transition', ...asActor(wp, 'impl'), '--to', to, ...more);
const force = (it: Rig, wp: string, to: string) =>
  move(it, wp, to, '--force', '--note', 'for the test', '--policy', P);

describe('the command line', () => {
  test('D.1 contract-version: one line, the keys of both envelopes', async () => {
    await using it = rig();
    const { code, json } = await it.spawned(['orchestrator-api', 'contract-version']);
    expect(code).toBe(0);
    expect(json).toMatchObject({
      ok: true,
      success: true,
      command: 'orchestrator-api.contract-version',
      contract_version: '1.3.0',
      error_code: null,
      data: { api_version: '1.3.0', min_supported_provider_version: '0.1.0' },
    });
    expect(json.correlation_id).toMatch(/^corr-[0-9a-f]+$/);
    expect(Date.parse(String(json.timestamp))).not.toBeNaN();
  });

  test('D.2 provider versions', async () => {
    await using it = rig();
    for (const version of ['0.0.9', 'banana', '0.1.0rc1']) {
      const answer = await it.call(
        'orchestrator-api',
        'contract-version',
        '--provider-version',
        version,
      );
      expect(codeOf(answer)).toBe('1 CONTRACT_VERSION_MISMATCH');
      expect(answer.json.data).toMatchObject({ provider_version: version, api_version: '1.3.0' });
    }
    for (const version of ['0.1.0', '0.10.0']) {
      const answer = await it.call(
        'orchestrator-api',
        'contract-version',
        '--provider-version',
        version,
      );
      expect(answer.code).toBe(0);
    }
  });

  test('D.3 removed commands are unknown', async () => {
    await using it = rig();
    for (const name of ['feature-state', 'accept-feature', 'merge-feature']) {
      const answer = await it.call('orchestrator-api', name, '--mission', MISSION);
      expect(codeOf(answer)).toBe('2 USAGE_ERROR');
      expect(answer.json.command).toBe('orchestrator-api.unknown');
    }
  });

  test.each(NAMES)('D.4 %s: --feature is unknown, --mission is needed', async (name) => {
    await using it = rig();
    const feature = await it.call('orchestrator-api', name, '--feature', MISSION, ...restOf(name));
    expect(codeOf(feature)).toBe('2 USAGE_ERROR');
    const none = await it.call('orchestrator-api', name, ...restOf(name));
    expect(codeOf(none)).toBe('2 USAGE_ERROR');
    expect(none.json.data.message).toContain('--mission');
  });

  test.each([
    [['orchestrator-api', 'mission-state', '--mission', MISSION, '--bogus']],
    [['orchestrator-api', '--bogus', 'mission-state']],
    [['orchestrator-api']],
    [['orchestrator-api', 'mission-state', '--miss', MISSION]],
    [['orchestrator-api', 'mission-state', '--mission']],
    [['orchestrator-api', 'mission-state', '--mission', MISSION, 'surplus']],
    [['orchestrator-api', 'mission-state', '--json', '--mission', MISSION]],
    [[]],
  ])('D.5 %j is a usage error', async (words) => {
    await using it = rig();
    const answer = await it.call(...words);
    expect(codeOf(answer)).toBe('2 USAGE_ERROR');
    expect(answer.json.command).toBe('orchestrator-api.unknown');
    expect(answer.json.data.message).toEqual(answer.json.error);
  });

  test('D.6 D.8 D.13 reads: five planned, two ready, nothing written, no legacy name', async () => {
    await using it = rig();
    const state = await it.api('mission-state');
    expect(state.json.data).toMatchObject({
      mission_slug: MISSION,
      mission_number: '064',
      mission_type: 'software-dev',
      summary: { planned: 5 },
      work_packages: Object.entries(FIVE).map(([wp_id, dependencies]) => ({
        wp_id,
        lane: 'planned',
        dependencies,
        last_actor: null,
      })),
    });
    expect(state.json.mission_slug).toBe(MISSION);
    const ready = await it.api('list-ready');
    const wps = ready.json.data.ready_work_packages as Record<string, unknown>[];
    expect(wps.map(({ wp_id }) => wp_id)).toEqual(['WP01', 'WP04']);
    for (const wp of wps) expect(wp).toHaveProperty('recommended_base');
    expect(state.stdout + ready.stdout).not.toContain('feature_');
    await it.call('orchestrator-api', 'contract-version');
    expect(it.git('status', '--porcelain')).toBe('');
  });

  test('D.7 from a folder of the repository, without SPECIFY_REPO_ROOT', async () => {
    await using it = rig();
    const cwd = join(it.root, it.files, 'tasks');
    const words = ['orchestrator-api', 'mission-state', '--mission', MISSION];
    const { code, json } = await it.spawned(words, { cwd });
    expect(code).toBe(0);
    expect(json.data.work_packages).toHaveLength(5);
    const elsewhere = await it.spawned(words, { cwd: '/', env: { SPECIFY_REPO_ROOT: it.root } });
    expect(elsewhere.code).toBe(0);
  });

  test('D.9 an unknown mission', async () => {
    await using it = rig();
    const answer = await it.call(
      'orchestrator-api',
      'mission-state',
      '--mission',
      '064-nonexistent',
    );
    expect(codeOf(answer)).toBe('1 MISSION_NOT_FOUND');
    expect(answer.json.ok).toBe(false);
    expect(answer.json.error).toBe("Mission '064-nonexistent' not found in kitty-specs/");
  });

  test('D.10 selectors stay in kitty-specs/', async () => {
    await using it = rig();
    mkdirSync(join(it.root, 'kitty-specs', 'a'));
    for (const selector of ['..', '../..', '', `a/../${MISSION}`, '/etc', '.', `${MISSION}/`]) {
      const answer = await it.call('orchestrator-api', 'mission-state', '--mission', selector);
      expect(codeOf(answer)).toBe('1 MISSION_NOT_FOUND');
    }
  });

  test('D.12 D.15 D.16 D.18 policies: valid, none, invalid, and before the mission', async () => {
    await using it = rig();
    expect((await it.api('mission-state', '--policy', P)).code).toBe(0);
    for (const name of ['mission-state', 'list-ready', 'accept-mission', 'merge-mission']) {
      const answer = await it.api(name, ...restOf(name), '--policy', '{}');
      expect(codeOf(answer)).toBe('1 POLICY_VALIDATION_FAILED');
    }
    for (const none of [[], ['--policy', '']]) {
      const answer = await it.api('start-implementation', ...asActor('WP01', 'a'), ...none);
      expect(codeOf(answer)).toBe('1 POLICY_METADATA_REQUIRED');
    }
    const words = ['start-implementation', '--mission', 'no-such', ...asActor('WP01', 'a')];
    const bad = await it.call('orchestrator-api', ...words, '--policy', '{nope');
    expect(codeOf(bad)).toBe('1 POLICY_VALIDATION_FAILED');
  });
});

describe('work packages', () => {
  test('D.11 D.19 D.20 D.21 D.22 claims', async () => {
    await using it = rig();
    expect(codeOf(await begin(it, 'WP77'))).toBe('1 WP_NOT_FOUND');
    const waits = await begin(it, 'WP02');
    expect(codeOf(waits)).toBe('1 DEPENDENCIES_NOT_SATISFIED');
    expect(waits.json.data).toMatchObject({ wp_id: 'WP02', unsatisfied_dependencies: ['WP01'] });
    const started = await begin(it, 'WP01', 'alice');
    expect(started.json.data).toMatchObject({
      wp_id: 'WP01',
      from_lane: 'planned',
      to_lane: 'in_progress',
      no_op: false,
      policy_metadata_recorded: true,
    });
    const { workspace_path, prompt_path } = started.json.data as Record<string, string>;
    expect(isAbsolute(workspace_path ?? '')).toBe(true);
    expect(existsSync(prompt_path ?? '')).toBe(true);
    const rows = it.rows();
    expect(rows.map(({ to_lane }) => to_lane)).toEqual(['claimed', 'in_progress']);
    for (const row of rows) expect(row.policy_metadata).toMatchObject({ orchestrator_id: 'orch' });
    expect((await begin(it, 'WP01', 'alice')).json.data.no_op).toBe(true);
    expect(it.rows()).toHaveLength(2);
    const other = await begin(it, 'WP01', 'bob');
    expect(codeOf(other)).toBe('1 WP_ALREADY_CLAIMED');
    expect(other.json.data).toMatchObject({ claimed_by: 'alice', requesting_actor: 'bob' });
    const { json } = await it.api('mission-state');
    expect(json.data).toMatchObject({ summary: { in_progress: 1, planned: 4 } });
    const [first] = json.data.work_packages as unknown[];
    expect(first).toMatchObject({ lane: 'in_progress', last_actor: 'alice' });
    const status = JSON.parse(it.read(`${it.files}/status.json`)) as Record<string, unknown>;
    expect(status).toMatchObject({ event_count: 2, summary: { in_progress: 1 } });
  });

  test.each(['claimed', 'in_progress', 'for_review', 'in_review', 'approved', ' Doing '])(
    'D.24 a transition to %j needs a policy',
    async (to) => {
      await using it = rig();
      expect(codeOf(await move(it, 'WP01', to))).toBe('1 POLICY_METADATA_REQUIRED');
    },
  );

  test('D.25 D.26 D.28 D.32 edges', async () => {
    await using it = rig();
    for (const to of ['nowhere', 'genesis', 'done', 'planned']) {
      expect(codeOf(await move(it, 'WP01', to, '--note', 'n'))).toBe('1 TRANSITION_REJECTED');
    }
    const blank = ['--wp', 'WP01', '--actor', ' ', '--to', 'claimed', '--policy', P];
    expect(codeOf(await it.api('transition', ...blank))).toBe('1 TRANSITION_REJECTED');
    await move(it, 'WP01', 'claimed', '--policy', P);
    const doing = await move(it, 'WP01', ' Doing ', '--policy', P);
    expect(doing.json.data).toMatchObject({ from_lane: 'claimed', to_lane: 'in_progress' });
    expect(codeOf(await move(it, 'WP01', 'planned'))).toBe('1 TRANSITION_REJECTED');
    expect(codeOf(await move(it, 'WP01', 'done', '--force'))).toBe('1 TRANSITION_REJECTED');
    expect((await force(it, 'WP01', 'done')).code).toBe(0);
    expect((await force(it, 'WP01', 'planned')).code).toBe(0);
    const genesis = await force(it, 'WP01', 'genesis');
    expect(codeOf(genesis)).toBe('1 TRANSITION_REJECTED');
    expect(it.rows().at(-1)).toMatchObject({ force: true, reason: 'for the test' });
  });

  test.each(['{x', '[1]'])('D.27 --evidence-json %s: exit 1, USAGE_ERROR', async (text) => {
    await using it = rig();
    for (const flag of ['--evidence-json', '--review-result-json']) {
      const answer = await move(it, 'WP01', 'done', flag, text);
      expect(codeOf(answer)).toBe('1 USAGE_ERROR');
      expect(answer.json.command).toBe('orchestrator-api.transition');
    }
  });

  test('D.29 open boxes block for_review; mark-status ticks them', async () => {
    await using it = rig();
    await begin(it, 'WP01');
    const review = ['for_review', '--policy', P, '--implementation-evidence-present'] as const;
    expect(codeOf(await move(it, 'WP01', ...review))).toBe('1 TRANSITION_REJECTED');
    const words = ['agent', 'tasks', 'mark-status', 'T011', '--status', 'done'];
    const marked = await it.call(...words, '--mission', MISSION);
    expect(marked.json.data).toMatchObject({ result: 'success', updated: ['T011'] });
    expect(it.read(`${it.files}/tasks.md`)).toContain('- [x] T011 do it');
    expect(it.read(`${it.files}/tasks.md`)).toContain('- [ ] T021 do it');
    // A call that ended before it wrote its box is made good by the same call.
    it.write(
      `${it.files}/tasks.md`,
      it.read(`${it.files}/tasks.md`).replace('[x] T011', '[ ] T011'),
    );
    const again = await it.call(...words, '--mission', MISSION);
    expect(again.json.data.updated).toEqual([]);
    expect(it.read(`${it.files}/tasks.md`)).toContain('- [x] T011 do it');
    expect((await move(it, 'WP01', ...review)).code).toBe(0);
  });

  test('D.14 D.30 D.31 D.34 reviews', async () => {
    await using it = rig();
    await begin(it, 'WP01');
    const ready = ['--subtasks-complete', '--implementation-evidence-present', '--policy', P];
    await move(it, 'WP01', 'for_review', ...ready);
    const evidence = ['--evidence-json', `{"review":${REVIEW}}`];
    expect(codeOf(await move(it, 'WP01', 'done', ...evidence))).toBe('1 TRANSITION_REJECTED');
    const claim = (actor: string) =>
      it.api('start-review', ...asActor('WP01', actor), '--policy', P);
    const without = await it.api('start-review', ...asActor('WP01', 'rev'));
    expect(codeOf(without)).toBe('1 POLICY_METADATA_REQUIRED');
    expect((await claim('rev')).json.data).toMatchObject({ to_lane: 'in_review', no_op: false });
    expect((await claim('rev')).json.data).toMatchObject({ no_op: true });
    expect(codeOf(await claim('other'))).toBe('1 WP_ALREADY_CLAIMED');
    expect(codeOf(await begin(it, 'WP01'))).toBe('1 TRANSITION_REJECTED');
    expect(codeOf(await move(it, 'WP01', 'done'))).toBe('1 TRANSITION_REJECTED');
    const approved = ['--review-result-json', REVIEW, '--policy', P];
    expect((await move(it, 'WP01', 'approved', ...approved)).code).toBe(0);
    expect(it.rows().at(-1)).toMatchObject({
      review_ref: 'r/1',
      evidence: { review: { verdict: 'approved' } },
    });
    const { json } = await it.api('list-ready');
    const wps = json.data.ready_work_packages as { wp_id: string }[];
    expect(wps.map(({ wp_id }) => wp_id)).toEqual(['WP02', 'WP04']);
  });

  test('D.33 blocked needs no policy; one that is given must be valid', async () => {
    await using it = rig();
    const blocked = await move(it, 'WP01', 'blocked');
    expect(blocked.code).toBe(0);
    expect(blocked.json.data.policy_metadata_recorded).toBe(false);
    const canceled = await move(it, 'WP01', 'canceled', '--policy', '{}');
    expect(codeOf(canceled)).toBe('1 POLICY_VALIDATION_FAILED');
  });

  test('D.36 history: unknown names, no note, lanes unmoved', async () => {
    await using it = rig();
    const add = (wp: string) => it.api('append-history', ...asActor(wp, 'a'), '--note', 'n');
    expect(codeOf(await add('WP77'))).toBe('1 WP_NOT_FOUND');
    const elsewhere = ['append-history', '--mission', 'no', ...asActor('WP01', 'a')];
    expect(codeOf(await it.call('orchestrator-api', ...elsewhere, '--note', 'n'))).toBe(
      '1 MISSION_NOT_FOUND',
    );
    expect(codeOf(await it.api('append-history', ...asActor('WP01', 'a')))).toBe('2 USAGE_ERROR');
    expect(new Set(Object.values(await it.lanes()))).toEqual(new Set(['planned']));
  });

  test('D.37 accept: too early, then each time', async () => {
    await using it = rig();
    const early = await it.api('accept-mission', '--actor', 'boss');
    expect(codeOf(early)).toBe('1 MISSION_NOT_READY');
    expect(early.json.data.incomplete_wps).toEqual(Object.keys(FIVE));
    for (const wp of Object.keys(FIVE)) await force(it, wp, 'done');
    for (const times of [1, 2]) {
      const { json } = await it.api('accept-mission', '--actor', 'boss');
      expect(json.data).toMatchObject({
        accepted: true,
        mode: 'auto',
        done_wps: Object.keys(FIVE),
      });
      const meta = JSON.parse(it.read(`${it.files}/meta.json`)) as Record<string, unknown>;
      expect(meta).toMatchObject({ accepted_by: 'boss', acceptance_mode: 'orchestrator' });
      expect(meta.acceptance_history).toHaveLength(times);
    }
  });

  test('D.38 merge: strategy before mission, and all that is not ready', async () => {
    await using it = rig();
    const octopus = ['merge-mission', '--mission', 'no-such', '--strategy', 'octopus'];
    const answer = await it.call('orchestrator-api', ...octopus);
    expect(codeOf(answer)).toBe('1 UNSUPPORTED_STRATEGY');
    expect(answer.json.data.supported).toEqual(['merge', 'rebase', 'squash']);
    const before = it.git('rev-parse', 'main');
    await force(it, 'WP01', 'approved');
    const early = await it.api('merge-mission', '--target', 'main');
    expect(codeOf(early)).toBe('1 PREFLIGHT_FAILED');
    expect(early.json.data.errors).toHaveLength(4);
    for (const wp of Object.keys(FIVE)) await force(it, wp, 'approved');
    const unknown = await it.api('merge-mission', '--target', 'no-such-branch');
    expect(codeOf(unknown)).toBe('1 PREFLIGHT_FAILED');
    expect(JSON.stringify(unknown.json.data)).toContain('no-such-branch');
    const noLanes = await it.api('merge-mission', '--target', 'main');
    expect(codeOf(noLanes)).toBe('1 PREFLIGHT_FAILED');
    expect(it.git('rev-parse', 'main')).toBe(before);
  });

  test('finalize-tasks seeds each work package once', async () => {
    await using it = rig();
    const finalizeTasks = () =>
      it.call('agent', 'mission', 'finalize-tasks', '--mission', MISSION, '--json');
    expect((await finalizeTasks()).json.data.finalized_wps).toEqual(Object.keys(FIVE));
    expect((await finalizeTasks()).json.data.finalized_wps).toEqual([]);
    expect(it.rows().map(({ from_lane }) => from_lane)).toEqual(FIVE_TIMES_GENESIS);
  });
});

const FIVE_TIMES_GENESIS = Object.keys(FIVE).map(() => 'genesis');
