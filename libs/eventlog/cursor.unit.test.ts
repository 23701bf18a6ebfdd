import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parsePosition } from './cursor.ts';

const number = fc.integer({ min: 0, max: 999_999_999_999_999 });
const name = fc.stringMatching(/^[A-Za-z0-9_-]{1,12}$/);

describe('the position in an ack subject', () => {
  test('is read from both forms', () => {
    fc.assert(
      fc.property(
        fc.tuple(name, name, number, number, number, number, number),
        fc.option(fc.tuple(name, name, fc.option(name))),
        ([stream, consumer, deliveries, seq, consumerSeq, time, pending], newer) => {
          const tokens = [stream, consumer, deliveries, seq, consumerSeq, time, pending];
          const [before, after] = newer === null ? [[], []] : [newer.slice(0, 2), newer.slice(2)];
          const reply = ['$JS', 'ACK', ...before, ...tokens, ...after].filter((t) => t !== null);
          expect(parsePosition(reply.join('.'))).toEqual({ seq, consumerSeq, pending });
        },
      ),
    );
  });

  test.each([
    '',
    '_INBOX.abc.1',
    '$JS.ACK.LEDGER.c.1.2.3.4',
    '$JS.ACK.LEDGER.c.1.x.3.4.5',
    '$JS.ACK.LEDGER.c.1.2..4.5',
    '$JS.ACK.a.LEDGER.c.1.2.3.4.5',
    '$JS.FC.LEDGER.c.1.2.3.4.5',
  ])('is not read from %j', (reply) => {
    expect(parsePosition(reply)).toBeUndefined();
  });

  test('is whole or not there, whatever the text', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        const position = parsePosition(`$JS.ACK.${text}`);
        expect(Object.values(position ?? {}).every(Number.isSafeInteger)).toBe(true);
      }),
    );
  });
});
