import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isBranchName, orderOfName, pathParts, requireBranch, worktreeName } from './names.ts';

describe('branch names', () => {
  const refused = [
    '',
    '-x',
    '--force',
    '@',
    'HEAD',
    'a..b',
    '.a',
    'a/.b',
    'a.lock',
    'a.lock/b',
    'a//b',
    '/a',
    'a/',
    'a.',
    'a b',
    'a\tb',
    'a\0b',
    'a~1',
    'a^',
    'a:b',
    'a?',
    'a*',
    'a[',
    'a\\b',
    'a@{1}',
    '\ud800',
    'x'.repeat(161),
  ];
  test.each(refused)('refuses %j', (name) => {
    expect(isBranchName(name)).toBe(false);
    expect(() => requireBranch('branch', name)).toThrow(/branch/);
  });

  test.each(['order_1', 'feature/x', 'a-b', 'ä', 'a@b', 'x'.repeat(160)])('takes %j', (name) => {
    expect(isBranchName(name)).toBe(true);
  });
});

describe('paths', () => {
  test('never yields a part that leaves the folder or names .git', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: fc.constantFrom('.', '/', 'a', 'g', 'i', 't', '\\', '\0') }),
        (path) => {
          let parts: string[];
          try {
            parts = pathParts(path);
          } catch {
            return;
          }
          for (const part of parts) {
            expect(['', '.', '..', '.git']).not.toContain(part);
            expect(part).not.toMatch(/[/\\\0]/);
          }
        },
      ),
    );
  });

  test.each(['../x', 'a/../b', '/etc/passwd', 'a\\b', 'a\0'])('%j is outside', (path) => {
    expect(() => pathParts(path)).toThrow(
      expect.objectContaining({ code: 'PATH_OUTSIDE_THEATER' }),
    );
  });

  test.each(['.git/config', 'a/.GIT/x'])('%j is refused', (path) => {
    expect(() => pathParts(path)).toThrow(
      expect.objectContaining({ code: 'TOOL_POLICY_VIOLATION' }),
    );
  });
});

test('worktree folder names lead back to their order', () => {
  expect(orderOfName(worktreeName('a-1'))).toBe('a-1');
  for (const name of ['order_', 'order_..', 'x', 'order_a/b'])
    expect(orderOfName(name)).toBe(undefined);
});
