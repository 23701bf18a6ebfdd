import { ABSENT, isId } from '#libs/contracts';
import { SUBJECTS } from '#streams';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  deadSubject,
  jobSubject,
  ledgerFilter,
  ledgerSubject,
  parseLedgerSubject,
} from './subjects.ts';

const id = fc.stringMatching(/^[A-Za-z0-9_][A-Za-z0-9_-]{0,20}$/).filter(isId);
const place = fc.record({
  garrison_id: id,
  theater_id: fc.option(id),
  run_id: fc.option(id),
  order_id: fc.option(id),
});
/** Text with what is special in a subject, often. */
const text = fc.oneof(
  fc.string(),
  fc
    .array(fc.constantFrom('.', '*', '>', ' ', '\r', '\n', '\0', '_', 'a', 'é'), { maxLength: 5 })
    .map((parts) => parts.join('')),
);

function attempt<T>(run: () => T): T | undefined {
  try {
    return run();
  } catch {
    return undefined;
  }
}

describe('ledger subjects', () => {
  test('build and parse are each other’s inverse', () => {
    fc.assert(
      fc.property(place, (ids) => {
        expect(parseLedgerSubject(ledgerSubject(ids))).toEqual(ids);
      }),
    );
  });

  test('text becomes a token only if it is an id', () => {
    fc.assert(
      fc.property(text, fc.nat(3), (value, at) => {
        const ids = ['g', 't', 'r', 'o'];
        ids[at] = value;
        const [garrison_id = '', theater_id, run_id, order_id] = ids;
        const build = () => ledgerSubject({ garrison_id, theater_id, run_id, order_id });
        const tokens = attempt(build)?.split('.');
        expect(tokens).toEqual(isId(value) ? ['led', 'v1', ...ids] : undefined);
      }),
    );
    for (const bad of [ABSENT, '', 'a.b', '*', '>', 'a b', 'a\n']) {
      expect(() => jobSubject(bad, 'c')).toThrow('not an id');
      expect(() => deadSubject(bad)).toThrow('not an id');
      expect(() => ledgerFilter({ run_id: bad })).toThrow('not an id');
    }
  });

  test('whatever parses builds the same subject again', () => {
    const subject = fc.oneof(
      fc.array(text, { maxLength: 5 }).map((parts) => `led.v1.${parts.join('.')}`),
      fc.constantFrom('led.v1.g.*.r.o', 'led.v1._.t.r.o', 'led.v1.g.t.r', 'led.v1.g.t.r.o.x', ''),
      fc.string(),
    );
    fc.assert(
      fc.property(subject, (value) => {
        const ids = parseLedgerSubject(value);
        expect(ids === undefined ? value : ledgerSubject(ids)).toBe(value);
      }),
    );
    expect(parseLedgerSubject('led.v1.g.*.r.o')).toBeUndefined();
    expect(parseLedgerSubject('led.v1._.t.r.o')).toBeUndefined();
  });

  test('a filter says any for what is left out, and absent for null', () => {
    expect(ledgerFilter({})).toBe(SUBJECTS.ledger);
    expect(ledgerFilter({ garrison_id: 'g', order_id: null })).toBe('led.v1.g.*.*._');
    expect(ledgerFilter({ run_id: 'r', theater_id: undefined })).toBe('led.v1.*.*.r.*');
  });
});
