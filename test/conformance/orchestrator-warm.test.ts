import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { startTestBroker, waitFor } from '#libs/testing';
import { describe, expect, test } from 'vitest';
import { homeOf, isAlive, runningPid } from '../../apps/cli/orchestrator/home.ts';
import { stopHome } from '../../apps/cli/orchestrator/sync.ts';
import warm from '../../apps/cli/warm.cjs';
import { MISSION, missionRig, P } from './orchestrator-rig.ts';

const claim = (actor: string, wp = 'WP01') => {
  const start = ['orchestrator-api', 'start-implementation', '--mission', MISSION];
  return [...start, '--wp', wp, '--actor', actor, '--policy', P];
};
const GENEROUS = { timeoutMs: 60_000 };

/** A repository whose commands keep the API loaded, which ends with the test. */
async function warmRig() {
  const broker = await startTestBroker();
  const it = missionRig({ NATS_URL: broker.url, IRONCLAW_MISSIONS_WARM: 'on' });
  const home = homeOf(join(it.root, '.git'));
  const pid = () => runningPid(home.warm);
  return {
    it,
    home,
    pid,
    async start() {
      await it.spawned(['orchestrator-api', 'contract-version']);
      return waitFor(pid, GENEROUS);
    },
    async [Symbol.asyncDispose]() {
      await stopHome(join(it.root, '.git'));
      await broker[Symbol.asyncDispose]();
      await it[Symbol.asyncDispose]();
    },
  };
}

describe('an API that is kept loaded', () => {
  test('D.40 answers as each command by itself would: one winner of six', async () => {
    await using lab = await warmRig();
    const first = await lab.start();
    const { it } = lab;
    const actors = ['a', 'b', 'c', 'd', 'e', 'f'];
    const answers = await Promise.all(actors.map((actor) => it.spawned(claim(actor))));
    const codes = answers.map(({ code, json }) => `${code} ${String(json.error_code)}`);
    expect(codes.toSorted()).toEqual([
      '0 null',
      ...Array.from({ length: 5 }, () => '1 WP_ALREADY_CLAIMED'),
    ]);
    expect(it.rows().filter(({ to_lane }) => to_lane === 'claimed')).toHaveLength(1);
    const bad = await it.spawned(['orchestrator-api', 'feature-state']);
    expect(`${bad.code} ${String(bad.json.error_code)}`).toBe('2 USAGE_ERROR');
    // What a caller sets counts for that caller.
    const env = { NATS_URL: 'nats://127.0.0.1:1' };
    const away = await it.spawned(claim('a'), { env });
    expect(away.json.error_code).toBe('HOST_UNAVAILABLE');
    expect((await it.spawned(claim('a', 'WP04'))).code).toBe(0);
    expect(lab.pid()).toBe(first);
  });

  test('kill -9 of it: the next command runs by itself', async () => {
    await using lab = await warmRig();
    const first = await lab.start();
    process.kill(first, 'SIGKILL');
    await waitFor(() => !isAlive(first), GENEROUS);
    expect((await lab.it.spawned(claim('a'))).code).toBe(0);
    expect(await waitFor(lab.pid, GENEROUS)).not.toBe(first);
  });

  test('lost with a command in hand: one JSON object that says so, nothing is run twice', async () => {
    await using lab = await warmRig();
    const { it, home } = lab;
    let asked = '';
    const dying = createServer((socket) =>
      socket.setEncoding('utf8').on('data', (text: string) => {
        asked += text;
        if (asked.endsWith('\n')) socket.destroy();
      }),
    ).listen(0, '127.0.0.1');
    await once(dying, 'listening');
    const { port } = dying.address() as AddressInfo;
    const { program } = warm;
    const told = { pid: process.pid, port, token: 't', program, changed: warm.changedAt() };
    mkdirSync(home.folder, { recursive: true });
    writeFileSync(home.warm, JSON.stringify(told));
    const answer = await it.spawned(claim('a'));
    dying.close();
    writeFileSync(home.warm, '{}');
    expect(`${answer.code} ${String(answer.json.error_code)}`).toBe('1 HOST_UNAVAILABLE');
    expect(JSON.parse(asked)).toMatchObject({ token: 't', words: claim('a') });
    expect(await it.lanes()).toMatchObject({ WP01: 'planned' });
  });
});
