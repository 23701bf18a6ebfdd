import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openBuilds } from './files.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'ironclaw-views-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const put = (...names: string[]): void => {
  for (const name of names) writeFileSync(join(folder, name), name);
};

test('the adopted build is remembered, and a sweep leaves it and what is not ours', () => {
  const builds = openBuilds(folder, 'toy');
  expect(builds.current()).toBeUndefined();
  expect(builds.next()).toBe(1);
  put('toy.1.db', 'toy.1.db-wal', 'toy.2.db', 'toy.10.db-shm', 'toy.damaged.db', 'toys.3.db');
  expect(builds.next()).toBe(11);
  builds.adopt(1);
  expect(openBuilds(folder, 'toy').current()).toBe(1);
  builds.sweep(1);
  expect(readdirSync(folder).sort()).toEqual([
    'toy.1.db',
    'toy.1.db-wal',
    'toy.current',
    'toy.damaged.db',
    'toys.3.db',
  ]);
});

test('a crash between adopting a build and removing the old one serves the new one', () => {
  const builds = openBuilds(folder, 'toy');
  put('toy.1.db', 'toy.1.db-wal', 'toy.2.db');
  builds.adopt(1);
  builds.adopt(2);
  const again = openBuilds(folder, 'toy');
  again.sweep(again.current());
  expect(readdirSync(folder).sort()).toEqual(['toy.2.db', 'toy.current']);
});

test('a crash while adopting serves the old one; a pointer that is none serves nothing', () => {
  const builds = openBuilds(folder, 'toy');
  builds.adopt(1);
  put('toy.current.tmp');
  expect(openBuilds(folder, 'toy').current()).toBe(1);
  put('toy.current');
  expect(openBuilds(folder, 'toy').current()).toBeUndefined();
});

test('a damaged build is kept aside, the last one only', () => {
  const builds = openBuilds(folder, 'toy');
  put('toy.1.db', 'toy.1.db-wal', 'toy.2.db');
  builds.setAside(1);
  builds.setAside(2);
  expect(readdirSync(folder)).toEqual(['toy.damaged.db']);
  expect(readFileSync(join(folder, 'toy.damaged.db'), 'utf8')).toBe('toy.2.db');
});
