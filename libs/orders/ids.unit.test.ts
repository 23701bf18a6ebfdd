import fc from 'fast-check';
import { expect, test } from 'vitest';
import { isId } from '#libs/contracts';
import { deriveId, eventIdFor, orderIdFor, runIdFor } from './mod.ts';

test('a derived id is 26 characters, a valid id, and stays the same for ever', () => {
  // The first 130 bits of the SHA-256 of ["a","b"], worked out apart from the code.
  expect(deriveId('a', 'b')).toBe('0HSYYBE0TCJAPSCX6P0C24TEKP');
  fc.assert(
    fc.property(fc.array(fc.string()), (parts) => {
      const id = deriveId(...parts);
      expect(id).toMatch(/^[0-9A-HJKMNP-TV-Z]{26}$/);
      expect(isId(id)).toBe(true);
      expect(deriveId(...parts)).toBe(id);
    }),
  );
});

test('parts are told apart, and so are the kinds of ids', () => {
  expect(deriveId('ab', 'c')).not.toBe(deriveId('a', 'bc'));
  const ids = [orderIdFor('a', 'b', 'c'), runIdFor('a', 'b', 'c'), eventIdFor('a', 'b', 'c')];
  expect(new Set(ids).size).toBe(3);
});
