import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import type { Role } from '#libs/contracts';
import { type ModelServer, startModelServer, waitFor } from '#libs/testing';
import {
  type OwnMission,
  ALL_WELL,
  LONG,
  ownMission,
  type Reached,
  runsOf,
} from './mission-kit.ts';
import { freshIds, git, startSystem, type System } from './harness.ts';
import { IRONCLAW, MISSION, P, REVIEW } from './orchestrator-rig.ts';
import { type Data, err, ok } from './wire.ts';

// Missions that the system executes itself: work packages as orders on their lanes (issue D, 10).

const APPROVED = { kind: 'ok', text: 'VERDICT: approved\nIt does what it should.' } as const;
const TIMEOUT = { timeout: 300_000 };
const DIAMOND = { WP01: [], WP02: ['WP01'], WP03: ['WP01'], WP04: ['WP02', 'WP03'] };
const ROLES: readonly Role[] = [
  'gateway',
  'ledger',
  'vault',
  'observer',
  'integration',
  'co',
  'worker',
  'missions',
];
let model: ModelServer;
let system: System;
let reached: Reached;
beforeAll(async () => {
  model = await startModelServer();
  system = await startSystem({
    roles: ROLES,
    env: { IO_INTELLIGENCE_BASE_URL: model.url, IO_INTELLIGENCE_API_KEY: 'a key of the tests' },
  });
  const { call, eventsOf } = system;
  reached = { call, eventsOf, natsUrl: system.testBroker.url };
});
beforeEach(() => model.setMode(APPROVED));
afterAll(async () => {
  await system?.[Symbol.asyncDispose]();
  await model?.[Symbol.asyncDispose]();
});

const inLane = (mission: OwnMission, wp: string, lane: string): Promise<unknown> =>
  waitFor(async () => (await mission.lanes())[wp] === lane, LONG);
const outputsOf = (mission: OwnMission, branch: string): string[] =>
  mission.rig
    .git('ls-tree', '-r', '--name-only', branch)
    .split('\n')
    .filter((path) => path.startsWith('outputs/'));
const refusal = async (mission: OwnMission, name: string, input: Data, code: string) =>
  err(await system.call('http', `missions.${name}`, { ...mission.key, ...input }), code);

test('D.56 D.39 four work packages from planned to merged by one command', TIMEOUT, async () => {
  await using mission = await ownMission(reached, DIAMOND);
  const { rig } = mission;
  const before = rig.git('rev-parse', 'main').trim();
  const words = ['missions', 'run', MISSION, '--wait', '--json', '--repo', rig.root];
  const { code, stdout, stderr } = await rig.start([...words, '--url', system.url('gateway')], {
    program: IRONCLAW,
  }).ended;
  expect([code, stderr]).toEqual([0, '']);
  const said = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Data);
  expect(said[0]).toMatchObject({ active: true, duplicate: false, next: ['WP01'] });
  expect((said[0] as Data).theater).toMatchObject({ repo_path: rig.root });
  const { end } = said.at(-1) as Data;
  expect(end).toMatchObject({ mission_slug: MISSION, status: 'merged', standing: 'merged' });

  for (const wp of Object.keys(DIAMOND)) expect(await mission.moves(wp)).toEqual(ALL_WELL);
  const runs = await runsOf(reached, mission);
  expect(runs).toHaveLength(8);
  // What the units of the four wrote is on the target, once each, and nothing of the reviews.
  const work = runs.filter(({ event }) => event.payload.author === 'ironclaw');
  const written = work.map(({ run_id }) => `outputs/${run_id}/model_output.txt`);
  expect(outputsOf(mission, 'main')).toEqual(written.sort());
  expect(rig.git('show', `main:${written[0]}`)).toContain('It does what it should.');
  expect(rig.git('rev-parse', 'main').trim()).toBe(end.merged.commit);
  rig.git('merge-base', '--is-ancestor', before, 'main');
  rig.git('fsck', '--strict');
  // Lanes and reviews are gone; the checkout is where it was; the files tell the same.
  expect(rig.git('branch', '--list', 'kitty/*')).toBe('');
  expect(rig.git('branch', '--show-current').trim()).toBe('planning');
  expect(rig.rows().filter(({ to_lane }) => to_lane === 'done')).toHaveLength(4);
  expect(rig.read(`${rig.files}/tasks.md`)).not.toContain('[ ]');
});

test(
  'D.14 dependents stand on what they waited for; both sides know each other',
  TIMEOUT,
  async () => {
    await using mission = await ownMission(reached, { WP01: [], WP02: ['WP01'] });
    const asked = model.requests().length;
    await mission.run({ merge: 'none' });
    await mission.rest('accepted');
    const history = await mission.history();
    const at = (wp: string, lane: string): number =>
      history.findIndex(({ wp_id, event }) => wp_id === wp && event.payload.to_lane === lane);
    expect(at('WP01', 'approved')).toBeLessThan(at('WP02', 'claimed'));
    const lane = (wp: string) => `kitty/mission-${MISSION}-${wp}`;
    expect(outputsOf(mission, lane('WP01'))).toHaveLength(1);
    expect(outputsOf(mission, lane('WP02'))).toHaveLength(2);

    const laneEvents = new Map(history.map(({ event_id, event }) => [event_id as string, event]));
    const runs = await runsOf(reached, mission);
    expect(runs).toHaveLength(4);
    for (const { wp_id, run_id, order_ids, event, created } of runs) {
      expect(event.correlation_id).toBe(run_id);
      const { mission: told } = created.payload;
      expect(told).toMatchObject({ ...mission.key, wp_id });
      expect(laneEvents.get(told.wp_event_id)?.payload).toMatchObject({ wp_id });
      const events = await system.eventsOf({ order_id: order_ids[0] });
      expect(events.filter(({ type }) => type === 'INTEGRATED')).toHaveLength(1);
      const order = events.find(({ type }) => type === 'ORDER_CREATED');
      expect(order?.payload.mission).toEqual(told);
    }
    // The units were given the work package itself, the reviewing ones the result too.
    const prompts = model
      .requests()
      .slice(asked)
      .map(({ body }) => JSON.stringify(body.messages));
    expect(prompts).toHaveLength(4);
    for (const prompt of prompts) expect(prompt).toMatch(/owned_files.*WP0[12]\.txt/);
    const reviews = prompts.filter((prompt) => prompt.includes('Review the result of'));
    expect(reviews).toHaveLength(2);
    for (const prompt of reviews) expect(prompt).toContain('It does what it should.');
  },
);

test(
  'D.31 D.25 what a review sends back is done again, then blocked, then brought back',
  TIMEOUT,
  async () => {
    model.setMode({ kind: 'ok', text: 'VERDICT: changes_requested\nNot yet.' });
    await using mission = await ownMission(reached, { WP01: [] });
    await mission.run();
    await mission.rest('blocked');
    const steps = await mission.moves('WP01');
    const back = 'ironclaw-review: in_review > in_progress';
    expect(steps.filter((step) => step === back)).toHaveLength(3);
    expect(steps.at(-1)).toBe('ironclaw-review: in_review > blocked');
    const [wp] = (await mission.call('work-packages')).work_packages;
    expect(wp.last_reason).toContain('it was sent back 4 times');
    // The next round is told what the last one was sent back for.
    const reworked = model.requests().map(({ body }) => JSON.stringify(body.messages));
    expect(reworked.some((text) => text.includes('Mend what review.md asks for'))).toBe(true);

    model.setMode(APPROVED);
    await refusal(mission, 'retry', { wp_id: 'WP77', by: 'ana' }, 'INVALID_REQUEST');
    await refusal(mission, 'retry', { by: 'ana' }, 'ILLEGAL_TRANSITION');
    await mission.call('retry', { wp_id: 'WP01', by: 'ana', note: 'look again' }, 202);
    await mission.rest('merged');
    const brought = (await mission.moves('WP01')).slice(steps.length, steps.length + 2);
    expect(brought).toEqual(['ana: blocked > in_progress', 'ana: in_progress > planned']);
    await refusal(mission, 'retry', { wp_id: 'WP01', by: 'ana' }, 'ILLEGAL_TRANSITION');
  },
);

test(
  'D.33 a run that fails blocks its work package with the reason; others go on',
  TIMEOUT,
  async () => {
    await using mission = await ownMission(reached, { WP01: [], WP02: ['WP01'], WP03: [] });
    model.setMode({ kind: 'status', status: 400, message: 'no such model' });
    await mission.run({ merge: 'squash' });
    await mission.rest('blocked');
    expect(await mission.lanes()).toEqual({ WP01: 'blocked', WP02: 'planned', WP03: 'blocked' });
    const { work_packages } = await mission.call('work-packages', { wp_id: 'WP01' });
    expect(work_packages[0].last_reason).toMatch(/it is FAILED: .*no such model/s);
    expect(outputsOf(mission, 'main')).toEqual([]);
    model.setMode(APPROVED);
    for (const wp_id of ['WP01', 'WP03']) await mission.call('retry', { wp_id, by: 'ana' }, 202);
    const { merged } = await mission.rest('merged');
    expect(merged).toMatchObject({ strategy: 'squash', target_branch: 'main' });
    expect(outputsOf(mission, 'main')).toHaveLength(3);
    expect(mission.rig.git('rev-list', '--count', 'planning..main').trim()).toBe('1');
  },
);

test(
  'D.34 D.38 people review; a refused merge is told, and tried again when asked for',
  TIMEOUT,
  async () => {
    await using mission = await ownMission(reached, { WP01: [] });
    const { rig } = mission;
    await mission.run({ review: 'person' });
    await inLane(mission, 'WP01', 'for_review');
    const wp = ['--wp', 'WP01', '--policy', P];
    expect((await rig.api('start-review', ...wp, '--actor', 'ana')).code).toBe(0);
    expect((await mission.board()).run.standing).toBe('running');
    rig.git('branch', '-m', 'main', 'parked');
    const verdict = ['--to', 'approved', '--actor', 'ana', '--review-result-json', REVIEW];
    expect((await rig.api('transition', ...wp, ...verdict)).code).toBe(0);
    const refused = await mission.rest('merge refused');
    expect(refused.merge_refused.errors).toEqual([expect.stringContaining('main')]);
    expect(refused).toMatchObject({ status: 'accepted', merged: null });
    const told = (await mission.history()).filter(({ event_type }) => event_type === 'ErrorLogged');
    expect(told.map(({ event }) => event.payload.error_message)).toEqual([
      expect.stringMatching(/^the merge was refused: .*main/),
    ]);
    const show = ['missions', 'show', MISSION, '--url', system.url('gateway')];
    const shown = await rig.start([...show, '--project', mission.key.project_uuid], {
      program: IRONCLAW,
    }).ended;
    expect(shown.stdout).toMatch(/^run +merge refused, review by person, merge: merge$/m);
    expect(shown.stdout).toMatch(/^refused +\S+: .*main/m);
    // The same settings again change nothing; only asking for another try does.
    rig.git('branch', '-m', 'parked', 'main');
    expect(await mission.run({ review: 'person' })).toMatchObject({ duplicate: true });
    expect((await mission.board()).run.standing).toBe('merge refused');
    expect(await mission.call('retry', { by: 'ana' }, 202)).toEqual({ retried: 'merge' });
    const { merged } = await mission.rest('merged');
    expect(rig.git('rev-parse', 'main').trim()).toBe(merged.commit);
    expect(
      (await mission.history()).filter(({ event_type }) => event_type === 'ErrorLogged'),
    ).toEqual(told);
  },
);

test('D.56 the local model is enough: work packages from planned to merged', TIMEOUT, async () => {
  await using local = await startSystem({ roles: ROLES });
  const { call, eventsOf } = local;
  const natsUrl = local.testBroker.url;
  const wps = { WP01: [], WP02: ['WP01'] };
  await using mission = await ownMission({ call, eventsOf, natsUrl }, wps);
  await mission.run();
  await mission.rest('merged');
  for (const wp of Object.keys(wps)) expect(await mission.moves(wp)).toEqual(ALL_WELL);
  const [written = ''] = outputsOf(mission, 'main');
  expect(mission.rig.git('show', `main:${written}`)).toMatch(/Part WP0[12]/);
});

test(
  'a theater that nobody has opened is made; then the units know titles alone',
  TIMEOUT,
  async () => {
    await using mission = await ownMission(reached, { WP01: [] });
    const { theater: theater_id } = freshIds();
    await mission.run({ theater_id });
    const { merged } = await mission.rest('merged');
    const { repo_path } = ok(await system.call('http', 'vault.open-theater', { theater_id }));
    expect(await git(repo_path, 'rev-parse', 'main')).toBe(merged.commit);
    expect(outputsOf(mission, 'main')).toEqual([]);
  },
);

test('stopped, nothing more is begun; what others have claimed is theirs', TIMEOUT, async () => {
  await using mission = await ownMission(reached, { WP01: [], WP02: ['WP01'], WP03: [] });
  const claim = ['--wp', 'WP03', '--actor', 'bob', '--policy', P];
  expect((await mission.rig.api('start-implementation', ...claim)).code).toBe(0);
  await mission.run({ review: 'person' });
  await inLane(mission, 'WP01', 'for_review');
  const stop = { ...mission.key, stop: true };
  const stopped = await system.call('nats', 'missions.run', stop);
  expect(stopped.body.data).toMatchObject({ active: false, duplicate: false, next: [] });
  const again = await system.call('nats', 'missions.run', stop);
  expect(again.body.data).toMatchObject({ active: false, duplicate: true });
  await mission.rest('stopped');
  const wp = ['--wp', 'WP01', '--policy', P, '--actor', 'ana'];
  await mission.rig.api('start-review', ...wp);
  await mission.rig.api('transition', ...wp, '--to', 'approved', '--review-result-json', REVIEW);
  await refusal(mission, 'run', { theater_id: 'not one' }, 'INVALID_REQUEST');
  await mission.run({ review: 'person' });
  await inLane(mission, 'WP02', 'for_review');
  expect(await mission.moves('WP03')).toEqual([
    'bob: planned > claimed',
    'bob: claimed > in_progress',
  ]);
});

test(
  'D.37 evidence that a mission with changed workflows owes comes before its acceptance',
  TIMEOUT,
  async () => {
    await using mission = await ownMission(reached, { WP01: [] });
    const { rig } = mission;
    rig.write('.github/workflows/ci.yml', 'on: push\n');
    rig.git('add', '-A');
    rig.git('commit', '-qm', 'a workflow');
    await mission.run({ merge: 'none' });
    const refused = await mission.rest('merge refused');
    expect(refused.status).toBe('open');
    expect(refused.merge_refused).toMatchObject({ code: 'WORKFLOW_EVIDENCE_REQUIRED' });
    expect(refused.merge_refused.errors[0]).toContain(`${rig.files}/workflow-evidence.md`);
    rig.write(`${rig.files}/workflow-evidence.md`, 'run id 12345678\n');
    await mission.call('retry', { by: 'ana' }, 202);
    expect((await mission.rest('accepted')).status).toBe('accepted');
  },
);

test('the command line tells what is blocked and brings it back', TIMEOUT, async () => {
  await using mission = await ownMission(reached, { WP01: [] });
  const { rig } = mission;
  const say = (...words: string[]) =>
    rig.start(['missions', ...words, '--url', system.url('gateway'), '--repo', rig.root], {
      program: IRONCLAW,
    }).ended;
  model.setMode({ kind: 'status', status: 400, message: 'no such model' });
  const failed = await say('run', MISSION, '--wait', '--merge', 'rebase');
  expect(failed.code).toBe(1);
  expect(failed.stdout).toMatch(/^theater repo_[0-9a-f]{12} on /m);
  expect(failed.stdout).toMatch(/^run +blocked, review by unit, merge: rebase$/m);
  expect(failed.stdout).toMatch(/^WP01 +blocked: run .* no such model/m);
  model.setMode(APPROVED);
  const retried = await say('retry', MISSION, 'WP01', '--by', 'ana');
  expect(retried).toMatchObject({ code: 0, stdout: expect.stringContaining('as ana asked') });
  const again = await say('run', MISSION, '--wait', '--merge', 'rebase');
  expect(again.stdout).toMatch(/^merged +[0-9a-f]{40} on main \(rebase\)$/m);
  expect(again.code).toBe(0);
  expect((await say('run', MISSION, '--merge', 'octopus')).code).toBe(2);
  expect((await say('run', MISSION, '--stop', '--wait')).code).toBe(2);
  expect((await say('retry', MISSION)).code).toBe(1);
});
