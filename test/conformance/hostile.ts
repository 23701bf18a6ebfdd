import type { Data } from './wire.ts';

/** A body that must be refused, and the code where the contract leaves no choice. */
export type Hostile = [name: string, body: string | Uint8Array, code?: string];

/** Ids that would mean something to a subject, a path, a shell or a reader. */
export const BAD_IDS: readonly [name: string, id: string][] = [
  ['empty', ''],
  ['the absent token', '_'],
  ['a dot', '.'],
  ['two dots', '..'],
  ['a parent', '../x'],
  ['an encoded parent', '%2e%2e%2fx'],
  ['a path', 'a/b'],
  ['a backslash', 'a\\b'],
  ['a dash first', '-x'],
  ['an option', '--force'],
  ['dots inside', 'x..y'],
  ['a subject separator', 'a.b'],
  ['a wildcard', '*'],
  ['a tail wildcard', '>'],
  ['a blank', 'a b'],
  ['a trailing blank', 'a '],
  ['a line end', 'a\n'],
  ['NUL', 'a\0b'],
  ['a control character', 'a\u001bb'],
  ['300 characters', 'x'.repeat(300)],
  ['a letter of another alphabet', 'оrder'],
  ['a digit of another alphabet', 'order_١'],
  ['full-width letters', 'ｏｒｄｅｒ'],
  ['a right-to-left override', 'a\u202eb'],
  ['a zero-width joiner', 'a\u200db'],
  ['a combining mark', 'e\u0301'],
  ['an emoji', '🙂'],
  ['a lone surrogate', 'a\ud800'],
  ['a shell substitution', '$(id)'],
  ['a git revision', 'HEAD~1'],
  ['a lock file', 'x.lock'],
];

/** Bytes that are no JSON value at all. */
export const BAD_JSON: readonly Hostile[] = [
  ['words', 'not json', 'INVALID_JSON'],
  ['half a value', '{"type":', 'INVALID_JSON'],
  ['a value and more', '{} {}', 'INVALID_JSON'],
  ['single quotes', "{'type':'PATROL_TICK'}", 'INVALID_JSON'],
  ['a comment', '{"type":"PATROL_TICK"/**/}', 'INVALID_JSON'],
  ['a trailing comma', '{"type":"PATROL_TICK",}', 'INVALID_JSON'],
  ['NaN', '{"type":"PATROL_TICK","payload":{"x":NaN}}', 'INVALID_JSON'],
  ['NUL in a string', '{"type":"PATROL\0TICK"}', 'INVALID_JSON'],
  ['a byte order mark', '\ufeff{"type":"PATROL_TICK"}', 'INVALID_JSON'],
  ['invalid UTF-8', bytes('{"type":"PATROL_TICK","payload":{"x":"', [0xff, 0xfe], '"}}')],
  ['an overlong slash', bytes('{"type":"PATROL_TICK","payload":{"x":"', [0xc0, 0xaf], '"}}')],
  [
    'an encoded surrogate',
    bytes('{"type":"PATROL_TICK","payload":{"x":"', [0xed, 0xa0, 0x80], '"}}'),
  ],
  ['UTF-16', new Uint8Array(Buffer.from('{"type":"PATROL_TICK"}', 'utf16le'))],
  ['100 000 brackets', '['.repeat(100_000)],
];

/** JSON that is no event; `at` are the base fields of a good one. */
export function badEvents(at: Data): Hostile[] {
  const started = { type: 'ORDER_STARTED', ...at, payload: { attempt: 1 } };
  const json = (value: unknown): string => JSON.stringify(value);
  const but = (change: Data): string => json({ ...started, ...change });
  const text = json(started);
  /** As `but`, with JSON that an object of ours cannot hold. */
  const payload = (inner: string): string => text.replace('"payload":{', `"payload":{${inner},`);
  const without = (key: string): string => json({ ...started, [key]: undefined });
  return [
    ['an array', '[]', 'INVALID_REQUEST'],
    ['an array of events', `[${text}]`, 'INVALID_REQUEST'],
    ['null', 'null', 'INVALID_REQUEST'],
    ['true', 'true', 'INVALID_REQUEST'],
    ['a number', '17', 'INVALID_REQUEST'],
    ['a string', '"PATROL_TICK"', 'INVALID_REQUEST'],
    ['nothing in it', '{}', 'INVALID_REQUEST'],
    ['no type', without('type'), 'INVALID_REQUEST'],
    ['a type that is null', but({ type: null }), 'INVALID_REQUEST'],
    ['a type that is a list', but({ type: ['ORDER_STARTED'] }), 'INVALID_REQUEST'],
    ...['BOGUS', 'order_started', 'ORDER_STARTED ', ' ORDER_STARTED', 'ORDER-STARTED', ''].map(
      (type): Hostile => [`type ${json(type)}`, but({ type }), 'UNKNOWN_EVENT_TYPE'],
    ),
    ...['toString', 'constructor', '__proto__', 'hasOwnProperty'].map(
      (type): Hostile => [`type ${type}`, but({ type }), 'UNKNOWN_EVENT_TYPE'],
    ),
    [
      'a type that is written twice, last wrong',
      text.replace('{', '{"x":0,').replace('"x":0,', '').replace(/\}$/, ',"type":"BOGUS"}'),
      'UNKNOWN_EVENT_TYPE',
    ],
    ['a type of 1 MB', but({ type: 'X'.repeat(1_000_000) })],
    ['a field that is not known', but({ status: 'COMPLETED' }), 'INVALID_REQUEST'],
    ['a sequence of its own', but({ seq: 1 }), 'INVALID_REQUEST'],
    ['a payload that is text', but({ payload: 'text' }), 'INVALID_REQUEST'],
    ['a payload that is a list', but({ payload: [] }), 'INVALID_REQUEST'],
    ['a payload that is null', but({ payload: null }), 'INVALID_REQUEST'],
    ['a payload that is a number', but({ payload: 1 }), 'INVALID_REQUEST'],
    ...[
      'yesterday',
      '',
      '2026-01-14',
      '2026-01-14 16:21:00Z',
      '2026-01-14T16:21:00',
      1_768_407_660,
    ].map((ts): Hostile => [`ts ${json(ts)}`, but({ ts }), 'INVALID_REQUEST']),
    ...['2026-02-30T00:00:00Z', '2026-01-14T25:00:00Z', '2026-01-14T16:21:00+02:00'].map(
      (ts): Hostile => [`ts ${ts}`, but({ ts }), 'INVALID_REQUEST'],
    ),
    ['an order_id that is a number', but({ order_id: 17 }), 'INVALID_REQUEST'],
    ['an order_id that is an object', but({ order_id: { toString: 'x' } }), 'INVALID_REQUEST'],
    ['no order_id', but({ order_id: null }), 'INVALID_REQUEST'],
    ['no theater_id', without('theater_id'), 'INVALID_REQUEST'],
    ['attempt 0', but({ payload: { attempt: 0 } }), 'INVALID_REQUEST'],
    ['attempt -1', but({ payload: { attempt: -1 } }), 'INVALID_REQUEST'],
    ['half an attempt', but({ payload: { attempt: 1.5 } }), 'INVALID_REQUEST'],
    ['attempt as text', but({ payload: { attempt: '1' } }), 'INVALID_REQUEST'],
    ['attempt 2^53', but({ payload: { attempt: 2 ** 53 } }), 'INVALID_REQUEST'],
    [
      'an artifact outside',
      but({ type: 'ARTIFACT_WRITTEN', payload: { path: '../../etc/passwd' } }),
      'INVALID_REQUEST',
    ],
    [
      'an artifact at the root',
      but({ type: 'ARTIFACT_WRITTEN', payload: { path: '/etc/passwd' } }),
      'INVALID_REQUEST',
    ],
    [
      'an artifact with NUL',
      but({ type: 'ARTIFACT_WRITTEN', payload: { path: 'a\0b' } }),
      'INVALID_REQUEST',
    ],
    [
      'a commit that is none',
      but({ type: 'ORDER_COMPLETED', payload: { commit_sha: 'HEAD' } }),
      'INVALID_REQUEST',
    ],
    [
      'a severity that is none',
      but({ type: 'ESCALATION_RAISED', payload: { severity: 'EXTREME' } }),
      'INVALID_REQUEST',
    ],
    [
      '__proto__ beside the fields',
      text.replace(/\}$/, ',"__proto__":{"ok":true}}'),
      'INVALID_REQUEST',
    ],
    ['__proto__ in the payload', payload('"__proto__":{"attempt":9}'), 'INVALID_REQUEST'],
    [
      'constructor in the payload',
      payload('"constructor":{"prototype":{"x":1}}'),
      'INVALID_REQUEST',
    ],
    ['__proto__ deep in the payload', payload('"a":[{"b":{"__proto__":1}}]'), 'INVALID_REQUEST'],
    ['payload as __proto__', text.replace('"payload":', '"__proto__":'), 'INVALID_REQUEST'],
    ['33 levels', payload(`"deep":${'['.repeat(33)}${']'.repeat(33)}`), 'INVALID_REQUEST'],
    [
      '10 000 levels',
      payload(`"deep":${'{"a":'.repeat(10_000)}1${'}'.repeat(10_000)}`),
      'INVALID_REQUEST',
    ],
    ['an integer beyond 2^53', payload('"big":9007199254740993'), 'INVALID_REQUEST'],
    ['a number beyond all', payload('"big":1e400'), 'INVALID_REQUEST'],
    ['a negative number beyond all', payload('"big":-1e400'), 'INVALID_REQUEST'],
    ['a lone surrogate in a text', payload('"text":"a\\ud800b"'), 'INVALID_REQUEST'],
    ['a lone surrogate in a key', payload('"a\\udc00b":1'), 'INVALID_REQUEST'],
    ['101 000 values', payload(`"many":[${'0,'.repeat(101_000)}0]`)],
    ['an event of 300 kB', payload(`"text":"${'x'.repeat(300_000)}"`), 'PAYLOAD_TOO_LARGE'],
    ...['order_id', 'run_id', 'theater_id', 'unit_id', 'garrison_id', 'event_id'].flatMap((field) =>
      BAD_IDS.map(
        ([name, id]): Hostile => [`${field}: ${name}`, but({ [field]: id }), 'INVALID_REQUEST'],
      ),
    ),
  ];
}

/** Over every limit: 5 MB of payload. */
export function hugeEvent(at: Data): string {
  return JSON.stringify({ type: 'ORDER_STARTED', ...at, payload: { text: 'x'.repeat(5_000_000) } });
}

function bytes(before: string, middle: number[], after: string): Uint8Array {
  return new Uint8Array(
    Buffer.concat([Buffer.from(before), Buffer.from(middle), Buffer.from(after)]),
  );
}
