import fc from 'fast-check';
import { expect, test } from 'vitest';
import { matchesAny } from './glob.ts';

test.each([
  ['**', 'a'],
  ['**', '.env'],
  ['**', 'a/.b/c'],
  ['outputs/**', 'outputs/a'],
  ['outputs/**', 'outputs/a/b/c.txt'],
  ['**/*.md', 'x.md'],
  ['**/*.md', 'a/b/x.md'],
  ['**/.env', '.env'],
  ['a/**/z', 'a/z'],
  ['a/**/z', 'a/b/c/z'],
  ['*.t?t', 'x.txt'],
  ['src/*', 'src/x'],
  ['*a*b*', 'xxaxxbxx'],
  ['a/**/**', 'a/b'],
  ['a*', 'a'],
])('%s matches %s', (pattern, path) => {
  expect(matchesAny(path, [pattern])).toBe(true);
});

test.each([
  ['outputs/**', 'outputs'],
  ['outputs/**', 'outputs2/a'],
  ['outputs/**', 'x/outputs/a'],
  ['src/*', 'src/a/b'],
  ['src/*', 'src'],
  ['*.md', 'a/x.md'],
  ['a?c', 'a/c'],
  ['a/**/z', 'a/zz'],
  ['(a|b)+', 'aa'],
  ['a.c', 'abc'],
  ['', 'a'],
])('%s does not match %s', (pattern, path) => {
  expect(matchesAny(path, [pattern])).toBe(false);
});

const part = fc.stringMatching(/^[a-c.]{1,4}$/);
const paths = fc.array(part, { minLength: 1, maxLength: 5 });

test('a path matches itself, ** and every pattern that puts ** for its beginning', () => {
  fc.assert(
    fc.property(paths, fc.nat(5), (parts, at) => {
      const path = parts.join('/');
      expect(matchesAny(path, [path])).toBe(true);
      expect(matchesAny(path, ['**'])).toBe(true);
      const tail = parts.slice(Math.min(at, parts.length - 1));
      expect(matchesAny(path, [['**', ...tail].join('/')])).toBe(true);
    }),
  );
});

test('a pattern made to be slow is not', () => {
  const pattern = `${'*a'.repeat(100)}b`;
  const start = performance.now();
  expect(matchesAny('a'.repeat(4_000), [pattern, '**/**/**/**/**/**/x'])).toBe(false);
  expect(performance.now() - start).toBeLessThan(1_000);
});
