import { describe, expect, test } from 'vitest';
import { formatLine } from './format.ts';
import { createLogger, redactText } from './mod.ts';

function capture(format: 'json' | 'text') {
  const lines: string[] = [];
  const destination = { write: (line: string) => void lines.push(line) };
  const logger = createLogger({ name: 'ledger', level: 'debug', destination, format });
  return { lines, logger };
}

describe('secrets', () => {
  test('are taken out by field name, also in nested objects', () => {
    const { lines, logger } = capture('json');
    const secret = 'very-secret-value';
    logger.info({
      authorization: secret,
      apiKey: secret,
      headers: { authorization: secret, 'x-api-key': secret },
      req: { headers: { cookie: secret } },
      env: { OPENAI_API_KEY: secret, NATS_PASSWORD: secret },
      kept: 'plain',
    });
    expect(lines.join('')).not.toContain(secret);
    expect(JSON.parse(lines[0] ?? '')).toMatchObject({ kept: 'plain', name: 'ledger' });
  });

  test.each([
    ['401 for Bearer abc.def-ghi_jkl', 'abc.def'],
    ['Incorrect API key provided: sk-proj-abcdefghijklmnop1234', 'abcdefghijklmnop'],
    ['connect nats://user:hunter22@localhost:4222', 'hunter22'],
  ])('are taken out of texts by their look: %s', (text, secret) => {
    expect(redactText(text)).not.toContain(secret);
    const { lines, logger } = capture('json');
    logger.error({ err: new Error(text) }, text);
    expect(lines.join('')).not.toContain(secret);
    expect(() => JSON.parse(lines[0] ?? '')).not.toThrow();
  });

  test('ordinary words stay', () => {
    const text = 'io-intelligence-provider serves http://127.0.0.1:8080/a@b, task-runner';
    expect(redactText(text)).toBe(text);
  });
});

describe('text', () => {
  test('is one line with time, level, name, message and fields', () => {
    const { lines, logger } = capture('text');
    logger.warn({ url: 'http://x', count: 2 }, 'hello');
    expect(lines[0]).toMatch(
      /^\d\d:\d\d:\d\d\.\d{3} WARN {2}ledger {2}hello {2}url=http:\/\/x count=2\n$/,
    );
  });

  test('shows the stack of an error below', () => {
    const { lines, logger } = capture('text');
    logger.error(new Error('broken'));
    expect(lines[0]).toMatch(/ERROR ledger {2}broken\n {4}Error: broken\n {8}at /);
  });

  test('control characters cannot reach the terminal', () => {
    const { lines, logger } = capture('text');
    logger.info({ name2: '\x1b]0;x\x07' }, 'a\x1b[2Jb\nc');
    expect(lines[0]?.slice(0, -1)).not.toMatch(/\p{Cc}/u);
  });

  test('a line that is no record comes back as it is', () => {
    expect(formatLine('plain\n', false)).toBe('plain\n');
    expect(formatLine('{"time":"x"}', false)).toBe('{"time":"x"}');
  });
});

test('levels', () => {
  const { lines, logger } = capture('json');
  logger.trace('no');
  logger.debug('yes');
  expect(lines).toHaveLength(1);
});
