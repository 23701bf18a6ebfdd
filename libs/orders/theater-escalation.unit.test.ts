import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { arbitraryLedger, eventScript, when } from '#libs/testing';
import {
  type EscalationBook,
  evolveEscalations,
  theaterEscalation,
  theaterEscalationIdFor,
} from './mod.ts';

const EMPTY: EscalationBook = new Map();
const COMMAND = {
  garrisonId: 'g',
  theaterId: 'demo',
  severity: 'LOW',
  route: 'duty-officer',
  reason: 'orphan: junk',
  cause: 'orphan/junk',
} as const;

describe('escalations about no order', () => {
  test('raised once for each cause', () => {
    const script = eventScript({ run_id: null });
    const [draft] = when(EMPTY, (book) => theaterEscalation(book, COMMAND)).thenEvents(
      'ESCALATION_RAISED',
    );
    if (draft === undefined) throw new Error('no draft');
    expect(draft).toMatchObject({ theater_id: 'demo', run_id: null, order_id: null });
    const book = evolveEscalations(EMPTY, script.append(draft));
    when(book, (now) => theaterEscalation(now, COMMAND)).thenNothing();
    when(book, (now) => theaterEscalation(now, { ...COMMAND, cause: 'orphan/other' })).thenEvents(
      'ESCALATION_RAISED',
    );
    const garrison = { ...COMMAND, theaterId: null };
    when(book, (now) => theaterEscalation(now, garrison)).thenEvents('ESCALATION_RAISED');
  });

  test('an acknowledgement is kept; one of an unknown escalation is not', () => {
    const escalation_id = theaterEscalationIdFor(COMMAND, COMMAND.cause);
    const script = eventScript({ run_id: null });
    script.add('ESCALATION_RAISED', { escalation_id });
    script.add('ESCALATION_ACKED', { escalation_id });
    script.add('ESCALATION_ACKED', { escalation_id: 'other' });
    const book = evolveEscalations(EMPTY, script.events);
    expect([...book]).toEqual([[escalation_id, { acked: true }]]);
  });

  test('events of orders do not count, and the book is bounded', () => {
    const script = eventScript({ run_id: null });
    for (let index = 0; index <= 10_000; index += 1) {
      script.add('ESCALATION_RAISED', { escalation_id: `e${index}` });
    }
    script.add('ESCALATION_RAISED', { escalation_id: 'of-order' }, { order_id: 'o1' });
    const book = evolveEscalations(EMPTY, script.events);
    expect(book.size).toBe(10_000);
    expect(book.has('e0')).toBe(false);
    expect(book.has('e10000')).toBe(true);
    expect(book.has('of-order')).toBe(false);
  });

  test('any cut into batches gives the same book', () => {
    fc.assert(
      fc.property(arbitraryLedger(), fc.nat(40), (ledger, cut) => {
        const events = ledger.map((event) => ({ ...event, order_id: null }));
        const whole = evolveEscalations(EMPTY, events);
        const first = evolveEscalations(EMPTY, events.slice(0, cut));
        expect(evolveEscalations(first, events.slice(cut))).toEqual(whole);
      }),
    );
  });
});
