import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { isInstalled, withLock } from './install.mjs';

let root: string;
beforeEach(async () => {
  root = await mkdtemp(path.join(tmpdir(), 'ironclaw-install-'));
});
afterEach(() => rm(root, { recursive: true, force: true }));

type Packages = Record<string, Record<string, unknown>>;

async function installed(locked: Packages, have: Packages | undefined): Promise<boolean> {
  await writeFile(path.join(root, 'package-lock.json'), JSON.stringify({ packages: locked }));
  if (have !== undefined) {
    await mkdir(path.join(root, 'node_modules'), { recursive: true });
    const file = path.join(root, 'node_modules', '.package-lock.json');
    await writeFile(file, JSON.stringify({ packages: have }));
  }
  return isInstalled(root);
}

test('node_modules is compared with the lock file, package by package', async () => {
  const a = { version: '1.0.0', integrity: 'sha512-a' };
  const here = { ...a, optional: true, os: [process.platform], cpu: [process.arch] };
  const elsewhere = { ...a, optional: true, os: ['other'], cpu: [process.arch] };
  expect(await installed({ '': {}, a }, undefined)).toBe(false);
  expect(await installed({ '': {}, a }, { a })).toBe(true);
  expect(await installed({ a }, { a, b: a })).toBe(true);
  expect(await installed({ a }, {})).toBe(false);
  expect(await installed({ a }, { a: { ...a, version: '1.0.1' } })).toBe(false);
  expect(await installed({ a }, { a: { ...a, integrity: 'sha512-b' } })).toBe(false);
  expect(await installed({ a, elsewhere }, { a })).toBe(true);
  expect(await installed({ a, here }, { a })).toBe(false);
});

test('one at a time holds the lock, and a dead holder does not block', async () => {
  const lock = path.join(root, 'state', 'install.lock');
  await mkdir(path.dirname(lock));
  let inside = 0;
  let most = 0;
  let entered = 0;
  const enter = () =>
    withLock(
      lock,
      () => {},
      async () => {
        inside += 1;
        entered += 1;
        most = Math.max(most, inside);
        await sleep(1);
        inside -= 1;
      },
    );
  for (let round = 1; round <= 20; round += 1) {
    const [last = 'install.lock.7'] = await readdir(path.dirname(lock));
    // No process has this id: it is above the largest that Linux gives.
    await writeFile(path.join(path.dirname(lock), last), '4194305');
    await Promise.all([enter(), enter(), enter()]);
    expect(most).toBe(1);
    expect(entered).toBe(3 * round);
    expect(await readdir(path.dirname(lock))).toEqual([`install.lock.${7 + 3 * round}`]);
  }
});
