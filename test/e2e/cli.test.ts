import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { waitFor } from '#libs/testing';
import { describe, expect, test } from 'vitest';
import { cliBench, descendants, isRunning } from './cli-process.ts';

const SECONDS = 1_000;
const UP = 'is up';

type Json = Record<string, unknown>;
const json = (text: string): Json => JSON.parse(text) as Json;
const running = (state: string): { pid: number; url: string; nats_url: string } =>
  JSON.parse(readFileSync(join(state, 'running.json'), 'utf8'));

describe('up', { timeout: 120 * SECONDS }, () => {
  test('serves every command, stops on Ctrl-C, and comes back with all its state', async () => {
    await using bench = await cliBench();
    const first = bench.start(['up', '--sync', '2m']);
    await first.says(UP);
    expect(first.stdout()).toContain('No model key is set: using the local extractive model.');

    const chat = await bench.run([
      'chat',
      'Ana sends the report by Friday. Summarise.',
      '--theater',
      't1',
    ]);
    expect(chat).toMatchObject({ code: 0 });
    expect(chat.stdout).toContain('Ana sends the report by Friday');
    expect(chat.stderr).toMatch(
      /RUN_CREATED[\s\S]*ORDER_STARTED[\s\S]*INTEGRATED[\s\S]*RUN_COMPLETED/,
    );

    const list = await bench.run(['runs', '--json']);
    const [run] = json(list.stdout).runs as {
      run_id: string;
      status: string;
      theater_id: string;
    }[];
    expect(run).toMatchObject({ status: 'COMPLETE', theater_id: 't1' });
    const runId = run?.run_id ?? '';
    const shown = await bench.run(['runs', 'show', runId]);
    expect(shown.stdout).toMatch(/status +COMPLETE[\s\S]*model_output\.txt/);
    const orders = json((await bench.run(['orders', '--run', runId, '--json'])).stdout);
    const [order] = orders.orders as { order_id: string }[];
    expect((await bench.run(['orders', 'show', order?.order_id ?? ''])).stdout).toContain(
      'INTEGRATED',
    );
    const found = json((await bench.run(['events', '--type', 'run_completed', '--json'])).stdout);
    expect(found.events).toMatchObject([{ type: 'RUN_COMPLETED', run_id: runId }]);
    const asked = await bench.run(['chat', 'Ana again', '--async', '--json', '--request-id', 'r1']);
    const again = await bench.run(['chat', 'Ana again', '--async', '--json', '--request-id', 'r1']);
    expect(json(again.stdout)).toEqual(json(asked.stdout));
    expect(await bench.run(['views', 'rebuild'])).toMatchObject({ code: 0 });
    expect(await bench.run(['streams', 'check'])).toMatchObject({ code: 0 });
    const doctor = await bench.run(['doctor', '--model']);
    expect(doctor).toMatchObject({ code: 0 });
    expect(doctor.stdout).toContain('all 6 roles');

    const refused = await bench.run(['chat', 'x', '--playbook', 'none', '--json']);
    expect(refused.code).toBe(1);
    expect(json(refused.stderr)).toMatchObject({ ok: false, error: { code: 'UNKNOWN_PLAYBOOK' } });
    expect(await bench.run(['orders', 'show', 'nobody'])).toMatchObject({ code: 1 });

    const second = await bench.run(['up']);
    expect(second.code).toBe(1);
    expect(second.stderr).toContain(`pid ${first.child.pid}`);

    first.child.kill('SIGINT');
    // npm's and the launcher's own SIGTERM may follow: it changes nothing.
    await sleep(100);
    first.child.kill('SIGTERM');
    expect(await first.ended).toMatchObject({ code: 0 });
    expect(existsSync(join(bench.state, 'running.json'))).toBe(false);
    expect(await bench.run(['runs'])).toMatchObject({ code: 3 });

    const next = bench.start(['up', '--json']);
    await next.says('"url"');
    const kept = await bench.run(['runs', 'show', runId, '--json']);
    expect(json(kept.stdout)).toMatchObject({ run_id: runId, status: 'COMPLETE' });
    expect(json(kept.stdout).reply).toBe(chat.stdout.replace(/\n$/, ''));
  });

  test('killed with -9 it leaves no process, and the next one starts', async () => {
    await using bench = await cliBench();
    const first = bench.start(['up', '--sync', '2m', '--workers', '2']);
    await first.says(UP);
    const pids = descendants(first.child.pid ?? 0);
    // Itself, nats-server and its guard, control, two workers.
    expect(pids.length).toBeGreaterThanOrEqual(6);
    first.child.kill('SIGKILL');
    await waitFor(() => !pids.some(isRunning), { timeoutMs: 15 * SECONDS });
    // What it left says that it runs; its pid does not.
    expect(existsSync(join(bench.state, 'running.json'))).toBe(true);
    expect(await bench.run(['runs'])).toMatchObject({ code: 3 });
    await bench.start(['up', '--sync', '2m']).says(UP);
  });

  test('starts the control process and the broker again, where they were', async () => {
    await using bench = await cliBench();
    const up = bench.start(['up', '--sync', '2m']);
    await up.says(UP);
    const before = running(bench.state);
    const pidOf = (part: string) =>
      descendants(up.child.pid ?? 0).find((pid) =>
        readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(part),
      ) ?? 0;
    process.kill(pidOf('gateway'), 'SIGKILL');
    await waitFor(() => up.stderr().includes('control runs again'), { timeoutMs: 20 * SECONDS });
    process.kill(pidOf('nats-server\0-c'), 'SIGKILL');
    await waitFor(() => up.stderr().includes('the broker runs again'), { timeoutMs: 20 * SECONDS });
    expect(running(bench.state)).toEqual(before);
    await waitFor(async () => (await bench.run(['doctor', '--json'])).code === 0, {
      timeoutMs: 20 * SECONDS,
    });
    expect(await bench.run(['chat', 'Bo pays on Monday. Summarise.', '-q'])).toMatchObject({
      code: 0,
    });
  });

  test('gives up on a process that only crashes, names its log, and leaves nothing', async () => {
    await using bench = await cliBench();
    mkdirSync(bench.state);
    // Where the views want a folder.
    writeFileSync(join(bench.state, 'views'), '');
    const up = bench.start(['up', '--sync', '2m']);
    await waitFor(() => up.stderr().includes('streams are as declared'), {
      timeoutMs: 20 * SECONDS,
    });
    const pids = descendants(up.child.pid ?? 0);
    const { code, stderr } = await up.ended;
    expect(code).toBe(1);
    expect(stderr).toContain('ended 5 times within 30 s');
    expect(stderr).toContain(join(bench.state, 'log', 'control.log'));
    expect(pids.filter(isRunning)).toEqual([]);
  });

  test('Ctrl-C while it starts ends it cleanly', async () => {
    await using bench = await cliBench();
    const up = bench.start(['up']);
    await waitFor(() => up.stderr().includes('starting the broker'), { timeoutMs: 20 * SECONDS });
    const pids = descendants(up.child.pid ?? 0);
    up.child.kill('SIGINT');
    expect(await up.ended).toMatchObject({ code: 0 });
    expect(pids.filter(isRunning)).toEqual([]);
  });

  test('tells at once what no second try can mend', async () => {
    await using bench = await cliBench();
    const up = await bench.run(['up', '--host', '0.0.0.0']);
    expect(up).toMatchObject({ code: 1 });
    expect(up.stderr).toContain('needs tokens');
    expect(up.stderr).not.toContain('starting it again');
    const book = await bench.run(['up'], { IRONCLAW_PLAYBOOKS: join(bench.dir, 'none') });
    expect(book).toMatchObject({ code: 2 });
    expect(book.stderr).toContain('IRONCLAW_PLAYBOOKS');
  });
});

describe('serve', { timeout: 60 * SECONDS }, () => {
  test('a worker beside a running system, with its routes at the root', async () => {
    await using bench = await cliBench();
    await bench.start(['up', '--sync', '2m']).says(UP);
    const worker = bench.start(['serve', 'worker', '--theater', 't9']);
    await worker.says('worker ready');
    const url = /http:\S+/.exec(worker.stdout())?.[0] ?? '';
    const health = (await (await fetch(`${url}/health`)).json()) as { data: unknown };
    expect(health.data).toMatchObject({ role: 'worker', status: 'ok' });
    worker.child.kill('SIGTERM');
    expect(await worker.ended).toMatchObject({ code: 0 });
  });

  test('says which roles there are, and what is missing', async () => {
    await using bench = await cliBench();
    const unknown = await bench.run(['serve', 'cook']);
    expect(unknown).toMatchObject({ code: 2 });
    expect(unknown.stderr).toContain('Roles: gateway, ledger');
    expect(await bench.run(['serve', 'worker'])).toMatchObject({ code: 3 });
  });
});

describe('demo', { timeout: 120 * SECONDS }, () => {
  test.each([
    [[], 'action_items.md'],
    [
      ['--message', 'Ana pays on Friday. Bo checks it on Monday. What happens when?'],
      'model_output.txt',
    ],
    [
      [
        '--message',
        'Logs keep facts. Queues forget them. Compare.',
        '--playbook',
        'research-draft-verify',
      ],
      'verification.md',
    ],
  ])('%j', async (args, artifact) => {
    await using bench = await cliBench();
    const { code, stdout, stderr } = await bench.run(['demo', ...args]);
    expect(stderr).not.toContain('error');
    expect(stdout).toMatch(
      /-- kill -9 \d+[\s\S]*ORDER_REISSUED[\s\S]*INTEGRATED[\s\S]*RUN_COMPLETED/,
    );
    expect(stdout).toContain(artifact);
    expect(stdout).toMatch(
      /Milestones in the feed[\s\S]*on-track[\s\S]*completed +Run \S+ is complete/,
    );
    expect(stdout).toMatch(/Verified +by git: [0-9a-f]{40}/);
    expect(code).toBe(0);
  });
});

describe('demo', { timeout: 60 * SECONDS }, () => {
  test('Ctrl-C in the middle leaves no process', async () => {
    await using bench = await cliBench();
    const demo = bench.start(['demo']);
    await demo.says('MODEL_CALL_STARTED');
    const pids = descendants(demo.child.pid ?? 0);
    demo.child.kill('SIGINT');
    const { code, stderr } = await demo.ended;
    expect(code).toBe(1);
    expect(stderr).toContain(`its state is in ${bench.state}`);
    expect(pids.filter(isRunning)).toEqual([]);
  });
});

describe('doctor', { timeout: 60 * SECONDS }, () => {
  test('fails where something is wrong, and says the fix', async () => {
    await using bench = await cliBench();
    const { code, stdout } = await bench.run(['doctor', '--json'], {
      IRONCLAW_NATS_SERVER: join(bench.dir, 'none'),
      OPENAI_API_KEY: 'k',
      OPENAI_BASE_URL: 'no url',
    });
    expect(code).toBe(1);
    const { checks } = json(stdout) as { checks: { check: string; state: string; fix?: string }[] };
    const failed = checks.filter(({ state }) => state === 'fail');
    expect(failed.map(({ check }) => check)).toEqual(['broker', 'model']);
    expect(failed.every(({ fix }) => fix !== undefined)).toBe(true);
  });
});
