import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { START_ORDER } from '../../apps/cli/roles.ts';
import { findNatsServer } from '../../deploy/bootstrap/nats-server.mjs';

const run = promisify(execFile);
const DEPLOY = path.join(import.meta.dirname, '../../deploy');

test('compose.yaml serves every role, each alone', async () => {
  const text = await readFile(path.join(DEPLOY, 'containers/compose.yaml'), 'utf8');
  const served = [...text.matchAll(/command: \[serve, ([a-z-]+)\]/g)].map(([, role]) => role);
  expect(new Set(served)).toEqual(new Set(START_ORDER));
  expect(served).toHaveLength(START_ORDER.length);
});

const openssl = await run('openssl', ['version']).then(
  () => true,
  () => false,
);

test.skipIf(!openssl)('secrets.sh makes all that a node wants', async () => {
  const folder = await mkdtemp(path.join(tmpdir(), 'ironclaw-secrets-'));
  try {
    const secrets = path.join(folder, 'secrets');
    await run(path.join(DEPLOY, 'containers/secrets.sh'), [secrets]);
    const lines = (await readFile(path.join(secrets, 'nats.env'), 'utf8')).trim().split('\n');
    const pairs = lines.map((line) => {
      const [name = '', value = ''] = line.split(/=(.*)/s);
      // Where compose.yaml puts the folder.
      return [name, value.replace(/^\/tls\//, `${secrets}/tls/`)];
    });
    const env = {
      PATH: process.env.PATH,
      IRONCLAW_NODE: 'nats-1',
      IRONCLAW_STORE: folder,
      ...Object.fromEntries(pairs),
    };
    const { path: binary } = await findNatsServer({ fetch: true });
    const { stderr } = await run(binary, ['-t', '-c', path.join(DEPLOY, 'nats/node.conf')], {
      env,
    });
    expect(stderr).toContain('is valid');
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
