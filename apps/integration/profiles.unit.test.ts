import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { BUILT_IN_GATE_PROFILES, loadGateProfiles } from './profiles.ts';

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(path.join(tmpdir(), 'ironclaw-gates-'));
});
afterEach(() => rm(dir, { recursive: true }));

const file = async (value: unknown, name = 'own.json'): Promise<string> => {
  const where = path.join(dir, name);
  await writeFile(where, typeof value === 'string' ? value : JSON.stringify(value));
  return where;
};
const load = () => loadGateProfiles([BUILT_IN_GATE_PROFILES, dir]);
const command = (more: object = {}) => ({ gate: 'command', name: 'test', run: ['true'], ...more });

test('default and strict come with it, custom ones beside them, with defaults filled in', async () => {
  await file({ name: 'own', gates: [command()] });
  const profiles = await load();
  expect([...profiles.keys()].toSorted()).toEqual(['default', 'governed', 'own', 'strict']);
  expect(profiles.get('own')?.gates).toEqual([
    command({ timeout_seconds: 60, max_output_bytes: 1_048_576, env: {}, network: false }),
  ]);
});

test.each<[string, unknown, string]>([
  ['no JSON', '{', ''],
  ['no gates', { name: 'own', gates: [] }, 'gates'],
  ['an unknown gate', { name: 'own', gates: [{ gate: 'vibes' }] }, 'gates[0].gate'],
  ['an unknown key', { name: 'own', gates: [command({ shell: true })] }, 'gates[0].shell'],
  [
    'a command line as text',
    { name: 'own', gates: [command({ run: 'npm test' })] },
    'gates[0].run',
  ],
  ['no command', { name: 'own', gates: [command({ run: [] })] }, 'gates[0].run'],
  [
    'no time',
    { name: 'own', gates: [command({ timeout_seconds: 0 })] },
    'gates[0].timeout_seconds',
  ],
  ['a name twice', { name: 'own', gates: [command(), command()] }, 'gates[1]'],
  [
    'too long together',
    { name: 'own', gates: [1, 2].map((n) => command({ name: `t${n}`, timeout_seconds: 241 })) },
    'gates',
  ],
  [
    'a path outside',
    { name: 'own', gates: [{ gate: 'paths', allow: ['../**'] }] },
    'gates[0].allow[0]',
  ],
  [
    '33 gates',
    {
      name: 'own',
      gates: Array.from({ length: 33 }, (_, n) => command({ name: `t${n}`, timeout_seconds: 1 })),
    },
    'gates',
  ],
  ['a bad name', { name: '../x', gates: [command()] }, 'name'],
  ['the name of a built-in one', { name: 'strict', gates: [command()] }, 'name'],
])('%s is refused, naming file and field', async (_name, value, field) => {
  const where = await file(value);
  await expect(load()).rejects.toMatchObject({
    code: 'INVALID_REQUEST',
    field: field === '' ? where : `${where}: ${field}`,
  });
});

test('32 gates are taken', async () => {
  const gates = Array.from({ length: 32 }, (_, n) =>
    command({ name: `t${n}`, timeout_seconds: 1 }),
  );
  await file({ name: 'own', gates });
  expect((await load()).get('own')?.gates).toHaveLength(32);
});
