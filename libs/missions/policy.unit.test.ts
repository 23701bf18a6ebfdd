import { describe, expect, test } from 'vitest';
import { parsePolicy } from './policy.ts';
import { POLICY } from './testdata/boards.ts';
import { checkProvider } from './version.ts';

function code(text: string | undefined, requiredFor?: string): string {
  const read = parsePolicy(text, requiredFor);
  return read.ok ? 'ok' : read.error.code;
}
const withFields = (fields: object): string => JSON.stringify({ ...POLICY, ...fields });
const INVALID = 'POLICY_VALIDATION_FAILED';

describe('policies', () => {
  test('D.15 a missing or empty policy is POLICY_METADATA_REQUIRED where it is needed', () => {
    for (const text of [undefined, '', '  ']) {
      expect(code(text, 'a start')).toBe('POLICY_METADATA_REQUIRED');
      expect(code(text)).toBe('ok');
    }
  });

  test('D.12 an optional policy is checked when it is given', () => {
    expect(code(JSON.stringify(POLICY))).toBe('ok');
    expect(code('{}')).toBe(INVALID);
  });

  test.each(['{nope', '[]', '"x"', 'null'])('D.16 %s is no policy', (text) => {
    expect(code(text, 'a start')).toBe(INVALID);
  });

  test('D.16 each key is needed, and of its type', () => {
    for (const key of Object.keys(POLICY).filter((name) => name !== 'tool_restrictions')) {
      expect(code(withFields({ [key]: undefined }))).toBe(INVALID);
      expect(code(withFields({ [key]: 7 }))).toBe(INVALID);
      expect(code(withFields({ [key]: '' }))).toBe(INVALID);
    }
    expect(code(withFields({ dangerous_flags: 'none' }))).toBe(INVALID);
    expect(code(withFields({ dangerous_flags: [1] }))).toBe(INVALID);
    expect(code(withFields({ tool_restrictions: [] }))).toBe(INVALID);
    expect(code(withFields({ tool_restrictions: undefined }))).toBe('ok');
  });

  test.each(['my-Token', 'SECRETary', 'monkey', 'PassWord1', 'credentials'])(
    'D.17 the value %s looks like a secret, wherever it stands',
    (value) => {
      expect(code(withFields({ orchestrator_id: value }))).toBe(INVALID);
      expect(code(withFields({ dangerous_flags: [value] }))).toBe(INVALID);
      expect(code(withFields({ more: { deep: [{ er: value }] } }))).toBe(INVALID);
    },
  );

  test('D.17 a banned flag is refused; names of keys are not looked at', () => {
    expect(code(withFields({ dangerous_flags: ['--yolo'] }))).toBe(INVALID);
    expect(code(withFields({ api_key: 'harmless' }))).toBe('ok');
  });

  test('only the eight known keys are kept', () => {
    const read = parsePolicy(withFields({ more: 1 }));
    expect(read).toEqual({ ok: true, value: POLICY });
  });
});

test.each([
  ['0.0.9', false],
  ['banana', false],
  ['', false],
  ['0.1.0rc1', false],
  ['0.1.0.dev3', false],
  ['0.1.0', true],
  ['0.1', true],
  ['0.10.0', true],
  ['v0.1.3', true],
  ['0.1.0.post1', true],
  ['0.2.0a1', true],
])('D.2 provider %s is enough: %s', (version, enough) => {
  const read = checkProvider(version);
  expect(read.ok ? 'ok' : read.error.code).toBe(enough ? 'ok' : 'CONTRACT_VERSION_MISMATCH');
});
