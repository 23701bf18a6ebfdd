import { execFileSync, spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { mergeBases, writeCommit } from './commits.ts';
import { mergeText } from './merge_text.ts';
import { isBranchName } from './names.ts';
import { EMPTY_TREE } from './objects.ts';
import { author, at, git, scratch } from './test_kit.ts';

test('what we take for a branch name, git takes too', () => {
  const chars = fc.constantFrom(
    'a',
    '.',
    '/',
    '-',
    '@',
    '{',
    'lock',
    '~',
    ' ',
    '\\',
    '*',
    'ä',
    '\x7f',
  );
  const names = fc.sample(fc.string({ unit: chars, minLength: 1, maxLength: 6 }), 300);
  const ours = names.filter(isBranchName);
  expect(ours.length).toBeGreaterThan(10);
  for (const name of ours.slice(0, 60)) {
    const { status } = spawnSync('git', ['check-ref-format', '--branch', name]);
    expect({ name, status }).toEqual({ name, status: 0 });
  }
  const refused: string[] = names.filter(
    (name: string) => !isBranchName(name) && !/^-|^@$/.test(name),
  );
  for (const name of refused.slice(0, 60)) {
    const { status } = spawnSync('git', ['check-ref-format', `refs/heads/${name}`]);
    expect({ name, status }).not.toEqual({ name, status: 0 });
  }
});

test('the common ancestors of any two commits are those that git finds', async () => {
  using s = scratch();
  const { gitDir, repoPath } = await s.theater();
  // A random history: parents among earlier commits, times that may run backwards.
  const shape = fc.array(
    fc.record({ picks: fc.array(fc.nat(), { maxLength: 3 }), timeSec: fc.nat({ max: 40 }) }),
    { minLength: 12, maxLength: 12 },
  );
  for (const commits of fc.sample(shape, { numRuns: 12, seed: 7 })) {
    const shas: string[] = [];
    for (const [i, { picks, timeSec }] of commits.entries()) {
      const parents = i === 0 ? [] : [...new Set(picks.map((pick) => shas[pick % i] ?? ''))];
      const commit = { tree: EMPTY_TREE, parents, author, timestampSec: at + timeSec };
      shas.push(writeCommit(gitDir, { ...commit, message: `${i}` }));
    }
    for (const [a, b] of [
      [11, 10],
      [9, 11],
      [5, 11],
      [8, 7],
    ] as const) {
      const [first = '', second = ''] = [shas[a], shas[b]];
      const args = ['merge-base', '--all', first, second];
      const judged = spawnSync('git', args, { cwd: repoPath, encoding: 'utf8' }).stdout.split('\n');
      const found = await mergeBases(gitDir, first, second);
      expect([...found].sort()).toEqual(judged.filter(Boolean).sort());
    }
  }
});

test('a text that we merge, git merges to the same', () => {
  using s = scratch();
  const base = Array.from({ length: 12 }, (_, i) => `line ${i}`);
  const edit = fc.record({ at: fc.nat({ max: 11 }), to: fc.constantFrom('A', 'B', '', null) });
  const side = fc.array(edit, { maxLength: 3 });
  const apply = (edits: { at: number; to: string | null }[], name: string) => {
    const lines: (string | null)[] = [...base];
    for (const { at: line, to } of edits) lines[line] = to === '' ? `${base[line]}\n${name}` : to;
    return `${lines.filter((line) => line !== null).join('\n')}\n`;
  };
  let merged = 0;
  for (const [a, b] of fc.sample(fc.tuple(side, side), { numRuns: 60, seed: 3 })) {
    const texts = { base: `${base.join('\n')}\n`, ours: apply(a, 'o'), theirs: apply(b, 't') };
    const text = mergeText(texts.base, texts.ours, texts.theirs);
    if (text === undefined) continue;
    merged++;
    for (const [name, content] of Object.entries(texts)) writeFileSync(join(s.root, name), content);
    const args = ['merge-file', '-p', 'ours', 'base', 'theirs'];
    expect(execFileSync('git', args, { cwd: s.root, encoding: 'utf8' })).toBe(text);
  }
  expect(merged).toBeGreaterThan(15);
  git(s.root, 'version');
});
