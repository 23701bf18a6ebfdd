import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { mergeText } from './merge_text.ts';

const text = fc
  .array(fc.constantFrom('a', 'b', 'c', '', 'd'), { maxLength: 12 })
  .chain((lines) => fc.boolean().map((end) => lines.join('\n') + (end ? '\n' : '')));

describe('mergeText', () => {
  test('takes the side that changed, whatever the change', () => {
    fc.assert(
      fc.property(text, text, (base, side) => {
        expect(mergeText(base, base, side)).toBe(side);
        expect(mergeText(base, side, base)).toBe(side);
        expect(mergeText(base, side, side)).toBe(side);
      }),
    );
  });

  test('does not depend on which side is which', () => {
    fc.assert(
      fc.property(text, text, text, (base, ours, theirs) => {
        expect(mergeText(base, ours, theirs)).toBe(mergeText(base, theirs, ours));
      }),
    );
  });

  test('joins changes in different places', () => {
    expect(mergeText('1\n2\n3\n4\n5\n', '1\nX\n3\n4\n5\n', '1\n2\n3\n4\nY\n')).toBe(
      '1\nX\n3\n4\nY\n',
    );
    expect(mergeText('1\n2\n3\n', '0\n1\n2\n3\n', '1\n2\n3\n4')).toBe('0\n1\n2\n3\n4');
  });

  test('refuses changes of the same or neighbouring lines', () => {
    expect(mergeText('1\n2\n3\n', '1\nX\n3\n', '1\nY\n3\n')).toBe(undefined);
    expect(mergeText('1\n2\n3\n', 'X\n2\n3\n', '1\nY\n3\n')).toBe(undefined);
    expect(mergeText('', 'a', 'b')).toBe(undefined);
  });

  test('gives up on texts that differ too much', () => {
    const lines = (name: string) =>
      Array.from({ length: 1100 }, (_, i) => `${name}${i}\n`).join('');
    expect(mergeText(lines('a'), lines('b'), `${lines('a')}end\n`)).toBe(undefined);
  });
});
