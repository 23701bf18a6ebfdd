import { linkSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { orderLock, withLock } from './lock.ts';
import { scratch } from './test_kit.ts';

test('one holder at a time, in the order of asking, also after one fails or gives up', async () => {
  using s = scratch();
  const seen: string[] = [];
  const use = (name: string, waitMs?: number) => {
    const work = async () => {
      seen.push(`${name} in`);
      await sleep(20);
      seen.push(`${name} out`);
      if (name === 'b') throw new Error('b fails');
    };
    return withLock(s.root, 'x', work, waitMs);
  };
  const results = await Promise.allSettled([use('a'), use('b'), use('late', 5), use('c')]);
  expect(results.map((result) => result.status)).toEqual([
    'fulfilled',
    'rejected',
    'rejected',
    'fulfilled',
  ]);
  expect(results[2]).toMatchObject({ reason: { code: 'TIMEOUT' } });
  expect(seen).toEqual(['a in', 'a out', 'b in', 'b out', 'c in', 'c out']);
});

test('another process is waited for, then refused with TIMEOUT', async () => {
  using s = scratch();
  await withLock(s.root, 'x', async () => undefined);
  // A connection of its own stands for the other process.
  const other = new DatabaseSync(join(s.root, 'ironclaw/locks/x.db'));
  other.exec('BEGIN EXCLUSIVE');
  const late = withLock(s.root, 'x', async () => 'in', 40);
  await expect(late).rejects.toMatchObject({ code: 'TIMEOUT' });
  const patient = withLock(s.root, 'x', async () => 'in');
  await sleep(20);
  other.close();
  expect(await patient).toBe('in');
});

test('the next holder clears the .lock files of a dead one and no others', async () => {
  using s = scratch();
  const stage = join(s.root, 'ironclaw/stage/x');
  mkdirSync(stage, { recursive: true });
  for (const name of ['dead', 'alive']) {
    const staged = join(stage, Buffer.from(name).toString('base64url'));
    writeFileSync(staged, '');
    if (name === 'dead') linkSync(staged, join(s.root, 'dead.lock'));
    else writeFileSync(join(s.root, 'alive.lock'), 'of a running git');
  }
  writeFileSync(join(stage, 'tmp-half'), '');
  await withLock(s.root, 'x', async (hold) => {
    expect(readdirSync(stage)).toEqual([]);
    expect(readdirSync(s.root).sort()).toEqual(['alive.lock', 'ironclaw']);
    const claim = await hold.claim(join(s.root, 'deep/dead'));
    expect(readdirSync(join(s.root, 'deep'))).toEqual(['dead.lock']);
    claim.commit('new');
    const again = await hold.claim(join(s.root, 'deep/dead'));
    again.abort();
    expect(readFileSync(join(s.root, 'deep/dead'), 'utf8')).toBe('new');
    expect(readdirSync(join(s.root, 'deep'))).toEqual(['dead']);
  });
});

test('orders spread over the locks', () => {
  const names = new Set(Array.from({ length: 500 }, (_, i) => orderLock(`order-${i}`)));
  expect(names.size).toBeGreaterThan(24);
});
