import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { carryOver, formatIndex, indexEntry, NO_STAMP, parseIndex } from './index_file.ts';
import { Lru } from './lru.ts';
import { hashObject } from './objects.ts';
import { tarHeader, tarPadding } from './tar.ts';
import { formatTree, hashFiles, Mode, parseTree } from './trees.ts';

const name = fc.stringMatching(/^[a-zA-Z0-9äß日_-]{1,20}$/);
const oid = fc.stringMatching(/^[0-9a-f]{40}$/);
const mode = fc.constantFrom(Mode.file, Mode.executable, Mode.symlink);
const u32 = fc.nat({ max: 0xffff_ffff });
const stamp = fc.record({
  ctimeSec: u32,
  ctimeNs: u32,
  mtimeSec: u32,
  mtimeNs: u32,
  dev: u32,
  ino: u32,
  uid: u32,
  gid: u32,
  size: u32,
});

describe('index', () => {
  const entry = fc.record({
    path: fc.array(name, { minLength: 1, maxLength: 5 }).map((parts) => parts.join('/')),
    mode,
    oid,
    stage: fc.constant(0),
    assumeValid: fc.boolean(),
    skipWorktree: fc.boolean(),
    intentToAdd: fc.boolean(),
    stamp,
  });

  test('reads what it writes', () => {
    fc.assert(
      fc.property(fc.uniqueArray(entry, { selector: (e) => e.path }), (entries) => {
        const byPath = (a: { path: string }, b: { path: string }) =>
          Buffer.compare(Buffer.from(a.path), Buffer.from(b.path));
        expect(parseIndex(formatIndex(entries))).toEqual([...entries].sort(byPath));
      }),
    );
  });

  test('refuses a torn file and an extension that changes the meaning', () => {
    const whole = formatIndex([indexEntry('a', Mode.file, '0'.repeat(40), NO_STAMP)]);
    const torn = Buffer.from(whole);
    torn[20] = 1;
    expect(() => parseIndex(torn)).toThrow('torn');
    const split = Buffer.concat([
      whole.subarray(0, -20),
      Buffer.from('link\0\0\0\0'),
      Buffer.alloc(20),
    ]);
    expect(() => parseIndex(split)).toThrow('link');
  });

  test('entries as young as the index they come from are to be compared by content', () => {
    const at = (mtimeSec: number) =>
      indexEntry('a', Mode.file, '', { ...NO_STAMP, mtimeSec, size: 5 });
    const sizes = carryOver([at(9), at(10), at(11)], 10_500_000_000n).map((e) => e.stamp.size);
    expect(sizes).toEqual([5, 0, 0]);
  });
});

describe('trees', () => {
  const entry = fc.record({ name, mode: fc.constantFrom(...Object.values(Mode)), oid });

  test('reads what it writes, in whatever order it got it', () => {
    fc.assert(
      fc.property(fc.uniqueArray(entry, { selector: (e) => e.name }), (entries) => {
        const bytes = formatTree(entries);
        expect(new Set(parseTree(bytes))).toEqual(new Set(entries));
        expect(formatTree(parseTree(bytes))).toEqual(bytes);
      }),
    );
  });

  test.each(['.git', '.GIT', '..', '.', '', 'a/b'])('refuses the entry name %j', (bad) => {
    expect(() =>
      parseTree(formatTree([{ name: bad, mode: Mode.file, oid: '0'.repeat(40) }])),
    ).toThrow('a tree holds');
  });

  test('the empty list of files is the empty tree', () => {
    expect(hashFiles([]).oid).toBe(hashObject('tree', Buffer.alloc(0)));
  });
});

describe('tar', () => {
  test('headers are whole blocks and their checksum holds', () => {
    fc.assert(
      fc.property(
        fc.array(name, { minLength: 1, maxLength: 20 }),
        fc.nat({ max: 5000 }),
        (parts, size) => {
          const header = tarHeader({ path: parts.join('/'), mode: 0o644, size, mtimeSec: 1 });
          expect(header.length % 512).toBe(0);
          const last = Buffer.from(header.subarray(-512));
          const sum = Number.parseInt(last.toString('latin1', 148, 154), 8);
          last.fill(' ', 148, 156);
          expect(last.reduce((total, byte) => total + byte, 0)).toBe(sum);
          expect((size + tarPadding(size).length) % 512).toBe(0);
        },
      ),
    );
  });
});

test('Lru forgets what was used longest ago', () => {
  const lru = new Lru<number>(3);
  lru.set('a', 1);
  lru.set('b', 2, 2);
  expect(lru.get('a')).toBe(1);
  lru.set('c', 3);
  expect([lru.get('a'), lru.get('b'), lru.get('c')]).toEqual([1, undefined, 3]);
  lru.set('huge', 4, 9);
  expect(lru.get('huge')).toBe(undefined);
});
