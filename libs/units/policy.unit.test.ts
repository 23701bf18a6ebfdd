import path from 'node:path/posix';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { assertWritable, Denied, isAllowed, matchesGlob, partsOf } from './child/policy.ts';

const name = fc.constantFrom('a', 'b', '..', '.', '', '.git', '.GIT', 'outputs', 'c.md', '...');
const paths = fc.array(name, { maxLength: 8 }).map((names) => names.join('/'));

/** What `run` answers; undefined where the policy denies it. */
function within<T>(run: () => T): T | undefined {
  try {
    return run();
  } catch (error) {
    if (error instanceof Denied) return undefined;
    throw error;
  }
}

describe('a path', () => {
  test('never leaves the worktree, whatever it says', () => {
    fc.assert(
      fc.property(paths, (text) => {
        const parts = within(() => partsOf(text));
        if (parts === undefined) return;
        const full = path.join('/w', ...parts);
        expect(full === '/w' || full.startsWith('/w/')).toBe(true);
        expect(full).toBe(path.join('/w', text).replace(/(?<=.)\/$/, ''));
        expect(parts.some((part) => part.toLowerCase() === '.git')).toBe(false);
      }),
    );
  });

  test('is written to under outputs/ alone', () => {
    fc.assert(
      fc.property(paths, (text) => {
        const written = within(() => assertWritable(text, ['./']));
        expect(written ?? 'outputs/x').toMatch(/^outputs\/./);
      }),
    );
  });

  test.each(['/etc/passwd', '../x', 'a/../../x', 'a\0', '.git/config', 'x'.repeat(1_025)])(
    '%j is denied',
    (text) => expect(() => partsOf(text)).toThrow(Denied),
  );
});

describe('fs_allowlist', () => {
  test.each([
    ['./', 'a/b', true],
    ['./*', 'a/b', true],
    ['*', 'a/b', true],
    ['.', 'a', true],
    ['docs', 'docs/a.md', true],
    ['docs/', 'docs', true],
    ['docs/*', 'docs/deep/a.md', true],
    ['docs/*.md', 'docs/a.md', true],
    ['docs/*.md', 'docs/a.txt', false],
    ['docs/*.md', 'docs/deep/a.md', false],
    ['*/a.md', 'docs/a.md', true],
    ['docs', 'docs2/a.md', false],
    ['docs/a?.md', 'docs/ab.md', true],
    ['/', 'a', false],
    ['/etc', 'etc', false],
    ['../', 'a', false],
    ['docs/../..', 'a', false],
  ])('%s and %s: %s', (pattern, text, allowed) => {
    expect(isAllowed(text.split('/'), [pattern])).toBe(allowed);
  });

  test('no pattern, nothing', () => expect(isAllowed(['a'], [])).toBe(false));
});

test('a glob is what a regular expression says, and is quick on hostile ones', () => {
  const text = fc.string({ unit: fc.constantFrom('a', 'b', '.'), maxLength: 12 });
  const glob = fc.string({ unit: fc.constantFrom('a', 'b', '*', '?', '.'), maxLength: 8 });
  fc.assert(
    fc.property(text, glob, (value, pattern) => {
      const source = pattern.replaceAll('.', '\\.').replaceAll('*', '.*').replaceAll('?', '.');
      expect(matchesGlob(value, pattern)).toBe(new RegExp(`^${source}$`, 's').test(value));
    }),
    { numRuns: 500 },
  );
  const began = performance.now();
  expect(matchesGlob('a'.repeat(2_000), `${'a*'.repeat(200)}b`)).toBe(false);
  expect(performance.now() - began).toBeLessThan(200);
});
