import fc from 'fast-check';
import { headers } from 'nats';
import { describe, expect, test } from 'vitest';
import { parseAck } from './ack.ts';
import { actualVersion } from './append.ts';

const answer = (value: unknown) =>
  parseAck({ data: new TextEncoder().encode(JSON.stringify(value)) });

describe('an answer to a publish', () => {
  test.each<[string, unknown, object]>([
    ['an ack', { stream: 'LEDGER', seq: 5 }, { kind: 'stored', seq: 5, duplicate: false }],
    [
      'a duplicate',
      { stream: 'LEDGER', seq: 5, duplicate: true },
      { kind: 'stored', seq: 5, duplicate: true },
    ],
    [
      'an error',
      { error: { code: 400, err_code: 10071, description: 'wrong last sequence: 4' } },
      { kind: 'refused', errCode: 10071, description: 'wrong last sequence: 4' },
    ],
    [
      'an error without a code of its own',
      { error: { code: 503, description: 'raft: not leader' } },
      { kind: 'refused', errCode: 503 },
    ],
    ['an error beside an ack', { stream: 'LEDGER', seq: 1, error: {} }, { kind: 'refused' }],
    ['another stream', { stream: 'OTHER', seq: 5 }, { kind: 'unknown' }],
    ['sequence 0', { stream: 'LEDGER', seq: 0 }, { kind: 'unknown' }],
    ['nothing', null, { kind: 'unknown' }],
  ])('%s', (_, body, ack) => {
    expect(answer(body)).toMatchObject(ack);
  });

  test('statuses and the empty answer', () => {
    const data = new Uint8Array();
    expect(parseAck({ data })).toEqual({ kind: 'held' });
    const noResponders = parseAck({ data, headers: headers(503, 'No Responders') });
    expect(noResponders).toMatchObject({ kind: 'refused', errCode: 503 });
    expect(parseAck({ data, headers: headers(408, 'Late') })).toMatchObject({ kind: 'unknown' });
  });

  test('garbage is never an ack and never an exception', () => {
    const anything = fc.oneof(
      fc.uint8Array({ minLength: 1 }),
      fc.json().map((json) => new TextEncoder().encode(json)),
    );
    fc.assert(
      fc.property(anything, (data) => {
        expect(parseAck({ data }).kind).toBe('unknown');
      }),
    );
  });

  test('the version in a refusal', () => {
    const version = (description: string) =>
      actualVersion({ kind: 'refused', errCode: 10071, description });
    expect(version('wrong last sequence: 10071')).toBe(10_071);
    expect(version('wrong last sequence: 0')).toBe(0);
    expect(version('wrong last sequence')).toBeUndefined();
  });
});
