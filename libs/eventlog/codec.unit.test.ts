import { LIMITS, type StoredEvent } from '#libs/contracts';
import { arbitraryEvent } from '#libs/testing';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decodeEvent, encodeEvent, sameFact } from './codec.ts';
import { ledgerSubject } from './subjects.ts';
import { fact } from './testdata/events.ts';

const bytes = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
const stored = (value: object) => ({ ...value, seq: 7 }) as StoredEvent;
const SUBJECT = ledgerSubject(fact('e1'));

describe('the stored form', () => {
  test('of any event reads back as that event', () => {
    fc.assert(
      fc.property(arbitraryEvent(), fc.integer({ min: 1 }), (event, seq) => {
        const decoded = decodeEvent(encodeEvent(event), seq, ledgerSubject(event));
        // What JSON keeps: no -0.
        const kept = JSON.parse(JSON.stringify(event)) as StoredEvent;
        expect(decoded).toEqual({ ok: true, event: { ...kept, seq } });
      }),
    );
  });

  test('garbage is a reason, never an exception', () => {
    const anything = fc.oneof(
      fc.uint8Array(),
      fc.json().map((json) => new TextEncoder().encode(json)),
      // An event with one field replaced by anything.
      fc
        .tuple(fc.constantFrom(...Object.keys(fact('e1')), 'toString', '__proto__'), fc.jsonValue())
        .map(([key, value]) => bytes({ ...fact('e1'), [key]: value })),
    );
    fc.assert(
      fc.property(anything, (data) => {
        const decoded = decodeEvent(data, 1, SUBJECT);
        const told = decoded.ok ? ledgerSubject(decoded.event) : decoded.reason;
        expect(decoded.ok ? told === SUBJECT : told.length > 0).toBe(true);
      }),
      { numRuns: 2_000 },
    );
  });

  test.each<[string, unknown, string]>([
    ['cut JSON', undefined, 'not JSON'],
    ['an array', [], 'not an object'],
    ['a type that cannot be a string', { ...fact('e1'), type: { toString: 1 } }, 'no type'],
    ['an unknown type', { ...fact('e1'), type: 'NOPE' }, 'unknown type NOPE'],
    ['a misprint, never stored', { ...fact('e1'), type: 'ORDER CLAIMED' }, 'unknown type'],
    ['an id with a dot', { ...fact('e1'), event_id: 'a.b' }, 'no event_id'],
    ['a ts that is none', { ...fact('e1'), ts: 'soon' }, 'no ts'],
    ['no garrison', { ...fact('e1'), garrison_id: null }, 'no garrison_id'],
    ['a unit that is missing', { ...fact('e1'), unit_id: undefined }, 'unit_id'],
    ['a payload that is a list', { ...fact('e1'), payload: [] }, 'no payload'],
    ['another aggregate', { ...fact('e1'), order_id: 'o2' }, 'not those of its subject'],
  ])('%s is told', (_, value, reason) => {
    const decoded = decodeEvent(
      value === undefined ? bytes('{').slice(1) : bytes(value),
      1,
      SUBJECT,
    );
    expect(decoded).toEqual({ ok: false, reason: expect.stringContaining(reason) });
  });

  test('is limited in bytes, to the byte', () => {
    const room = LIMITS.eventBytes - encodeEvent(fact('e1', '')).length;
    expect(encodeEvent(fact('e1', 'x'.repeat(room))).length).toBe(LIMITS.eventBytes);
    expect(() => encodeEvent(fact('e1', 'x'.repeat(room + 1)), 'events[2].')).toThrow(
      expect.objectContaining({ code: 'PAYLOAD_TOO_LARGE', field: 'events[2].payload' }),
    );
  });
});

describe('the same fact', () => {
  test('is what an event is after a way through the ledger', () => {
    fc.assert(
      fc.property(arbitraryEvent(), (event) => {
        const decoded = decodeEvent(encodeEvent(event), 7, ledgerSubject(event));
        expect(decoded.ok && sameFact(decoded.event, event, true)).toBe(true);
      }),
    );
  });

  test('ignores what JSON does not keep', () => {
    const sent = { ...fact('e1'), payload: { reason: 'x', label: undefined, cost: -0 } };
    const kept = { ...fact('e1'), payload: { cost: 0, reason: 'x' } };
    expect(sameFact(stored(kept), stored(sent), true)).toBe(true);
  });

  test.each([
    ['type', 'ORDER_FAILED'],
    ['garrison_id', 'g2'],
    ['theater_id', null],
    ['run_id', 'r2'],
    ['order_id', 'o2'],
    ['unit_id', 'u'],
    ['ts', '2026-01-14T16:21:00.000000001Z'],
    ['payload', { reason: 'another' }],
    ['payload', { reason: 'a fact', more: null }],
  ])('differs by %s', (field, value) => {
    expect(sameFact(stored(fact('e1')), stored({ ...fact('e1'), [field]: value }), true)).toBe(
      false,
    );
  });

  test('has one instant however it is written, and any if the ts was ours', () => {
    const sent = stored({ ...fact('e1'), ts: '2026-01-14T16:21:00.000Z' });
    expect(sameFact(stored(fact('e1')), sent, true)).toBe(true);
    const later = stored({ ...fact('e1'), ts: '2026-01-14T16:22:00Z' });
    expect(sameFact(stored(fact('e1')), later, false)).toBe(true);
  });
});
