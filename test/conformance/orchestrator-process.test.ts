import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stateLayout } from '#libs/runtime';
import { startTestBroker, waitFor } from '#libs/testing';
import { describe, expect, test } from 'vitest';
import { homeOf, isAlive, readHomeBroker } from '../../apps/cli/orchestrator/home.ts';
import { run } from '../../apps/cli/program.ts';
import { writeRunning } from '../../apps/cli/supervisor/running.ts';
import { IRONCLAW, MISSION, missionRig, P, type Rig, rowsOf } from './orchestrator-rig.ts';

const api = (command: string, ...flags: string[]) => [
  'orchestrator-api',
  command,
  '--mission',
  MISSION,
  ...flags,
];
const claim = (actor: string, wp = 'WP01') =>
  api('start-implementation', '--wp', wp, '--actor', actor, '--policy', P);
const home = ({ root }: Rig) => homeOf(join(root, '.git'));
const brokerOf = (it: Rig) => readHomeBroker(home(it).running);
const silent = { out() {}, err() {}, colours: { out: false, err: false } };
const GENEROUS = { timeoutMs: 60_000 };

/** A repository with a broker of its own, which ends with the test. */
async function homeRig(env: Record<string, string> = {}) {
  const it = missionRig(env);
  return {
    it,
    async [Symbol.asyncDispose]() {
      const pid = brokerOf(it)?.pid;
      if (pid !== undefined) {
        process.kill(pid, 'SIGTERM');
        await waitFor(() => !isAlive(pid), GENEROUS);
      }
      await it[Symbol.asyncDispose]();
    },
  };
}

describe('where no system runs', () => {
  test('D.40 six processes race for one work package: one broker, one winner', async () => {
    await using lab = await homeRig();
    const { it } = lab;
    const actors = ['a', 'b', 'c', 'd', 'e', 'f'];
    const answers = await Promise.all(actors.map((actor) => it.spawned(claim(actor))));
    const codes = answers.map(({ json }) => json.error_code);
    expect(codes.filter((code) => code === null)).toHaveLength(1);
    expect(codes.filter((code) => code === 'WP_ALREADY_CLAIMED')).toHaveLength(5);
    const claims = it.rows().filter(({ to_lane }) => to_lane === 'claimed');
    expect(claims).toHaveLength(1);
    const log = readFileSync(home(it).log, 'utf8');
    expect(log.match(/broker is ready/g)).toHaveLength(1);
    expect(it.git('status', '--porcelain').trim().split('\n')).toEqual([
      `?? ${it.files}/status.events.jsonl`,
      `?? ${it.files}/status.json`,
    ]);
  });

  test('its process sends the dossiers that wait, where it is told of queue and server', async () => {
    const bodies: string[] = [];
    const server = createHttpServer((request, response) => {
      request.setEncoding('utf8').on('data', (text: string) => bodies.push(text));
      request.on('end', () => response.writeHead(201).end('{}'));
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const folder = mkdtempSync(join(tmpdir(), 'ironclaw-dossiers-'));
    const file = join(folder, 'queue.db');
    {
      const to = { IRONCLAW_DOSSIER_SERVER: url, IRONCLAW_DOSSIER_QUEUE: file };
      await using lab = await homeRig(to);
      const { it } = lab;
      await run(['dossier', 'scan', MISSION, '--repo', it.root, '--json'], { ...silent, env: to });
      const { code } = await it.spawned(api('mission-state'));
      expect(code).toBe(0);
      await waitFor(() => bodies.join('').includes(`kitty-specs/${MISSION}/tasks/`), GENEROUS);
      expect(readFileSync(home(it).log, 'utf8')).not.toContain('no longer');
    }
    server.closeAllConnections();
    server.close();
    rmSync(folder, { recursive: true });
  });

  test('kill -9 of the broker: the next command starts it again, nothing is lost', async () => {
    await using lab = await homeRig();
    const { it } = lab;
    await it.spawned(claim('alice'));
    const first = brokerOf(it)?.pid as number;
    process.kill(first, 'SIGKILL');
    await waitFor(() => !isAlive(first), GENEROUS);
    const again = await it.spawned(claim('alice'));
    expect(again.json.data).toMatchObject({ no_op: true });
    expect(brokerOf(it)?.pid).not.toBe(first);
    const other = await it.spawned(claim('bob'));
    expect(other.json.error_code).toBe('WP_ALREADY_CLAIMED');
  });

  test('missions stop stops it; an idle one stops by itself', async () => {
    await using lab = await homeRig({ IRONCLAW_MISSIONS_IDLE_SECONDS: '1' });
    const { it } = lab;
    await it.spawned(api('mission-state'));
    await waitFor(() => brokerOf(it) === undefined, GENEROUS);
    await it.spawned(api('mission-state'), { env: { IRONCLAW_MISSIONS_IDLE_SECONDS: '600' } });
    const pid = brokerOf(it)?.pid as number;
    const stopped = await it.start(['missions', 'stop', '--json'], { program: IRONCLAW }).ended;
    expect(JSON.parse(stopped.stdout)).toEqual({ stopped: { broker: pid } });
    expect(isAlive(pid)).toBe(false);
  });
});

test('a setting out of its bounds is told before anything is started', async () => {
  await using it = missionRig({ IRONCLAW_MISSIONS_IDLE_SECONDS: 'soon' });
  const { code, json } = await it.api('mission-state');
  expect([code, json.error_code, json.data.field]).toEqual([
    1,
    'USAGE_ERROR',
    'IRONCLAW_MISSIONS_IDLE_SECONDS',
  ]);
  expect(existsSync(join(it.root, '.git/ironclaw'))).toBe(false);
});

test('a running `ironclaw up` is used, with its token, and no broker is started', async () => {
  await using broker = await startTestBroker();
  await using it = missionRig();
  const folder = join(it.root, '.ironclaw');
  mkdirSync(folder);
  const started_at = new Date().toISOString();
  const facts = { pid: process.pid, url: '', version: '0', started_at, nats_token: 't' };
  writeRunning(stateLayout(folder).running, { ...facts, nats_url: broker.url });
  expect((await it.spawned(claim('alice'))).code).toBe(0);
  expect(existsSync(home(it).broker)).toBe(false);
  const { state } = (await (await broker.connect()).jsm.streams.info('MISSIONS')) as {
    state: { messages: number };
  };
  expect(state.messages).toBeGreaterThan(2);
});

describe('whatever happens', () => {
  test('a broker that is away: one JSON object, exit 1', async () => {
    const broker = await startTestBroker();
    await using it = missionRig({ NATS_URL: broker.url });
    await broker[Symbol.asyncDispose]();
    const answer = await it.spawned(claim('alice'));
    expect(answer.code).toBe(1);
    expect(answer.json).toMatchObject({ ok: false, error_code: 'HOST_UNAVAILABLE' });
    expect(answer.json.data.message).toEqual(answer.json.error);
  });

  test('D.57 the broker is killed and comes back: no claim is lost or double', async () => {
    await using broker = await startTestBroker({ sync: 'always' });
    await using it = missionRig({ NATS_URL: broker.url });
    await it.spawned(api('mission-state'));
    const racing = ['a', 'b', 'c', 'd'].map((actor) => it.spawned(claim(actor)));
    await broker.kill();
    const answers = await Promise.all(racing);
    for (const { json } of answers) {
      expect([null, 'HOST_UNAVAILABLE', 'WP_ALREADY_CLAIMED']).toContain(json.error_code);
    }
    await broker.restart();
    const after = await Promise.all(['a', 'b', 'c', 'd'].map((actor) => it.spawned(claim(actor))));
    const won = after.filter(({ code }) => code === 0);
    expect(won).toHaveLength(1);
    const before = answers.find(({ code }) => code === 0);
    if (before !== undefined) expect(won[0]?.json.data.no_op).toBe(true);
    expect(it.rows().filter(({ to_lane }) => to_lane === 'claimed')).toHaveLength(1);
  });

  test('a contract file that is corrupt: nothing is done', async () => {
    await using it = missionRig({ NATS_URL: 'nats://127.0.0.1:1' });
    it.write('shape.json', '{"envelope": 1}');
    const env = { IRONCLAW_CONTRACT_SHAPE: join(it.root, 'shape.json') };
    const answer = await it.spawned(['orchestrator-api', 'contract-version'], { env });
    expect(answer.code).toBe(1);
    expect(answer.json.data.cause_code).toBe('CONTRACT_SHAPE_UNUSABLE');
  });

  test('a reader that has gone: the work is done, no trace on stderr', async () => {
    await using broker = await startTestBroker();
    await using it = missionRig({ NATS_URL: broker.url });
    const { child, ended } = it.start(claim('alice'));
    child.stdout?.destroy();
    const { code, stderr } = await ended;
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(await it.lanes()).toMatchObject({ WP01: 'in_progress' });
  });

  test('SIGTERM while it waits for a broker that says nothing: an answer, exit 1', async () => {
    const silent = createServer().listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const { port } = silent.address() as AddressInfo;
    await using it = missionRig({ NATS_URL: `nats://127.0.0.1:${port}` });
    const connected = once(silent, 'connection') as Promise<[Socket]>;
    const { child, ended } = it.start(claim('alice'));
    const [socket] = await connected;
    child.kill('SIGTERM');
    const { code, stdout } = await ended;
    socket.destroy();
    silent.close();
    expect(code).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({ ok: false, error_code: 'INTERNAL_ERROR' });
  });
});

describe('files', () => {
  test('sync repairs what was lost, and is idempotent', async () => {
    await using broker = await startTestBroker();
    await using it = missionRig({ NATS_URL: broker.url });
    await it.api('start-implementation', '--wp', 'WP01', '--actor', 'a', '--policy', P);
    const events = it.read(`${it.files}/status.events.jsonl`);
    const status = it.read(`${it.files}/status.json`);
    it.write(`${it.files}/status.events.jsonl`, '{"torn');
    it.write(`${it.files}/status.json`, '');
    const sync = () => it.start(['missions', 'sync', '--json'], { program: IRONCLAW }).ended;
    const { stdout } = await sync();
    expect(JSON.parse(stdout)).toEqual({
      missions: [
        {
          mission_slug: MISSION,
          written: [`${it.files}/status.events.jsonl`, `${it.files}/status.json`],
        },
      ],
    });
    expect(it.read(`${it.files}/status.events.jsonl`)).toBe(`{"torn\n${events}`);
    expect(it.read(`${it.files}/status.json`)).toBe(status);
    const again = await sync();
    expect(JSON.parse(again.stdout)).toEqual({
      missions: [{ mission_slug: MISSION, written: [] }],
    });
  });

  test('a log that was there before is taken over once, by event id', async () => {
    await using broker = await startTestBroker();
    await using source = missionRig({ NATS_URL: broker.url });
    await source.api('start-implementation', '--wp', 'WP01', '--actor', 'a', '--policy', P);
    const text = source.read(`${source.files}/status.events.jsonl`);
    await using it = missionRig({ NATS_URL: broker.url });
    it.write(`${it.files}/status.events.jsonl`, text);
    for (const _ of [1, 2]) expect(await it.lanes()).toMatchObject({ WP01: 'in_progress' });
    const other = await it.spawned(claim('b'));
    expect(other.json.error_code).toBe('WP_ALREADY_CLAIMED');
    await it.api('transition', '--wp', 'WP04', '--actor', 'a', '--to', 'blocked');
    expect(it.rows()).toHaveLength(3);
    expect(it.read(`${it.files}/status.events.jsonl`).startsWith(text)).toBe(true);
    expect(rowsOf(text)).toHaveLength(2);
  });
});
