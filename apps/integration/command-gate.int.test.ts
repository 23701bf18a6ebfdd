import { existsSync, readdirSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { hostname, tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { gateProfile } from '#libs/contracts';
import { testLogger } from '#libs/testing';
import { commitAll, createWorktree, openTheater } from '#libs/worktrees';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type CommandSpec, createCommandGates } from './command-gate.ts';
import { detectIsolation } from './isolation.ts';
import type { Candidate } from './verdict.ts';

const author = { name: 'Unit', email: 'unit@ironclaw.test' };
const logger = testLogger('gates');
const { namespaces } = await detectIsolation(logger);

let root: string;
let candidate: Candidate;
const FILES: Record<string, string> = {
  'package.json': '{"name":"p","type":"module","scripts":{"test":"node --test"}}',
  'sum.js': 'export const sum = (a, b) => a + b;\n',
  'sum.test.js':
    "import { test } from 'node:test';\nimport assert from 'node:assert';\n" +
    "import { sum } from './sum.js';\ntest('sum', () => assert.equal(sum(1, 2), 3));\n",
  'wrong.js': "console.error('it is \\u001b[31mwrong\\u001b[0m');\nprocess.exit(3);\n",
};

beforeAll(async () => {
  root = await mkdtemp(path.join(tmpdir(), 'ironclaw-command-gate-'));
  const theater = await openTheater({
    theaterId: 'demo',
    repoPath: path.join(root, 'theaters/demo/repo'),
    author,
    timestampSec: 1_768_400_000,
  });
  const { worktreePath } = await createWorktree({ theater, orderId: 'o1' });
  for (const [name, text] of Object.entries(FILES)) {
    await writeFile(path.join(worktreePath, name), text);
  }
  const made = { worktreePath, message: 'work', author, timestampSec: 1_768_400_000 };
  const { sha } = await commitAll(made);
  candidate = { theater, orderId: 'o1', runId: null, worktreePath, commitSha: sha };
  await writeFile(path.join(root, 'secret.txt'), 'secret');
  // What is in the worktree only must not count.
  await writeFile(path.join(worktreePath, 'sum.js'), 'export const sum = () => 0;\n');
});
afterAll(() => rm(root, { recursive: true, force: true }));

const gates = () => createCommandGates(logger, [root]);
const run = (command: string[], more: Partial<CommandSpec> = {}) => {
  const spec = { gate: 'command', name: 'check', run: command, ...more };
  const { gates: all } = gateProfile.parse({ name: 'p', gates: [spec] });
  return gates().run(all[0] as CommandSpec, candidate);
};
const leftovers = () =>
  readdirSync(tmpdir()).filter(
    (name) => name.startsWith('ironclaw-gate-') && name.includes(`.${process.pid}.`),
  );

test('the tests of a node project are run on the commit, not on the worktree', async () => {
  const done = await run(['node', '--test']);
  expect(done).toMatchObject({ passed: true });
  expect(done.details).toMatchObject({ end: 'exit', exit_code: 0 });
  expect(done.details?.output_tail).toMatch(/pass 1/);
  expect(await run(['npm', 'test'])).toMatchObject({ passed: true });
});

test('a command that fails refuses, with its exit code and the end of its output', async () => {
  const done = await run(['node', 'wrong.js']);
  expect(done).toMatchObject({ passed: false, message: 'node ended with exit code 3' });
  expect(done.details).toMatchObject({
    exit_code: 3,
    output_tail: 'it is [31mwrong[0m\n',
    output_sha256: expect.stringMatching(/^[0-9a-f]{64}$/),
  });
});

test('no shell reads the arguments; an unknown program refuses', async () => {
  const echo = await run(['echo', '$HOME;', '`id`', '$(id)']);
  expect(echo.details?.output_tail).toBe('$HOME; `id` $(id)\n');
  expect(await run(['no-such-program'])).toMatchObject({ passed: false });
});

test('nothing of our environment is there, but what the profile gives', async () => {
  process.env.IRONCLAW_TEST_KEY = 'sk-secret';
  try {
    const done = await run(['env'], { env: { MODE: 'strict' } });
    const names = String(done.details?.output_tail).matchAll(/^(\w+)=/gm);
    const allowed = ['CI', 'HOME', 'LANG', 'MODE', 'PATH', 'PWD', 'TMPDIR', 'OLDPWD', '_', 'SHLVL'];
    for (const [, name] of names) expect(allowed).toContain(name);
    expect(done.details?.output_tail).toContain('MODE=strict');
    expect(done.details?.output_tail).not.toContain('sk-secret');
  } finally {
    delete process.env.IRONCLAW_TEST_KEY;
  }
});

test('too slow: killed with all that it started, its folder is gone', async () => {
  const mark = path.join(root, 'alive');
  const script =
    `const { spawn } = require('child_process');` +
    `spawn('sh', ['-c', 'sleep 2; touch ${mark}'], { detached: true, stdio: 'inherit' }).unref();` +
    `spawn('sh', ['-c', 'sleep 2; touch ${mark}'], { stdio: 'inherit' });` +
    `setInterval(() => {}, 1000)`;
  const start = performance.now();
  const done = await run(['node', '-e', script], { timeout_seconds: 0.5 });
  expect(done).toMatchObject({ passed: false, details: { end: 'timeout' } });
  expect(performance.now() - start).toBeLessThan(5_000);
  expect(leftovers()).toEqual([]);
  await sleep(2_500);
  expect(existsSync(mark)).toBe(false);
});

test('too much output: killed, and no more than the limit is taken', async () => {
  const done = await run(['yes', 'x'.repeat(100)], { max_output_bytes: 100_000 });
  expect(done).toMatchObject({ passed: false, details: { end: 'output', output_bytes: 100_000 } });
  expect(String(done.details?.output_tail).length).toBeLessThanOrEqual(2_000);
});

test('output at the limit passes, a byte more does not', async () => {
  const write = (n: number) =>
    run(['head', '-c', String(n), '/dev/zero'], { max_output_bytes: 10 });
  expect(await write(10)).toMatchObject({ passed: true, details: { output_bytes: 10 } });
  expect(await write(11)).toMatchObject({ passed: false, details: { output_bytes: 10 } });
});

test('a folder that its command made unreadable is removed all the same', async () => {
  await run(['sh', '-c', 'mkdir -p a/b && touch a/b/c && chmod 0 a/b a']);
  expect(leftovers()).toEqual([]);
});

test.runIf(namespaces)(
  'the network is cut off, and let through where a profile says so',
  async () => {
    const seen: string[] = [];
    const server = createServer((request, response) => {
      seen.push(request.url ?? '');
      response.end('ok');
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const script = `fetch('http://127.0.0.1:${port}/x').then(() => 0, () => 7).then(process.exit)`;
    try {
      const cut = await run(['node', '-e', script]);
      expect(cut).toMatchObject({ passed: false, details: { exit_code: 7, network: 'cut off' } });
      expect(seen).toEqual([]);
      const open = await run(['node', '-e', script], { network: true });
      expect(open).toMatchObject({ passed: true, details: { network: 'allowed' } });
      expect(seen).toEqual(['/x']);
    } finally {
      await new Promise((resolve) => server.close(resolve));
    }
  },
);

test.runIf(namespaces)(
  'only its own folder can be written, repository and state are hidden',
  async () => {
    const outside = path.join(tmpdir(), `ironclaw-outside-${process.pid}`);
    await mkdir(outside);
    await chmod(outside, 0o777);
    const { repoPath } = candidate.theater;
    try {
      const attempt = `touch ${outside}/x; echo bad > ${repoPath}/.git/HEAD; cat ${root}/secret.txt; touch in`;
      const done = await run(['sh', '-c', `${attempt} && ls ${root} | wc -l`]);
      expect(done).toMatchObject({ passed: true, details: { confined: 'namespaces' } });
      expect(done.details?.output_tail).not.toMatch(/^secret/m);
      expect(done.details?.output_tail).toMatch(/^0$/m);
      expect(readdirSync(outside)).toEqual([]);
      expect((await run(['umount', root])).passed).toBe(false);
      expect((await run(['mount', '-o', 'remount,bind,rw', '/'])).passed).toBe(false);
    } finally {
      await rm(outside, { recursive: true });
    }
  },
);

test('folders of dead processes are swept, those of living ones stay', async () => {
  const host = hostname().replace(/[^A-Za-z0-9-]/g, '_');
  const [dead, living] = [`${host}.999999999.x`, `${host}.${process.ppid}.x`].map((name) =>
    path.join(tmpdir(), `ironclaw-gate-${name}`),
  ) as [string, string];
  await mkdir(path.join(dead, 'work'), { recursive: true });
  await mkdir(living, { recursive: true });
  try {
    await run(['true']);
    expect([existsSync(dead), existsSync(living)]).toEqual([false, true]);
  } finally {
    await rm(living, { recursive: true });
  }
});
