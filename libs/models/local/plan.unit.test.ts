import { describe, expect, test } from 'vitest';
import { plan } from './plan.ts';

const keysOf = (objective: string, files: { path: string; text: string }[] = []) =>
  (JSON.parse(plan({ objective, files })) as { steps: { key: string; depends_on: string[] }[] })
    .steps;

const CALL = Array.from({ length: 6 }, (_, i) => `${i % 2 ? 'Ana' : 'Bo'}: We ship on day ${i}.`);

describe('the local planner', () => {
  test.each([
    ['Why is the rollout late?', ['research', 'draft', 'verify']],
    ['Check these claims', ['research', 'draft', 'verify']],
    ['Compare both offers', ['decisions', 'risks', 'numbers', 'synthesis']],
    ['Write a welcome note', ['draft']],
  ])('%s', (objective, keys) => {
    expect(keysOf(objective).map(({ key }) => key)).toEqual(keys);
  });

  test('a transcript is summarised, whatever is asked', () => {
    const files = [{ path: 'inputs/r/call.md', text: CALL.join('\n') }];
    expect(keysOf('What happened?', files).map(({ key }) => key)).toEqual(['summary']);
  });

  test('after a refusal it plans the least', () => {
    const files = [{ path: 'inputs/r/plan-refused.md', text: 'too many steps' }];
    expect(keysOf('Compare both offers', files).map(({ key }) => key)).toEqual(['draft']);
  });

  test('every dependency is an earlier step', () => {
    for (const objective of ['Review it', 'Why?', 'Write']) {
      const seen = new Set<string>();
      for (const { key, depends_on } of keysOf(objective)) {
        expect(depends_on.every((one) => seen.has(one))).toBe(true);
        seen.add(key);
      }
    }
  });
});
