import { orderFile } from '#libs/contracts';
import { describe, expect, test } from 'vitest';
import { covers, requireAllowed } from './tool-policy.ts';

describe('an entry of the allowlist', () => {
  test.each([
    ['./', 'outputs/a.txt'],
    ['./*', 'outputs/a.txt'],
    ['.', 'outputs/a.txt'],
    ['*', 'outputs/a.txt'],
    ['outputs', 'outputs/a.txt'],
    ['outputs/', 'outputs/deep/a.txt'],
    ['./outputs/*', 'outputs/deep/a.txt'],
    ['outputs/**', 'outputs/deep/a.txt'],
    ['outputs/a.txt', 'outputs/a.txt'],
    ['outputs//a.txt', './outputs/a.txt'],
  ])('%s covers %s', (entry, path) => {
    expect(covers(entry, path)).toBe(true);
  });

  test.each([
    ['docs/', 'outputs/a.txt'],
    ['out', 'outputs/a.txt'],
    ['outputs/a', 'outputs/a.txt'],
    ['outputs/a.txt', 'outputs/b.txt'],
    ['outputs/a.txt/x', 'outputs/a.txt'],
    ['/', 'outputs/a.txt'],
    ['/outputs', 'outputs/a.txt'],
    ['../', 'outputs/a.txt'],
    ['outputs/../', 'outputs/a.txt'],
  ])('%s does not cover %s', (entry, path) => {
    expect(covers(entry, path)).toBe(false);
  });
});

describe('an order', () => {
  const order = (fs_allowlist?: string[]) =>
    orderFile.parse({
      order_id: 'o',
      type: 'draft',
      objective: 'x',
      constraints: fs_allowlist && { tool_policy: { fs_allowlist } },
    });

  test('without a tool policy may write its outputs', () => {
    expect(() => requireAllowed(order(), ['outputs/a.txt'])).not.toThrow();
  });

  test('with an empty allowlist may write nothing', () => {
    expect(() => requireAllowed(order([]), ['outputs/a.txt'])).toThrow(/outputs\/a\.txt/);
  });

  test('is refused for the one path of several that is not covered', () => {
    const allowed = order(['outputs/a.txt', 'docs/']);
    expect(() => requireAllowed(allowed, ['outputs/a.txt', 'docs/b.md'])).not.toThrow();
    expect(() => requireAllowed(allowed, ['outputs/a.txt', 'outputs/b.txt'])).toThrow(
      expect.objectContaining({ code: 'TOOL_POLICY_VIOLATION' }),
    );
  });
});
