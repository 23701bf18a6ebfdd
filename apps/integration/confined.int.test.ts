import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type ConfinedCommand, runConfined } from './confined.ts';

// Without namespaces, as on a host that has none: the process group is what is killed.

let cwd: string;
beforeAll(async () => {
  cwd = await mkdtemp(path.join(tmpdir(), 'ironclaw-confined-'));
});
afterAll(() => rm(cwd, { recursive: true }));

const run = (script: string, more: Partial<ConfinedCommand> = {}) =>
  runConfined({
    argv: ['/bin/sh', '-c', script],
    cwd,
    env: { PATH: process.env.PATH ?? '' },
    timeoutMs: 5_000,
    maxOutputBytes: 1_000,
    tailBytes: 10,
    ...more,
  });

test('both outputs are taken, the end of them kept', async () => {
  const done = await run('printf 0123456789abcde; exit 7');
  expect(done).toMatchObject({ end: 'exit', exitCode: 7, outputBytes: 15, tail: '56789abcde' });
  expect(await run('printf out; printf err >&2')).toMatchObject({ outputBytes: 6 });
});

test('a program that is not there, one that is killed', async () => {
  expect(await run('', { argv: ['/no/such/program'] })).toMatchObject({
    end: 'not-started',
    killedBy: 'ENOENT',
  });
  expect(await run('kill -9 $$')).toMatchObject({ end: 'exit', killedBy: 'SIGKILL' });
});

test('what it started ends with it: at its time limit, and when it has ended by itself', async () => {
  const mark = path.join(cwd, 'mark');
  const child = `(sleep 1; touch ${mark}) &`;
  const slow = await run(`${child} sleep 60`, { timeoutMs: 200 });
  expect(slow).toMatchObject({ end: 'timeout', killedBy: 'SIGKILL' });
  expect(slow.durationMs).toBeLessThan(1_000);
  expect(await run(child)).toMatchObject({ end: 'exit', exitCode: 0 });
  await sleep(1_500);
  expect(existsSync(mark)).toBe(false);
});

test('an abort ends it and is what the caller gets', async () => {
  const stop = new AbortController();
  const running = run('sleep 60', { signal: stop.signal });
  setTimeout(() => stop.abort(new Error('enough')), 100);
  await expect(running).rejects.toThrow('enough');
  await expect(run('true', { signal: stop.signal })).rejects.toThrow('enough');
});
