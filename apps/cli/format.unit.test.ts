import type { StoredEvent } from '#libs/contracts';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { timeOf } from './commands/events.ts';
import { judgeDisk } from './doctor/checks.ts';
import { eventLine } from './event-line.ts';
import { ago, clip, facts, size, span, table } from './format.ts';
import { readServerEvents } from './server-events.ts';

const PLAIN = { colours: false, none: 'nothing' };

describe('tables', () => {
  test('line up, and say what there is none of', () => {
    expect(
      table(
        ['id', 'n'],
        [
          ['a', 1],
          ['long', null],
        ],
        PLAIN,
      ),
    ).toBe('id    n\na     1\nlong  -');
    expect(table(['id'], [], PLAIN)).toBe('nothing');
  });

  test('hold one line a row whatever is in the cells', () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: 'binary' }), { minLength: 1 }), (cells) => {
        const text = table(
          ['a', 'b'],
          cells.map((cell) => [cell, cell]),
          PLAIN,
        );
        expect(text.split('\n')).toHaveLength(cells.length + 1);
        expect(text.replaceAll('\n', '')).not.toMatch(/\p{Cc}/u);
      }),
    );
  });

  test('facts leave out what is not there', () => {
    expect(
      facts([
        ['run', 'r'],
        ['why', null],
        ['status', 'OPEN'],
      ]),
    ).toBe('run     r\nstatus  OPEN');
  });
});

describe('figures', () => {
  const NOW = Date.parse('2026-01-14T16:00:00Z');
  test.each([
    ['2026-01-14T15:59:59.500Z', 'now'],
    ['2026-01-14T15:59:18Z', '42 s ago'],
    ['2026-01-14T14:59:00Z', '1 h ago'],
    ['2026-01-10T00:00:00Z', '4 d ago'],
    [null, '-'],
    ['never', 'never'],
  ])('%s is %s', (time, said) => expect(ago(time, NOW)).toBe(said));

  test.each([
    [812, '812 B'],
    [1_434, '1.4 KiB'],
    [5 * 1024 ** 3, '5.0 GiB'],
    [5 * 1024 ** 4, '5120.0 GiB'],
  ])('%d bytes are %s', (bytes, said) => expect(size(bytes)).toBe(said));

  test.each([
    [340, '340 ms'],
    [4_200, '4.2 s'],
    [180_000, '3 min'],
    [null, '-'],
  ])('%s ms are %s', (ms, said) => expect(span(ms)).toBe(said));

  test('clip cuts between characters', () => expect(clip('ab😀cd', 4)).toBe('ab😀…'));

  test('spans before now are times', () => {
    expect(timeOf('15m', NOW)).toBe('2026-01-14T15:45:00.000Z');
    expect(timeOf('2026-01-01T00:00:00Z', NOW)).toBe('2026-01-01T00:00:00Z');
  });
});

describe('the line of an event', () => {
  const event = (type: string, payload: object): StoredEvent =>
    ({
      seq: 9,
      event_id: 'e',
      ts: '2026-01-14T16:21:00.123Z',
      type,
      garrison_id: 'g',
      theater_id: 't',
      run_id: 'r1',
      order_id: 'order-with-a-long-id',
      unit_id: null,
      payload,
    }) as unknown as StoredEvent;

  test('tells time, sequence, type, order and what matters', () => {
    const written = { attempt: 2, path: 'outputs/a.md', bytes: 2048, sha256: 'a'.repeat(64) };
    expect(eventLine(event('ARTIFACT_WRITTEN', written), false)).toBe(
      '16:21:00.123     9  ARTIFACT_WRITTEN      …-long-id  attempt 2 · outputs/a.md · 2.0 KiB · aaaaaaaaaa',
    );
    const gates = [
      { gate: 'aar', passed: true },
      { gate: 'tree', passed: false },
    ];
    expect(eventLine(event('INTEGRATION_PASSED', { gates }), false)).toContain(
      'aar=pass tree=fail',
    );
  });

  test('never breaks the line or the terminal, whatever the payload holds', () => {
    const types = fc.constantFrom(
      'RUN_CREATED',
      'ORDER_FAILED',
      'INTEGRATION_PASSED',
      'PATROL_TICK',
    );
    const payload = fc.dictionary(
      fc.constantFrom('reason', 'gates', 'attempt', 'artifacts', 'objective', 'duration_ms'),
      fc.oneof(fc.string({ unit: 'binary' }), fc.integer(), fc.constant(null), fc.constant([])),
    );
    fc.assert(
      fc.property(types, payload, (type, given) => {
        expect(eventLine(event(type, given), false)).not.toMatch(/\p{Cc}/u);
      }),
    );
  });
});

describe('server-sent events', () => {
  const encode = (text: string) => new TextEncoder().encode(text);
  const read = async (chunks: Uint8Array[]) => {
    const found: unknown[] = [];
    async function* body() {
      yield* chunks;
    }
    for await (const event of readServerEvents(body())) found.push(event);
    return found;
  };

  test('are the same however the bytes are cut', async () => {
    const bytes = encode(
      'retry: 1000\n\nid: 7\nevent: X\ndata: {"a":"é"}\n\n: keep-alive\n\nid: 8\ndata: 1\n\n',
    );
    const expected = [
      { id: '7', data: { a: 'é' } },
      { id: '8', data: 1 },
    ];
    for (let at = 0; at <= bytes.length; at += 1) {
      expect(await read([bytes.slice(0, at), bytes.slice(at)])).toEqual(expected);
    }
  });

  test('an error event is thrown', async () => {
    const text =
      'event: error\ndata: {"ok":false,"error":{"code":"RATE_LIMITED","message":"m"}}\n\n';
    await expect(read([encode(text)])).rejects.toMatchObject({
      code: 'RATE_LIMITED',
      message: 'm',
    });
  });
});

test('the disk must have room for what the streams promise', () => {
  const GIB = 1024 ** 3;
  expect(judgeDisk(3.5 * GIB, true).state).toBe('fail');
  expect(judgeDisk(4 * GIB, true).state).toBe('warn');
  expect(judgeDisk(10 * GIB, true).state).toBe('ok');
  expect(judgeDisk(2 * GIB, false).state).toBe('ok');
});
