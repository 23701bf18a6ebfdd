import { expect, test } from 'vitest';
import { withSections } from '../../deploy/docs/sections.ts';
import { read, sources } from './sources.ts';

// Lengths of files and functions, console and single imports are oxlint's (.oxlintrc.json).

const LINE_MAX = 120;
const UNFINISHED = new RegExp(['TO', 'DO|FIX', 'ME|X', 'XX|not ', 'implemented'].join(''));

/** `path:line: text` of every source line that a check refuses. */
function linesWhere(refused: (line: string) => boolean): string[] {
  return sources().flatMap(({ path, text }) =>
    text
      .split('\n')
      .flatMap((line, index) => (refused(line) ? [`${path}:${index + 1}: ${line.trim()}`] : [])),
  );
}

test(`no line is longer than ${LINE_MAX} characters, but for patterns, which cannot be cut`, () => {
  const isPattern = (line: string): boolean => /^\s*(\/|.*String\.raw`)/.test(line);
  expect(linesWhere((line) => line.length > LINE_MAX && !isPattern(line))).toEqual([]);
});

test('nothing is marked as unfinished', () => {
  expect(linesWhere((line) => UNFINISHED.test(line))).toEqual([]);
});

test('every library has a front door', () => {
  const paths = sources().map(({ path }) => path);
  const rooms = new Set(paths.flatMap((file) => /^libs\/[^/]+/.exec(file) ?? []));
  expect([...rooms].filter((room) => !paths.includes(`${room}/mod.ts`))).toEqual([]);
});

test('the tables in README.md are what the code says (npm run docs writes them)', () => {
  const readme = read('README.md');
  expect(readme).toBe(withSections(readme));
});
