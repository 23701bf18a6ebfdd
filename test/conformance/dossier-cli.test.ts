import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { startTrackerServer } from '#libs/testing';
import { cliBench } from '../e2e/cli-process.ts';
import { runCli, type Told } from './cli.ts';
import { freshIds, git, startSystem, type System } from './harness.ts';
import { type Data, ok } from './wire.ts';

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const SLUG = '064-my-mission';
let system: System;
beforeAll(async () => {
  system = await startSystem({ roles: ['gateway', 'missions'] });
});
afterAll(() => system?.[Symbol.asyncDispose]());

let folder: string;
let repo: string;
let env: Record<string, string>;
const undo: (() => unknown)[] = [];
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ironclaw-dossier-cli-'));
  repo = join(folder, 'repo');
  env = { IRONCLAW_STATE: join(folder, 'state') };
  await mkdir(join(repo, 'kitty-specs', SLUG, 'tasks'), { recursive: true });
  await git(repo, 'init', '-q', '-b', 'main');
  await git(repo, 'remote', 'add', 'origin', `git@host:acme/${freshIds().theater}.git`);
  const meta = { mission_number: 64, mission_type: 'research', target_branch: 'trunk' };
  await write('meta.json', JSON.stringify(meta));
  await write('spec.md', '# Spec ☃');
  await write('tasks/WP01.md', 'work');
  await write('plan.md', Buffer.from('caf\xe9', 'latin1'));
  await git(repo, 'add', '.');
  await git(repo, 'commit', '-q', '-m', 'mission');
});
afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step();
  await rm(folder, { recursive: true, force: true });
});

function write(path: string, content: string | Uint8Array): Promise<void> {
  return writeFile(join(repo, 'kitty-specs', SLUG, path), content);
}

const cli = (...args: string[]): Promise<Told> => runCli(env, args);
/** What a command says with --json. */
async function json(...args: string[]): Promise<Data & { code: number }> {
  const { code, out, err } = await cli(...args, '--json');
  return { code, ...(JSON.parse(out === '' ? err : out) as Data) };
}
const scan = (): Promise<Data> => json('dossier', 'scan', SLUG, '--repo', repo);

/** A server that answers every push in the same way, and what it was sent. */
async function server(status: number, body: Data = {}) {
  const answer = { status };
  const requests: { url: string; auth: string; body: Data }[] = [];
  const http = createServer((request, response) => {
    void (async () => {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk as Buffer);
      const bytes = Buffer.concat(chunks);
      const isGzip = request.headers['content-encoding'] === 'gzip';
      const sent = JSON.parse((isGzip ? gunzipSync(bytes) : bytes).toString()) as Data;
      const auth = request.headers.authorization ?? '';
      requests.push({ url: request.url ?? '', auth, body: sent });
      response.writeHead(answer.status).end(JSON.stringify(body));
    })();
  });
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
  undo.push(() => {
    http.closeAllConnections();
    return new Promise((resolve) => http.close(resolve));
  });
  return { url: `http://127.0.0.1:${(http.address() as AddressInfo).port}`, requests, answer };
}

describe('dossier', () => {
  test('D.49 what is sent has exactly the body shape of the seed, with the token', async () => {
    env.IRONCLAW_DOSSIER_TOKEN = 'a-token';
    const { url, requests } = await server(201);
    expect(await scan()).toMatchObject({
      code: 0,
      queued: 2,
      already_exists: 0,
      skipped: [
        { path: 'meta.json', reason: 'unsupported_surface' },
        { path: 'plan.md', reason: 'not_utf8' },
      ],
    });
    expect(await scan()).toMatchObject({ queued: 0, already_exists: 2 });
    const drained = await json('dossier', 'drain', '--server', `${url}/`);
    expect(drained).toMatchObject({ code: 0, uploaded: 2, stopped: null, queued: 0 });
    expect(requests.map(({ url: path, auth }) => [path, auth])).toEqual([
      ['/api/dossier/push-content/', 'Bearer a-token'],
      ['/api/dossier/push-content/', 'Bearer a-token'],
    ]);
    const text = '# Spec ☃';
    expect(requests[0]?.body).toEqual({
      project_uuid: expect.stringMatching(UUID),
      mission_slug: SLUG,
      target_branch: 'trunk',
      mission_type: 'research',
      manifest_version: '1',
      artifact_path: `kitty-specs/${SLUG}/spec.md`,
      content_hash: `sha256:${createHash('sha256').update(text).digest('hex')}`,
      hash_algorithm: 'sha256',
      content_body: text,
    });
  });

  test('D.49 what the contract forbids or lacks is refused before the queue', async () => {
    const shape = join(folder, 'shape.json');
    const shipped = join(import.meta.dirname, '../../libs/missionlog/upstream-3.0.0-shape.json');
    const rules = JSON.parse(await readFile(shipped, 'utf8')) as Data;
    rules.body_sync.required_fields.push('a_new_field');
    await writeFile(shape, JSON.stringify(rules));
    env.IRONCLAW_CONTRACT_SHAPE = shape;
    const refused = await json('dossier', 'scan', SLUG, '--repo', repo);
    expect(refused).toMatchObject({ code: 1, ok: false, error: { field: 'a_new_field' } });
    expect(await json('dossier', 'status')).toMatchObject({ queued: 0 });
    await writeFile(shape, '{');
    const broken = await json('dossier', 'scan', SLUG, '--repo', repo);
    expect(broken).toMatchObject({ ok: false, error: { code: 'CONTRACT_SHAPE_UNUSABLE' } });
  });

  test('events that wait in the same file go first; bodies wait for them', async () => {
    await scan();
    const { openEventQueue } = await import('#libs/dossier');
    const events = openEventQueue(join(folder, 'state', 'dossier', 'queue.db'), { nowMs: () => 0 });
    events.enqueue({
      event_id: 'e1',
      event_type: 'MissionCreated',
      aggregate_type: 'Mission',
      schema_version: '3.0.0',
      build_id: 'b',
      payload: { mission_slug: SLUG, mission_number: '064', mission_type: 'research' },
    } as never);
    events.close();
    const away = await server(503);
    const held = await json('dossier', 'drain', '--server', away.url);
    expect(held).toMatchObject({ code: 1, stopped: 'events_pending', queued: 2, events_queued: 1 });
    expect(away.requests.map(({ url }) => url)).toEqual(['/api/v1/events/batch/']);
    const results = [{ event_id: 'e1', status: 'success' }];
    const there = await server(200, { results });
    const sent = await json('dossier', 'drain', '--server', there.url);
    expect(sent).toMatchObject({ code: 0, already_exists: 2, queued: 0, events_queued: 0 });
    const [first, ...rest] = there.requests.map(({ url }) => url);
    expect(first).toBe('/api/v1/events/batch/');
    expect(new Set(rest)).toEqual(new Set(['/api/dossier/push-content/']));
  });

  test('artifacts go from the checkout to the system and are read back there', async () => {
    await scan();
    const first = await json('dossier', 'drain', '--server', system.url('gateway'));
    expect(first).toMatchObject({ code: 0, uploaded: 2, queued: 0 });
    await write('spec.md', 'changed');
    expect(await scan()).toMatchObject({ queued: 2 });
    const again = await json('dossier', 'drain', '--server', system.url('gateway'));
    expect(again).toMatchObject({ uploaded: 1, already_exists: 1 });
    const { dossiers } = ok(await system.call('http', 'missions.dossiers'));
    const { project_uuid } = dossiers.at(-1) as Data;
    const path = `kitty-specs/${SLUG}/spec.md`;
    const where = { project_uuid, mission_slug: SLUG, path };
    const artifact = ok(await system.call('nats', 'missions.artifact', where));
    expect(artifact).toMatchObject({ content_body: 'changed', versions: 2 });
  });

  test('D.50 a server that asks for entries first gets the events of scan --announce before', async () => {
    await using strict = await startSystem({
      roles: ['gateway', 'missions'],
      env: { IRONCLAW_DOSSIER_INDEX: 'true' },
    });
    const drain = () => json('dossier', 'drain', '--server', strict.url('gateway'));
    await scan();
    expect(await drain()).toMatchObject({ code: 1, failed: 2, uploaded: 0 });
    const told = await json('dossier', 'scan', SLUG, '--repo', repo, '--announce');
    expect(told).toMatchObject({ code: 0, queued: 2 });
    expect(await json('dossier', 'status')).toMatchObject({ events: { queued: 2 } });
    const again = await json('dossier', 'scan', SLUG, '--repo', repo, '--announce');
    expect(again).toMatchObject({ queued: 0, already_exists: 2 });
    const sent = await drain();
    expect(sent).toMatchObject({ code: 0, uploaded: 2, events_queued: 0, events_set_aside: 0 });
    const stored = await strict.broker.jsm.streams.getMessage('MISSIONS', { seq: 1 });
    expect(stored?.json<Data>()).toMatchObject({
      event_type: 'MissionDossierArtifactIndexed',
      aggregate_type: 'MissionDossier',
      schema_version: '3.0.0',
      build_id: expect.stringMatching(UUID),
      lamport_clock: 1,
      payload: {
        mission_slug: SLUG,
        mission_number: '064',
        mission_type: 'research',
        namespace: { mission_slug: SLUG, target_branch: 'trunk', manifest_version: '1' },
        artifact_id: { path: 'spec.md', artifact_class: 'input' },
        content_ref: { hash: expect.stringMatching(/^[0-9a-f]{64}$/), algorithm: 'sha256' },
      },
    });
    const second = await strict.broker.jsm.streams.getMessage('MISSIONS', { seq: 2 });
    expect(second?.json<Data>()).toMatchObject({
      lamport_clock: 2,
      payload: { artifact_id: { path: 'tasks/WP01.md', artifact_class: 'workflow' } },
    });
    expect(await git(repo, 'status', '--porcelain')).toBe('');
  });

  test('what fails is told by exit code and status, and put back by retry', async () => {
    await scan();
    const bad = await server(400, { detail: 'the hash is wrong' });
    expect(await cli('dossier', 'drain', '--server', bad.url)).toMatchObject({ code: 1 });
    const status = await cli('dossier');
    expect(status.code).toBe(0);
    expect(status.out).toMatch(/failed +2\n/);
    expect(status.out).toContain('the hash is wrong');
    expect(await json('dossier', 'retry')).toMatchObject({ due: 0, requeued: 0 });
    expect(await json('dossier', 'retry', '--failed')).toMatchObject({ code: 0, requeued: 2 });
    const busy = await server(503);
    const held = await json('dossier', 'drain', '--server', busy.url);
    expect(held).toMatchObject({ code: 1, retrying: 2, queued: 2 });
    expect(await json('dossier', 'status')).toMatchObject({ due: 0, retrying: 2, failed: 0 });
    await json('dossier', 'retry');
    const good = await server(201);
    expect(await cli('dossier', 'drain', '--server', good.url)).toMatchObject({
      code: 0,
      out: '2 stored, 0 there before, 0 to be tried again, 0 given up, 0 waiting',
    });
  });

  test('D.49 what the contract refuses by now is held, not sent and not lost', async () => {
    await scan();
    const shape = join(folder, 'shape.json');
    const shipped = join(import.meta.dirname, '../../libs/missionlog/upstream-3.0.0-shape.json');
    const rules = JSON.parse(await readFile(shipped, 'utf8')) as Data;
    rules.body_sync.forbidden_fields.push('target_branch');
    await writeFile(shape, JSON.stringify(rules));
    env.IRONCLAW_CONTRACT_SHAPE = shape;
    const good = await server(201);
    const held = await json('dossier', 'drain', '--server', good.url);
    expect(held).toMatchObject({ code: 1, held: 2, uploaded: 0, failed: 0, queued: 2 });
    expect(good.requests).toEqual([]);
    const { errors } = await json('dossier', 'status');
    expect(errors).toMatchObject([{ rows: 2 }]);
    expect(errors[0].error).toContain('at body upload: target_branch is forbidden');
    delete env.IRONCLAW_CONTRACT_SHAPE;
    await json('dossier', 'retry');
    const sent = await json('dossier', 'drain', '--server', good.url);
    expect(sent).toMatchObject({ code: 0, held: 0, uploaded: 2, queued: 0 });
  });

  test('drain --follow sends what comes until it is stopped, also after nobody was let in', async () => {
    await scan();
    const there = await server(401);
    await using bench = await cliBench();
    const args = ['dossier', 'drain', '--follow', '--json', '--server', there.url];
    const follower = bench.start(args, env);
    await follower.says('"stopped":"unauthorized"');
    expect(await json('dossier', 'status')).toMatchObject({ queued: 2, retrying: 0, failed: 0 });
    there.answer.status = 201;
    await follower.says('"uploaded":2');
    await write('spec.md', 'changed');
    await scan();
    const bodies = (): unknown[] => there.requests.map(({ body }) => body.content_body);
    await expect.poll(bodies, { timeout: 20_000 }).toContain('changed');
    const waiting = async (): Promise<unknown> => (await json('dossier', 'status')).queued;
    await expect.poll(waiting, { timeout: 20_000 }).toBe(0);
    follower.child.kill('SIGTERM');
    const { code, stderr } = await follower.ended;
    expect([code, stderr]).toEqual([0, '']);
    expect(await json('dossier', 'status')).toMatchObject({ failed: 0 });
    for (const every of ['0', 'x', '86401']) {
      const refused = await cli('dossier', 'drain', '--follow', '--every', every);
      expect(refused).toMatchObject({ code: 2 });
    }
  });

  test('exit codes: nobody there is 3, a mission that is not there 1, wrong usage 2', async () => {
    await scan();
    expect(await json('dossier', 'drain', '--server', 'http://127.0.0.1:1')).toMatchObject({
      code: 3,
      stopped: 'unreachable',
      queued: 2,
    });
    expect(await cli('dossier', 'drain')).toMatchObject({ code: 3 });
    expect(await cli('dossier', 'drain', '--server', 'ftp://x')).toMatchObject({ code: 2 });
    for (const mission of ['065-none', '..', '../..', '', '/etc', `a/../${SLUG}`]) {
      const { code, err } = await cli('dossier', 'scan', mission, '--repo', repo);
      expect([code, err]).toEqual([1, expect.stringContaining('There is no mission')]);
    }
    expect(await cli('dossier', 'scan', SLUG, '--repo', folder)).toMatchObject({ code: 2 });
    expect(await cli('dossier', 'scan')).toMatchObject({ code: 2 });
    expect(await cli('dossier', 'nonsense')).toMatchObject({ code: 2 });
    const help = await cli('dossier', 'drain', '--help');
    expect([help.code, help.out]).toEqual([0, expect.stringContaining('--server')]);
  });
});

describe('tracker', () => {
  const at = (): string[] => ['--provider', 'linear', '--repo', repo];

  /** Who asks the tracker. */
  const login = (url: string, more: Record<string, string> = {}): void => {
    Object.assign(env, {
      IRONCLAW_TRACKER_URL: url,
      IRONCLAW_TRACKER_TOKEN: 'old',
      IRONCLAW_TRACKER_TEAM: 'acme',
      ...more,
    });
  };

  test('D.55 bind sends the identity of the seed; the checkout keeps it', async () => {
    await using tracker = await startTrackerServer();
    login(tracker.url);
    const bound = await json('tracker', 'bind', ...at());
    expect(bound).toMatchObject({ code: 0, binding_ref: 'binding-of-token-1', existed: false });
    const identity = tracker.requests().at(-1)?.body?.project_identity as Data;
    expect(Object.keys(identity).sort()).toEqual([
      'build_id',
      'node_id',
      'repo_slug',
      'slug',
      'uuid',
    ]);
    expect(identity).toMatchObject({
      uuid: expect.stringMatching(UUID),
      node_id: expect.stringMatching(/^[0-9a-f]{12}$/),
      repo_slug: expect.stringMatching(/^acme\//),
      build_id: expect.stringMatching(UUID),
    });
    const held = await cli('tracker', 'validate', 'binding-of-token-1', ...at());
    expect(held).toMatchObject({ code: 0, out: 'binding-of-token-1 holds' });
    expect(await cli('tracker', 'validate', 'other', ...at())).toMatchObject({ code: 1 });
    expect(tracker.requests().at(-1)?.body?.project_identity).toEqual(identity);
    expect(await git(repo, 'status', '--porcelain')).toBe('?? .kittify/');
  });

  test('a binding is kept in .kittify/config.yaml; later commands use it until unbind', async () => {
    await using tracker = await startTrackerServer();
    login(tracker.url);
    await mkdir(join(repo, '.kittify'));
    const file = join(repo, '.kittify', 'config.yaml');
    const before = 'version: 1\ntracker:\n  workspace: w # of another program\n';
    await writeFile(file, before);
    const here = ['--repo', repo];
    expect(await json('tracker', 'status', ...here)).toMatchObject({ code: 0, bound: false });
    expect(await cli('tracker', 'validate', ...here)).toMatchObject({ code: 2 });
    expect(await json('tracker', 'bind', ...at())).toMatchObject({ code: 0, file, previous: null });
    expect(await readFile(file, 'utf8')).toBe(`version: 1
tracker:
  provider: "linear"
  binding_ref: "binding-of-token-1"
  display_label: "Board 1"
  workspace: w # of another program
`);
    expect(await json('tracker', 'status', ...here)).toMatchObject({
      code: 0,
      bound: true,
      provider: 'linear',
      binding_ref: 'binding-of-token-1',
      display_label: 'Board 1',
      project_identity: { uuid: expect.stringMatching(UUID) },
    });
    expect((await cli('tracker', 'status', ...here)).out).toContain('binding-of-token-1');
    const held = await json('tracker', 'validate', ...here);
    expect(held).toMatchObject({ code: 0, valid: true, provider: 'linear' });
    const elsewhere = await cli('tracker', 'validate', '--provider', 'jira', ...here);
    expect(elsewhere, 'a binding of another provider').toMatchObject({ code: 2 });
    const again = await json('tracker', 'bind', ...here);
    expect(again).toMatchObject({ existed: true, previous: { display_label: 'Board 1' } });
    expect(await json('tracker', 'unbind', ...here)).toMatchObject({ code: 0, unbound: true });
    expect(await readFile(file, 'utf8')).toBe(before);
    expect(await json('tracker', 'unbind', ...here)).toMatchObject({ code: 0, unbound: false });
    await writeFile(file, 'tracker: [a, list]\n');
    const asked = tracker.requests().length;
    const odd = await json('tracker', 'bind', ...at());
    expect(odd).toMatchObject({ code: 2, error: { field: '.kittify/config.yaml' } });
    expect(tracker.requests(), 'nobody was asked').toHaveLength(asked);
    expect(await readFile(file, 'utf8')).toBe('tracker: [a, list]\n');
  });

  test('D.55 401 exchanges the refresh token once; the new tokens serve later commands', async () => {
    await using tracker = await startTrackerServer();
    login(tracker.url, { IRONCLAW_TRACKER_REFRESH_TOKEN: 'r1' });
    tracker.script('bind-resolve/', { status: 401 }, { status: 200, body: oneCandidate });
    const sent = (): unknown[] =>
      tracker
        .requests()
        .splice(0)
        .map(({ path, headers, body }) => [path, headers.authorization ?? body?.refresh]);
    expect(await json('tracker', 'bind', ...at())).toMatchObject({ code: 0 });
    const exchange = '/api/v1/token/refresh/';
    expect(sent()).toEqual([
      ['bind-resolve/', 'Bearer old'],
      [exchange, 'r1'],
      ['bind-resolve/', 'Bearer access-of-r1'],
      ['bind-confirm/', 'Bearer access-of-r1'],
    ]);
    const kept = join(folder, 'state', 'tracker', 'tokens.json');
    expect((await stat(kept)).mode & 0o777).toBe(0o600);
    tracker.script('bind-validate/', { status: 401 });
    const over = await json('tracker', 'validate', ...at());
    expect(over).toMatchObject({ code: 1, error: { code: 'TRACKER_LOGIN' } });
    expect(over.error.details).toMatchObject({ error_code: 'session_expired' });
    expect(sent()).toEqual([
      ['bind-validate/', 'Bearer access-of-r1'],
      [exchange, 'next-of-r1'],
      ['bind-validate/', 'Bearer access-of-next-of-r1'],
    ]);
    tracker.script(exchange, { status: 401 });
    expect(await json('tracker', 'validate', ...at())).toMatchObject({ code: 1 });
    expect(sent()).toHaveLength(2);
    env.IRONCLAW_TRACKER_TOKEN = 'of a new login';
    tracker.script('bind-validate/', { status: 200, body: { valid: true } });
    expect(await json('tracker', 'validate', ...at())).toMatchObject({ code: 0 });
    expect(sent()).toEqual([['bind-validate/', 'Bearer of a new login']]);
  });

  test('D.45 worktrees and clones have builds of their own, and one project', async () => {
    const [worktree, clone] = [join(folder, 'worktree'), join(folder, 'clone')];
    await git(repo, 'worktree', 'add', '-q', worktree);
    await git(repo, 'clone', '-q', repo, clone);
    await git(clone, 'remote', 'set-url', 'origin', await git(repo, 'remote', 'get-url', 'origin'));
    const { findCheckout } = await import('../../apps/cli/checkout.ts');
    const identities = (dirs: readonly string[]) =>
      Promise.all(dirs.map(async (dir) => (await findCheckout(dir)).identity));
    const all = await identities([repo, worktree, clone]);
    expect(new Set(all.map(({ build_id }) => build_id)).size).toBe(3);
    for (const key of ['uuid', 'slug', 'node_id', 'repo_slug'] as const) {
      expect(new Set(all.map((one) => one[key])).size, key).toBe(1);
    }
    const later = [repo, join(worktree, 'kitty-specs', SLUG), clone];
    expect(await identities(later)).toEqual(all);
    for (const dir of [repo, worktree, clone]) {
      expect(await git(dir, 'status', '--porcelain')).toBe('');
    }
  });

  test('the identity in .kittify/config.yaml is the one that is used', async () => {
    await mkdir(join(repo, '.kittify'));
    const uuid = '0b0f4b0e-7a57-4f5e-9b1a-3d3c52a1d001';
    const project = [`uuid: "${uuid}"`, 'slug: named # so', 'node_id: ab12', 'repo_slug: null'];
    const lines = ['version: 1', 'project:', ...project.map((line) => `  ${line}`), 'agents:'];
    const yaml = [...lines, '  slug: no', ''].join('\n');
    await writeFile(join(repo, '.kittify', 'config.yaml'), yaml);
    const { findCheckout } = await import('../../apps/cli/checkout.ts');
    const { identity } = await findCheckout(repo);
    expect(identity).toMatchObject({ uuid, slug: 'named', node_id: 'ab12' });
    expect(identity.repo_slug).toMatch(/^acme\//);
  });

  test('D.55 without a token, a team or a choice it says what to do, before or after asking', async () => {
    await using tracker = await startTrackerServer();
    expect(await cli('tracker', 'bind', ...at())).toMatchObject({ code: 2 });
    env.IRONCLAW_TRACKER_URL = tracker.url;
    const nobody = await json('tracker', 'bind', ...at());
    expect(nobody).toMatchObject({ code: 1, error: { code: 'TRACKER_LOGIN' } });
    env.IRONCLAW_TRACKER_TOKEN = 'token';
    expect(await json('tracker', 'bind', ...at())).toMatchObject({ code: 1 });
    expect(tracker.requests()).toEqual([]);
    env.IRONCLAW_TRACKER_TEAM = 'acme';
    const candidates = [1, 2].map((n) => ({ candidate_token: `t${n}`, display_label: `B${n}` }));
    tracker.script('bind-resolve/', {
      status: 200,
      body: { match_type: 'candidates', candidates },
    });
    const several = await json('tracker', 'bind', ...at());
    expect(several).toMatchObject({ code: 1, error: { code: 'TRACKER_CHOICE' } });
    expect(several.error.details.candidates).toHaveLength(2);
    expect(await json('tracker', 'bind', ...at(), '--select', '3')).toMatchObject({ code: 1 });
    expect(await json('tracker', 'bind', ...at(), '--select', 'x')).toMatchObject({ code: 2 });
    const chosen = await json('tracker', 'bind', ...at(), '--select', '2');
    expect(chosen).toMatchObject({ code: 0, binding_ref: 'binding-of-t2', label: 'Board 1' });
    for (const named of [[], ['--provider', 'x']]) {
      const unbound = await cli('tracker', 'unbind', '--repo', repo);
      expect(unbound.code).toBe(0);
      const refused = await cli('tracker', 'bind', '--repo', repo, ...named);
      expect(refused).toMatchObject({ code: 2 });
    }
  });

  test('an origin is bound at the tracker, then told as MissionOriginBound, once', async () => {
    await using tracker = await startTrackerServer();
    Object.assign(env, {
      IRONCLAW_TRACKER_URL: tracker.url,
      IRONCLAW_TRACKER_TOKEN: 'token',
      IRONCLAW_TRACKER_TEAM: 'acme',
      IRONCLAW_URL: system.url('gateway'),
    });
    const issue = ['--issue-key', 'LIN-1', '--issue-url', 'https://l.example/1', '--title', 'It'];
    const origin = (id: string): Promise<Data> =>
      json('tracker', 'origin', SLUG, ...at(), '--issue-id', id, ...issue);
    const first = await origin('i-1');
    expect(first).toMatchObject({ code: 0, duplicate: false });
    expect(await origin('i-1')).toMatchObject({ code: 0, duplicate: true });
    expect(await origin('i-2')).toMatchObject({ code: 1, error: { code: 'TRACKER_REFUSED' } });
    const { findCheckout } = await import('../../apps/cli/checkout.ts');
    const { identity } = await findCheckout(repo);
    const subject = `mis.v1.${identity.uuid}.${SLUG}.board`;
    const stored = await system.broker.jsm.streams.getMessage('MISSIONS', {
      last_by_subj: subject,
    });
    expect(stored?.json<Data>()).toMatchObject({
      event_id: first.event_id,
      event_type: 'MissionOriginBound',
      aggregate_type: 'Mission',
      aggregate_id: SLUG,
      schema_version: '3.0.0',
      build_id: identity.build_id,
      node_id: identity.node_id,
      project_uuid: identity.uuid,
      payload: {
        mission_slug: SLUG,
        mission_number: '064',
        mission_type: 'research',
        provider: 'linear',
        external_issue_id: 'i-1',
        external_issue_key: 'LIN-1',
        external_issue_url: 'https://l.example/1',
        title: 'It',
      },
    });
  });
});

const oneCandidate = {
  match_type: 'candidates',
  candidates: [{ candidate_token: 't', display_label: 'Board', sort_position: 0 }],
};
