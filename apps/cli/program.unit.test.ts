import { describe, expect, test } from 'vitest';
import type { Io } from './io.ts';
import { run } from './program.ts';

/** Runs a command line without a process; a state folder that nobody runs on. */
async function cli(...argv: string[]) {
  const out: string[] = [];
  const err: string[] = [];
  const io: Io = {
    out: (text) => void out.push(text),
    err: (text) => void err.push(text),
    env: { IRONCLAW_STATE: '/nonexistent/ironclaw' },
    colours: { out: false, err: false },
  };
  const code = await run(argv, io);
  return { code, out: out.join('\n'), err: err.join('\n') };
}

const COMMANDS = [
  'up',
  'demo',
  'chat',
  'runs',
  'orders',
  'events',
  'views',
  'streams',
  'serve',
  'doctor',
];

describe('help', () => {
  test('is shown without arguments and names every command', async () => {
    const { code, out } = await cli();
    expect(code).toBe(0);
    for (const name of COMMANDS) expect(out).toMatch(new RegExp(`^  ${name}\\b`, 'm'));
    expect(out).toContain('Exit codes');
  });

  test.each(COMMANDS)('%s has examples', async (name) => {
    const { code, out } = await cli(name, '--help');
    expect(code).toBe(0);
    expect(out).toMatch(/Examples:\n {2}\$ ironclaw /);
  });

  test('the version is the one of package.json', async () => {
    expect(await cli('--version')).toMatchObject({ code: 0, out: '0.1.0' });
  });
});

describe('wrong usage is told on stderr, with what to do, and exit code 2', () => {
  test.each([
    [['fly'], 'unknown command', 'ironclaw --help'],
    [['runs', '--fly'], "unknown option '--fly'", 'ironclaw runs --help'],
    [['up', '--workers', '0'], '1 to 64', 'ironclaw up --help'],
    [['up', '--sync', 'never'], 'always', 'ironclaw up --help'],
    [['up', '--port', '70000'], 'IRONCLAW_PORT', ''],
    [['chat'], 'no message', 'ironclaw chat'],
    [['chat', 'x', '--var', 'novalue'], 'KEY=VALUE', 'ironclaw chat --help'],
    [['chat', '--file', '/nonexistent/f.md'], 'ENOENT', '--file PATH'],
    [['serve', 'cook'], 'no role cook', 'gateway, ledger'],
    [['serve'], "missing required argument 'role'", 'ironclaw serve --help'],
    [['events', '--follow', '--since', '1h'], '--follow', '--since'],
    [['runs', '--limit', 'many', '--url', 'http://127.0.0.1:9'], 'limit', ''],
    [['runs', '--status', 'sad', '--url', 'http://127.0.0.1:9'], 'status', ''],
  ])('%j', async (argv, reason, fix) => {
    const { code, out, err } = await cli(...argv);
    expect(code).toBe(2);
    expect(out).toBe('');
    const [first, ...rest] = err.split('\n');
    expect(first).toMatch(/^error: /);
    expect(err).toContain(reason);
    expect(rest.join('\n')).toContain(fix);
  });
});

describe('a system that is not there', () => {
  test.each([
    [['runs']],
    [['orders', 'show', 'o1']],
    [['events', '--follow']],
    [['chat', 'hello']],
    [['views', 'rebuild']],
    [['streams', 'plan']],
    [['serve', 'worker']],
    [['runs', '--url', 'http://127.0.0.1:1']],
  ])('%j ends with exit code 3', async (argv) => {
    const { code, err } = await cli(...argv);
    expect(code).toBe(3);
    expect(err).toContain('ironclaw up');
  });

  test('is an error envelope with --json', async () => {
    const { code, out, err } = await cli('runs', '--json');
    expect(code).toBe(3);
    expect(out).toBe('');
    expect(JSON.parse(err)).toMatchObject({
      ok: false,
      data: null,
      error: {
        code: 'DEPENDENCY_UNAVAILABLE',
        fix: expect.stringContaining('ironclaw up') as string,
      },
    });
  });
});
