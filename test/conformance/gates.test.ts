import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { waitFor } from '#libs/testing';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { git, startSystem, type System } from './harness.ts';
import { serve } from './host.ts';
import * as theaters from './theaters.ts';
import { aarOf, commit, type OpenWorktree, typesOf } from './theaters.ts';
import { type Answer, type Data, err, ok, WAYS } from './wire.ts';

// Gate profiles as data, and several integration processes at once.

const PROFILES: Record<string, unknown> = {
  tests: { name: 'tests', gates: [{ gate: 'aar-schema' }, command('test', 'node', '--test')] },
  quick: { name: 'quick', gates: [{ ...command('wait', 'sleep', '30'), timeout_seconds: 0.3 }] },
  slow: { name: 'slow', gates: [{ gate: 'aar-schema' }, command('wait', 'sleep', '1')] },
  small: {
    name: 'small',
    gates: [{ gate: 'sizes', max_file_bytes: 10, max_total_bytes: 15, max_files: 2 }],
  },
  docs: { name: 'docs', gates: [{ gate: 'paths', allow: ['docs/**'], deny: ['**/*.exe'] }] },
};

function command(name: string, ...run: string[]): Data {
  return { gate: 'command', name, run };
}

let system: System;
let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(path.join(tmpdir(), 'ironclaw-profiles-'));
  for (const [name, profile] of Object.entries(PROFILES)) {
    await writeFile(path.join(dir, `${name}.json`), JSON.stringify(profile));
  }
  const env = { IRONCLAW_GATE_PROFILES: dir };
  const separateProcesses = ['integration'] as const;
  system = await startSystem({ roles: ['ledger', 'vault'], separateProcesses, env });
});
afterAll(async () => {
  await system?.[Symbol.asyncDispose]();
  await rm(dir, { recursive: true, force: true });
});

const openWorktree = async (): Promise<OpenWorktree> =>
  theaters.openWorktree(system, await theaters.openTheater(system));

/** An AAR, and these files beside it, committed. */
const work = (tree: OpenWorktree, files: Record<string, unknown>): Promise<string> =>
  commit(tree.tree, { ...files, 'aar.json': aarOf(tree.order_id, []) });

describe.each(WAYS)('gates over %s', (way) => {
  const integrate = (tree: OpenWorktree, gate_profile: string): Promise<Answer> => {
    const { theater_id, order_id } = tree;
    return system.call(way, 'integration.integrate', { theater_id, order_id, gate_profile });
  };
  const TEST = "import { test } from 'node:test';\ntest('it', () => {";

  test('8.44 a configured command: its failure names the gate, the mainline stays', async () => {
    const tree = await openWorktree();
    await work(tree, { 'a.test.mjs': `${TEST} throw new Error('wrong sum'); });\n` });
    const before = await git(tree.repo, 'rev-parse', 'main');
    const error = err(await integrate(tree, 'tests'), 'GATE_FAILED', 409);
    expect(error.details?.gate).toBe('test');
    expect(await git(tree.repo, 'rev-parse', 'main')).toBe(before);
    const events = await system.eventsOf({ order_id: tree.order_id });
    const failed = events.find(({ type }) => type === 'INTEGRATION_FAILED')?.payload;
    expect(failed).toMatchObject({ gate: 'test', message: 'node ended with exit code 1' });
    expect(failed.gates.map(({ gate, passed }: Data) => [gate, passed])).toEqual([
      ['aar-schema', true],
      ['test', false],
    ]);
    const { details } = failed.gates[1];
    expect(details).toMatchObject({ exit_code: 1, end: 'exit' });
    expect(details.output_tail).toContain('wrong sum');
    expect(details.output_tail.length).toBeLessThanOrEqual(2_000);

    await work(tree, { 'a.test.mjs': `${TEST} });\n` });
    const { commit_sha, gates } = ok(await integrate(tree, 'tests'));
    expect(gates.every(({ passed }: Data) => passed)).toBe(true);
    expect(await git(tree.repo, 'rev-parse', 'main')).toBe(commit_sha);
  });

  test('8.44 a command over its time is ended', async () => {
    const tree = await openWorktree();
    await work(tree, {});
    const error = err(await integrate(tree, 'quick'), 'GATE_FAILED', 409);
    expect(error.message).toContain('took longer than 0.3 s');
  });

  test.each<[string, string, Record<string, string>, string | null]>([
    ['strict', 'outputs only', { 'outputs/a.txt': 'x' }, null],
    ['strict', 'a file elsewhere', { 'outputs/a.txt': 'x', 'src/a.js': 'x' }, 'paths'],
    ['docs', 'an allowed one', { 'docs/deep/a.md': 'x' }, null],
    ['docs', 'a denied one', { 'docs/a.exe': 'x' }, 'paths'],
    ['small', 'at every limit', { a: 'x'.repeat(10), b: 'xxxxx' }, null],
    ['small', 'one byte too many in a file', { a: 'x'.repeat(11) }, 'sizes'],
    ['small', 'one byte too many together', { a: 'x'.repeat(10), b: 'xxxxxx' }, 'sizes'],
    ['small', 'one file too many', { a: 'x', b: 'x', c: 'x' }, 'sizes'],
  ])('8.44 profile %s: %s', async (profile, _what, files, gate) => {
    const tree = await openWorktree();
    await work(tree, files);
    const answer = await integrate(tree, profile);
    expect(answer.body.error?.details?.gate ?? null).toBe(gate);
    expect(answer.status).toBe(gate === null ? 200 : 409);
  });

  test('8.44 removing a file of others is a change too', async () => {
    const theater = await theaters.openTheater(system);
    await commit(theater.repo, { 'src/kept.txt': 'x' });
    const tree = await theaters.openWorktree(system, theater);
    await git(tree.tree, 'rm', '--quiet', 'src/kept.txt');
    await work(tree, {});
    const error = err(await integrate(tree, 'strict'), 'GATE_FAILED', 409);
    expect(error.message).toContain('src/kept.txt');
  });

  test('8.44 a profile that is not there', async () => {
    const tree = await openWorktree();
    expect(err(await integrate(tree, 'nope'), 'UNKNOWN_GATE_PROFILE', 400).field).toBe(
      'gate_profile',
    );
  });

  test('8.45 a conflict escalates and names the files', async () => {
    const theater = await theaters.openTheater(system);
    const [first, second] = [
      await theaters.openWorktree(system, theater),
      await theaters.openWorktree(system, theater),
    ];
    await work(first, { 'outputs/same.txt': 'one' });
    await work(second, { 'outputs/same.txt': 'two' });
    const answers = await Promise.all([first, second].map((tree) => integrate(tree, 'default')));
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200, 409]));
    const loser = answers[0]?.status === 409 ? first : second;
    const events = await system.eventsOf({ order_id: loser.order_id });
    const raised = events.find(({ type }) => type === 'ESCALATION_RAISED')?.payload;
    expect(raised.reason).toContain('outputs/same.txt');
    expect(raised).toMatchObject({ severity: 'MEDIUM', route: expect.stringMatching(/\S/) });
  });
});

test('8.43 killed while a gate runs and tried again: promoted once, no gate process is left', async () => {
  const tree = await openWorktree();
  await work(tree, { 'outputs/a.txt': 'x' });
  const { theater_id, order_id } = tree;
  const input = { theater_id, order_id, gate_profile: 'slow' };
  const role = system.process('integration');
  for (const wait of [150, 400, 900]) {
    const call = system.call('http', 'integration.integrate', input).catch(() => undefined);
    await new Promise((resolve) => setTimeout(resolve, wait));
    await role.kill();
    await call;
    await role.restart();
  }
  const { commit_sha } = ok(await system.call('http', 'integration.integrate', input));
  expect(ok(await system.call('http', 'integration.integrate', input))).toMatchObject({
    commit_sha,
    duplicate: true,
  });
  const types = (await typesOf(system, order_id)).filter((type) => type.startsWith('INTEGR'));
  expect(types).toEqual(['INTEGRATION_STARTED', 'INTEGRATION_PASSED', 'INTEGRATED']);
  expect(await git(tree.repo, 'rev-list', '--count', '--first-parent', 'main')).toBe('2');
});

test('8.45 two integration processes on one theater: all promoted, each once', async () => {
  const env = {
    PATH: process.env.PATH ?? '',
    IRONCLAW_PORT: '0',
    IRONCLAW_STATE: system.stateDir,
    IRONCLAW_GARRISON: 'test',
    NATS_URL: system.testBroker.url,
    IRONCLAW_GATE_PROFILES: dir,
  };
  const other = await serve(['integration'], env);
  try {
    const theater = await theaters.openTheater(system);
    const trees: OpenWorktree[] = [];
    for (let n = 0; n < 6; n += 1) trees.push(await theaters.openWorktree(system, theater));
    for (const tree of trees) await work(tree, { [`outputs/${tree.order_id}.txt`]: 'x' });
    const url = other.http?.url ?? '';
    const post = async (base: string, { theater_id, order_id }: OpenWorktree): Promise<Data> => {
      const body = JSON.stringify({ theater_id, order_id });
      const headers = { 'content-type': 'application/json' };
      const answer = await fetch(`${base}/integrate`, { method: 'POST', body, headers });
      return (await answer.json()) as Data;
    };
    const bases = [system.url('integration'), url.replace(/\/$/, '')];
    const answers = await Promise.all(
      trees.flatMap((tree) => bases.map((base) => post(base, tree))),
    );
    for (const answer of answers) expect(answer).toMatchObject({ ok: true });
    expect(new Set(answers.map(({ data }) => data.commit_sha)).size).toBe(6);
    for (const { order_id } of trees) {
      const types = await typesOf(system, order_id);
      expect(types.filter((type) => type === 'INTEGRATED')).toHaveLength(1);
    }
    expect(await git(theater.repo, 'rev-list', '--count', '--first-parent', 'main')).toBe('7');
    await git(theater.repo, 'fsck', '--strict');
  } finally {
    await other.close();
  }
});

test('a folder with a profile that is none: the role does not start, and says where', async () => {
  const bad = await mkdtemp(path.join(tmpdir(), 'ironclaw-profiles-'));
  try {
    const file = path.join(bad, 'x.json');
    await writeFile(file, '{"name":"x","gates":[{"gate":"command","name":"t","run":"npm test"}]}');
    const env = {
      IRONCLAW_PORT: '0',
      IRONCLAW_STATE: system.stateDir,
      NATS_URL: system.testBroker.url,
      IRONCLAW_GATE_PROFILES: bad,
    };
    await expect(serve(['integration'], env)).rejects.toMatchObject({
      code: 'INVALID_REQUEST',
      field: `${file}: gates[0].run`,
    });
    await waitFor(async () => ok(await system.call('http', 'integration.health', {})));
  } finally {
    await rm(bad, { recursive: true });
  }
});
