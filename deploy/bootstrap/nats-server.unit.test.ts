import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { findNatsServer, isUsableVersion, NatsServerError } from './nats-server.mjs';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'ironclaw-find-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** A program in its own folder that answers as a nats-server of this version. */
async function fakeServer(place: string, version: string): Promise<string> {
  const file = path.join(folder, place, 'nats-server');
  await mkdir(path.dirname(file), { recursive: true });
  await writeFile(file, `#!/bin/sh\necho "nats-server: v${version}"\n`, { mode: 0o755 });
  return file;
}

const place = (name: string) => path.join(folder, name);

test.each([
  ['2.9.10', false],
  ['2.12.13', false],
  ['2.12.14', true],
  ['2.13.9', false],
  ['2.14.3', false],
  ['2.14.4', true],
  ['v2.15.1', true],
  ['3.0.0-beta.1', true],
  ['newest', false],
])('%s: usable is %s', (version, usable) => {
  expect(isUsableVersion(version)).toBe(usable);
});

test('the order is: the variable, PATH where new enough, the newest in the cache', async () => {
  const chosen = await fakeServer('chosen', '2.14.4');
  const onPath = await fakeServer('bin', '2.15.0');
  await fakeServer('old', '2.9.10');
  await fakeServer('cache/nats-server/2.15.1', '2.15.1');
  const newest = await fakeServer('cache/nats-server/2.15.10', '2.15.10');
  const env = {
    IRONCLAW_NATS_SERVER: chosen,
    IRONCLAW_CACHE: place('cache'),
    PATH: [place('old'), place('bin')].join(path.delimiter),
  };
  const found = async (overrides: NodeJS.ProcessEnv) =>
    (await findNatsServer({ env: { ...env, ...overrides } })).path;
  expect(await found({})).toBe(chosen);
  expect(await found({ IRONCLAW_NATS_SERVER: '' })).toBe(onPath);
  expect(await found({ IRONCLAW_NATS_SERVER: '', PATH: place('old') })).toBe(newest);
});

test('a chosen server that is too old or absent is refused, not passed over', async () => {
  const old = await fakeServer('old', '2.13.9');
  const found = (file: string) =>
    findNatsServer({ env: { IRONCLAW_NATS_SERVER: file, PATH: place('bin') } });
  await expect(found(old)).rejects.toThrow(/is 2\.13\.9; needed is/);
  await expect(found(place('nothing'))).rejects.toThrow(/is not there/);
});

test('where there is none the error says what was refused and what to install', async () => {
  await fakeServer('old', '2.9.10');
  const missing = findNatsServer({ env: { IRONCLAW_CACHE: place('empty'), PATH: place('old') } });
  await expect(missing).rejects.toThrow(NatsServerError);
  await expect(missing).rejects.toThrow(/is 2\.9\.10[^]*apt install nats-server/);
});
