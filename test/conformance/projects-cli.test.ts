import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { runCli, type Told } from './cli.ts';
import { startSystem, type System } from './harness.ts';
import { harbourProject, REASON } from './projects.ts';
import type { Data } from './wire.ts';

let system: System;
let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(path.join(tmpdir(), 'ironclaw-projects-cli-'));
  system = await startSystem({ roles: ['gateway', 'projects'] });
});
afterAll(async () => {
  await system?.[Symbol.asyncDispose]();
  await rm(dir, { recursive: true, force: true });
});

/** Runs a command line; without `url` no system can be reached. */
function cli(argv: readonly string[], url?: string): Promise<Told> {
  const env = {
    IRONCLAW_STATE: url === undefined ? path.join(dir, 'nowhere') : system.stateDir,
    ...(url !== undefined && { IRONCLAW_URL: url }),
  };
  return runCli(env, ['project', ...argv]);
}
const online = (...argv: string[]) => cli(argv, system.url('gateway'));
const offline = (...argv: string[]) => cli(argv);

async function fileOf(name: string, value: unknown): Promise<string> {
  const file = path.join(dir, name);
  await writeFile(file, typeof value === 'string' ? value : JSON.stringify(value));
  return file;
}

describe('E files without a broker', () => {
  test('E validate: 0 clean, 1 findings with code, path and message, 2 wrong usage', async () => {
    const clean = await fileOf('clean.json', harbourProject());
    expect(await offline('validate', clean)).toMatchObject({ code: 0 });
    const bad = await fileOf('bad.json', harbourProject({ governance_mode: 'SOLO' }));
    const told = await offline('validate', bad);
    expect(told.code).toBe(1);
    expect(told.out).toContain('error NOT_CANONICAL $.governance_mode: ');
    const lenient = await offline('validate', bad, '--lenient', '--json');
    expect(lenient.code).toBe(0);
    expect(JSON.parse(lenient.out)).toMatchObject({ ok: true, kind: 'project' });
    expect((await offline('validate')).code).toBe(2);
    expect((await offline('validate', path.join(dir, 'ghost.json'))).code).toBe(2);
    const empty = await offline('validate', await fileOf('empty.json', ''));
    expect([empty.code, empty.out]).toMatchObject([1, expect.stringContaining('BAD_JSON')]);
  });

  test('E.4 migrate: from, to and every change; a newer version is refused', async () => {
    const old = { id: 'p-0', name: 'Old', phases: [{ id: 1, name: 'One', artifacts: [] }] };
    const out = path.join(dir, 'migrated.json');
    const file = await fileOf('old.json', old);
    const told = await offline('migrate', file, '--out', out, '--json');
    expect(told.code).toBe(0);
    const { from, to, changes } = JSON.parse(told.out) as Data;
    expect([from, to]).toEqual(['0', '1']);
    expect((changes as Data[]).map((change) => change.path)).toContain('$.schema_version');
    const migrated = JSON.parse(await readFile(out, 'utf8')) as Data;
    expect(migrated.meta).toMatchObject({ schema_version: '1', migrated_from: '0' });
    const differs = await offline('diff', file, out);
    expect(differs.code).toBe(1);
    expect(differs.out).toContain('$.schema_version');
    expect((await offline('diff', out, out)).code).toBe(0);
    const newer = await fileOf('newer.json', { ...old, schema_version: '2' });
    const refused = await offline('migrate', newer);
    expect(refused.code).toBe(1);
    expect(refused.out).toContain('SCHEMA_VERSION_UNSUPPORTED');
    expect((await offline('migrate', newer, '--json')).code).toBe(1);
  });

  test('E what asks a system says so where there is none', async () => {
    expect((await offline('status', 'ghost')).code).toBe(3);
  });
});

describe('E from creation to a signed bundle and back', () => {
  test('E the whole way on the command line', async () => {
    const device = ['--device', 'laptop', '--as', 'kim'];
    const made = await online('new', 'Harbour', '--id', 'harbour-cli', '--mode', 'solo', ...device);
    expect(made).toMatchObject({ code: 0, out: expect.stringContaining('harbour-cli') });
    const read = async (): Promise<Data> =>
      JSON.parse((await online('status', 'harbour-cli', '--json')).out) as Data;
    const { document, state } = await read();
    const locked = await online('gate', 'harbour-cli', '1', '--go', '--notes', 'x'.repeat(30));
    expect([locked.code, locked.err]).toMatchObject([1, expect.stringContaining('locked')]);
    for (const artifact of state.phases[0].blocked_by as string[]) {
      const waived = await online('waive', 'harbour-cli', artifact, '--reason', REASON);
      expect(waived.code).toBe(0);
    }
    const half = await online('waive', 'harbour-cli', '2.1', '2.99', '--reason', REASON);
    expect([half.code, half.out]).toEqual([1, '']);
    expect((await online('gate', 'harbour-cli', '1')).out).toContain('ready');
    expect((await online('gate', 'harbour-cli', '1', '--go', '--notes', 'short')).code).toBe(2);
    const go = ['gate', 'harbour-cli', '1', '--go', '--notes', 'x'.repeat(30), '--as', 'lee'];
    expect((await online(...go)).code).toBe(0);
    const decisions = await online('history', 'harbour-cli', '--decisions');
    expect(decisions.out).toMatch(/go\s+lee/);
    const [artifact] = document.phases[1].artifacts as Data[];
    const edit = [
      'edit',
      'harbour-cli',
      artifact?.id as string,
      '--notes',
      'Seen.',
      '--field',
      'n=7',
    ];
    const told = await online(...edit);
    expect([told.code, told.err]).toMatchObject([0, expect.stringContaining('no field n')]);
    const comment = ['comment', 'harbour-cli', artifact?.id as string];
    expect((await online(...comment, 'Is it so?')).code).toBe(0);
    const edited = (await read()).document.phases[1].artifacts[0] as Data;
    expect(edited).toMatchObject({ notes: 'Seen.', field_values: { n: 7 } });
    const commentId = edited.comments[0].id as string;
    expect((await online(...comment, '--resolve', commentId)).code).toBe(0);

    const bundle = path.join(dir, 'harbour.json');
    const unsigned = await online('export', 'harbour-cli', '--sign', '--out', bundle);
    expect([unsigned.code, unsigned.err]).toMatchObject([
      1,
      expect.stringContaining('signing key'),
    ]);
    expect((await online('keys', '--new')).code).toBe(0);
    expect((await online('export', 'harbour-cli', '--sign', '--out', bundle)).code).toBe(0);
    const verified = await online('verify', bundle, '--require-signature', '--history');
    expect(verified.out).toContain('hash valid, signature valid');
    expect(verified.out).toContain('is whole');
    expect(verified.code).toBe(0);
    // Without the keys it is rightly signed, but by nobody who is known.
    expect((await offline('verify', bundle)).out).toContain('signature unknown-key');
    expect((await offline('verify', bundle, '--require-signature')).code).toBe(1);
    expect((await online('verify', 'harbour-cli')).out).toContain('is whole');

    const copied = await online('import', bundle, '--on-collision', 'keep-both', '--json');
    expect(copied.code).toBe(0);
    const { project_id, signature } = JSON.parse(copied.out) as Data;
    expect([project_id === 'harbour-cli', signature]).toEqual([false, 'valid']);
    const collision = await online('import', bundle);
    expect([collision.code, collision.err]).toMatchObject([1, expect.stringContaining('already')]);
    expect((await online('list')).out).toContain(project_id);
  });

  test('E.43 an altered bundle and a history that is not the exported one are told', async () => {
    const bundle = path.join(dir, 'altered.json');
    expect((await online('new', 'Altered', '--id', 'altered')).code).toBe(0);
    expect((await online('export', 'altered', '--out', bundle)).code).toBe(0);
    const text = await readFile(bundle, 'utf8');
    const altered = await fileOf('altered-2.json', text.replace('"Altered"', '"Altesed"'));
    const told = await offline('verify', altered);
    expect([told.code, told.out]).toMatchObject([1, expect.stringContaining('INTEGRITY_MISMATCH')]);
    const refused = await online('import', altered);
    expect([refused.code, refused.out]).toMatchObject([
      1,
      expect.stringContaining('INTEGRITY_MISMATCH'),
    ]);
    const other = JSON.parse(text) as Data;
    other.project.integrity.history.head = 'a'.repeat(64);
    const rewritten = await online('verify', await fileOf('other.json', other), '--history');
    expect([rewritten.code, rewritten.out]).toMatchObject([
      1,
      expect.stringContaining('REWRITTEN'),
    ]);
  });
});
