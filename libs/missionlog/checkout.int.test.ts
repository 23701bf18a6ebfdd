import { execFile } from 'node:child_process';
import { cp, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';
import { buildId, nodeId } from './checkout.ts';
import { openClock } from './clock-store.ts';
import { loadGate } from './shape.ts';

const run = promisify(execFile);

async function tempFolder() {
  const path = await mkdtemp(join(tmpdir(), 'ironclaw-checkout-'));
  return {
    path,
    [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }),
  };
}

/** A repository with one commit. */
async function repository(path: string): Promise<void> {
  await run('git', ['init', '-q', path]);
  const who = ['-c', 'user.name=t', '-c', 'user.email=t@example.org'];
  await run('git', [...who, 'commit', '-q', '--allow-empty', '-m', 'x'], { cwd: path });
}

describe('build ids', () => {
  test('D.45 worktrees and clones have their own, a checkout keeps its own', async () => {
    await using folder = await tempFolder();
    const at = (name: string): string => join(folder.path, name);
    await repository(at('a'));
    const first = await buildId(at('a'));
    await run('git', ['worktree', 'add', '-q', '--detach', at('w1')], { cwd: at('a') });
    await run('git', ['worktree', 'add', '-q', '--detach', at('w2')], { cwd: at('a') });
    await run('git', ['clone', '-q', at('a'), at('clone')]);
    const names = ['a', 'w1', 'w2', 'clone'];
    const ids = await Promise.all(names.map((name) => buildId(at(name))));
    expect(ids[0]).toBe(first);
    expect(new Set(ids).size).toBe(4);
    expect(await Promise.all(names.map((name) => buildId(at(name))))).toEqual(ids);
    for (const name of names) {
      const { stdout } = await run('git', ['status', '--porcelain'], { cwd: at(name) });
      expect(stdout).toBe('');
    }
  });

  test('D.45 a moved checkout keeps its id, a copied one gets its own', async () => {
    await using folder = await tempFolder();
    const at = (name: string): string => join(folder.path, name);
    await repository(at('a'));
    const id = await buildId(at('a'));
    await cp(at('a'), at('copy'), { recursive: true });
    expect(await buildId(at('copy'))).not.toBe(id);
    expect(await buildId(at('a'))).toBe(id);
    await rename(at('a'), at('b'));
    expect(await buildId(at('b'))).toBe(id);
  });

  test('processes that ask first at the same time get one id; a corrupt file is replaced', async () => {
    await using folder = await tempFolder();
    await repository(folder.path);
    const ids = await Promise.all(Array.from({ length: 20 }, () => buildId(folder.path)));
    expect(new Set(ids).size).toBe(1);
    await writeFile(join(folder.path, '.git', 'ironclaw-build.json'), '{');
    const next = await buildId(folder.path);
    expect(await buildId(folder.path)).toBe(next);
  });

  test('a node is 12 hex digits of machine and user', () => {
    expect(nodeId('host', 'user')).toMatch(/^[0-9a-f]{12}$/);
    expect(nodeId('host', 'user')).toBe(nodeId('host', 'user'));
    expect(nodeId('host', 'other')).not.toBe(nodeId('host', 'user'));
  });
});

test('D.48 the clock survives a restart and a corrupt file, and never goes back', async () => {
  await using folder = await tempFolder();
  const path = join(folder.path, 'deep', 'clock.json');
  const open = () => openClock(path, 'n', () => new Date('2026-04-06T00:00:00Z'));
  expect(await open().value()).toBe(0);
  await open().emitted(7);
  await open().received(40);
  expect(await open().value()).toBe(41);
  await open().emitted(9);
  expect(await open().value()).toBe(41);
  expect(JSON.parse(await readFile(path, 'utf8'))).toEqual({
    value: 41,
    node_id: 'n',
    updated_at: '2026-04-06T00:00:00.000Z',
  });
  await writeFile(path, '{"value":');
  const clock = open();
  expect(await clock.value()).toBe(0);
  await Promise.all(Array.from({ length: 10 }, () => clock.received(3)));
  expect(await clock.value()).toBe(13);
});

test('D.44 a missing, torn or foreign contract file refuses to start', async () => {
  await using folder = await tempFolder();
  const path = join(folder.path, 'shape.json');
  const env = { IRONCLAW_CONTRACT_SHAPE: path };
  const refused = expect.objectContaining({ code: 'CONTRACT_SHAPE_UNUSABLE' });
  expect(() => loadGate(env)).toThrow(refused);
  for (const text of ['', '{', '{}', '[]']) {
    await writeFile(path, text);
    expect(() => loadGate(env)).toThrow(refused);
  }
  const shipped = new URL('./upstream-3.0.0-shape.json', import.meta.url);
  const text = await readFile(shipped, 'utf8');
  await writeFile(
    path,
    text.replace(
      '"required_fields": ["schema_version"',
      '"required_fields": ["x", "schema_version"',
    ),
  );
  expect(() => loadGate(env).envelope('emit', { schema_version: '3.0.0' })).toThrow(
    'x is required',
  );
  loadGate({});
});
