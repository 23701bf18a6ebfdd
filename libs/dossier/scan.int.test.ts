import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { hashOf, readUpload, scanMission } from './scan.ts';

const NAMESPACE = {
  project_uuid: '0b0f4b0e-7a57-4f5e-9b1a-3d3c52a1d001',
  mission_slug: '064-my-mission',
  target_branch: 'main',
  mission_type: 'software-dev',
  manifest_version: '1',
};
const ROOT = 'kitty-specs/064-my-mission';
let mission: string;
beforeEach(() => {
  mission = mkdtempSync(join(tmpdir(), 'ironclaw-mission-'));
});
afterEach(() => rmSync(mission, { recursive: true, force: true }));

function write(path: string, content: string | Uint8Array): void {
  mkdirSync(dirname(join(mission, path)), { recursive: true });
  writeFileSync(join(mission, path), content);
}

test('artifacts are found with hash and size; all else is told with its reason', async () => {
  write('spec.md', '# Spec');
  write('tasks/WP01-first.md', 'one');
  write('tasks/README.md', 'no');
  write('research/deep/notes.csv', 'a,b');
  write('research/picture.png', 'x');
  write('meta.json', '{}');
  write('.git/objects/spec.md', 'never read');
  writeFileSync(join(tmpdir(), `${mission.split('/').at(-1)}-secret.md`), 'secret');
  symlinkSync(join(tmpdir(), `${mission.split('/').at(-1)}-secret.md`), join(mission, 'plan.md'));
  symlinkSync(tmpdir(), join(mission, 'contracts'));
  try {
    const { artifacts, skipped } = await scanMission(mission);
    expect(artifacts).toEqual([
      { path: 'research/deep/notes.csv', hash: hashOf(Buffer.from('a,b')), bytes: 3 },
      { path: 'spec.md', hash: hashOf(Buffer.from('# Spec')), bytes: 6 },
      { path: 'tasks/WP01-first.md', hash: hashOf(Buffer.from('one')), bytes: 3 },
    ]);
    expect(skipped).toEqual([
      { path: 'contracts', reason: 'unsupported_surface' },
      { path: 'meta.json', reason: 'unsupported_surface' },
      { path: 'plan.md', reason: 'not_a_file' },
      { path: 'research/picture.png', reason: 'unsupported_format' },
      { path: 'tasks/README.md', reason: 'unsupported_surface' },
    ]);
  } finally {
    rmSync(join(tmpdir(), `${mission.split('/').at(-1)}-secret.md`));
  }
});

test('D.52 a file of 524288 bytes is taken, one of 524289 skipped, and one of no UTF-8', async () => {
  write('spec.md', 'x'.repeat(524_288));
  write('plan.md', 'x'.repeat(524_289));
  write('tasks.md', Buffer.from('caf\xe9', 'latin1'));
  const { artifacts, skipped } = await scanMission(mission);
  expect(artifacts.map(({ path, bytes }) => [path, bytes])).toEqual([
    ['spec.md', 524_288],
    ['tasks.md', 4],
  ]);
  expect(skipped).toEqual([{ path: 'plan.md', reason: 'oversized' }]);
  const [spec, latin] = artifacts;
  if (spec === undefined || latin === undefined) throw new Error('no artifacts');
  const read = await readUpload(mission, ROOT, NAMESPACE, spec);
  expect(read).toMatchObject({
    ok: true,
    upload: { ...NAMESPACE, artifact_path: `${ROOT}/spec.md`, hash_algorithm: 'sha256' },
  });
  expect(await readUpload(mission, ROOT, NAMESPACE, latin)).toEqual({
    ok: false,
    reason: 'not_utf8',
  });
});

test('D.52 a file that changed after the scan is not taken, nor one that grew, went or is a pipe', async () => {
  for (const name of ['spec.md', 'plan.md', 'tasks.md', 'research.md']) write(name, 'before');
  const { artifacts } = await scanMission(mission);
  write('spec.md', 'after');
  write('plan.md', 'x'.repeat(524_289));
  rmSync(join(mission, 'tasks.md'));
  rmSync(join(mission, 'research.md'));
  execFileSync('mkfifo', [join(mission, 'research.md')]);
  const reasons = new Map<string, string>();
  for (const artifact of artifacts) {
    const read = await readUpload(mission, ROOT, NAMESPACE, artifact);
    reasons.set(artifact.path, read.ok ? 'taken' : read.reason);
  }
  expect(Object.fromEntries(reasons)).toEqual({
    'plan.md': 'oversized',
    'research.md': 'not_a_file',
    'spec.md': 'content_hash_mismatch',
    'tasks.md': 'missing',
  });
});
