import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { missionSubject, parseMissionSubject, projectFilter } from './subjects.ts';
import { PROJECT } from './testdata/lab.ts';

describe('subjects of missions', () => {
  test('any project and slug come back from their subject, which has five plain tokens', () => {
    const name = fc.string({ minLength: 1, unit: 'grapheme' });
    fc.assert(
      fc.property(name, name, (projectUuid, slug) => {
        const subject = missionSubject(projectUuid, slug);
        expect(subject).toMatch(/^mis\.v1\.[\w=-]+\.[\w=-]+\.board$/);
        expect(parseMissionSubject(subject)).toEqual({ projectUuid, slug });
      }),
    );
  });

  test('a dot in a slug is no token of its own', () => {
    expect(missionSubject('p', '064-v1.2')).toBe('mis.v1.p.064-v1=2e2.board');
    expect(projectFilter(PROJECT)).toBe(`mis.v1.${PROJECT}.*.board`);
  });

  test.each([
    'mis.v1.p.m',
    'mis.v1.p.m.other',
    'mis.v1.p.*.board',
    'led.v1.p.m.board',
    'mis.v1.p.=zz.board',
    'mis.v1.p.=ff.board',
  ])('%s is none', (subject) => {
    expect(parseMissionSubject(subject)).toBeUndefined();
  });

  test('an empty name is a defect', () => {
    expect(() => missionSubject('', 'x')).toThrow('empty');
  });
});
