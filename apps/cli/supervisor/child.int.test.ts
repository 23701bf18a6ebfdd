import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { waitFor } from '#libs/testing';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type ChildSpec, superviseChild } from './child.ts';
import { type LogFile, openLogFile } from './log-file.ts';

const WAIT = { timeoutMs: 60_000 };
let dir: string;
let log: LogFile;
let notices: string[];
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'ironclaw-child-'));
  log = openLogFile({ path: join(dir, 'a.log'), name: 'a', onProblem: () => {} });
  notices = [];
});
afterEach(() => {
  log.close();
  rmSync(dir, { recursive: true });
});

const spec = (more: Pick<ChildSpec, 'args' | 'hangMs'>): ChildSpec => ({
  name: 'a',
  program: join(import.meta.dirname, 'test_child.ts'),
  env: () => process.env,
  log,
  onNotice: (line) => notices.push(line),
  onGiveUp: (error) => notices.push(error.message),
  ...more,
});

describe('a process whose event loop stands still', { timeout: 120_000 }, () => {
  test('is killed and replaced, and that is told and logged', async () => {
    // The first one has no URL yet, and spins.
    const args = (url: string | null) => [url === null ? 'spin' : 'work', 'http://127.0.0.1:1'];
    const child = superviseChild(spec({ args, hangMs: 4_000 }));
    expect(await child.ready).toBe('http://127.0.0.1:1');
    const first = child.pid;
    await waitFor(() => notices.some((line) => line.startsWith('a runs again')), WAIT);
    const why = 'it gave no sign of life for 4 s (IRONCLAW_HANG_MS)';
    expect(notices[0]).toBe(`a (pid ${first}) ended: ${why}; starting it again`);
    expect(readFileSync(log.path, 'utf8')).toContain(`"pid":${first},"msg":"killed: ${why}"`);
    expect(child.pid).not.toBe(first);
    await child.stop(10_000);
    expect(child.pid).toBeUndefined();
  });

  test('does not keep its supervisor from ending', async () => {
    const child = superviseChild(spec({ args: () => ['spin'], hangMs: 0 }));
    await child.ready;
    const pid = child.pid ?? 0;
    await child.stop(100);
    expect(child.pid).toBeUndefined();
    expect(() => process.kill(pid, 0)).toThrow('ESRCH');
    expect(notices).toEqual([]);
  });
});
