import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { crashCounter } from './crashes.ts';
import { type LogRecord, openLogFile } from './log-file.ts';
import { readRunning, removeRunning, type Running, writeRunning } from './running.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'ironclaw-sup-'));
});
afterEach(() => rmSync(dir, { recursive: true }));

describe('crashes', () => {
  test('are answered by a longer and longer wait, and the fifth within 30 s by giving up', () => {
    const crashed = crashCounter();
    expect([0, 1, 2, 3].map((at) => crashed(at))).toEqual(
      [100, 200, 400, 800].map((delayMs) => ({ giveUp: false, delayMs })),
    );
    expect(crashed(29_999)).toEqual({ giveUp: true });
  });

  test('that lie apart are each the first', () => {
    const crashed = crashCounter();
    for (let at = 0; at < 600_000; at += 30_000) {
      expect(crashed(at)).toEqual({ giveUp: false, delayMs: 100 });
    }
  });
});

describe('log files', () => {
  test('hold JSON lines, wrap what is none, and tell of problems', () => {
    const problems: LogRecord[] = [];
    const path = join(dir, 'log', 'a.log');
    const log = openLogFile({ path, name: 'a', onProblem: (record) => problems.push(record) });
    log.write('{"level":30,"msg":"fine"}\n{"level":50,"msg":"bad"}\n');
    log.write('TypeError: x is not a function');
    log.close();
    log.write('{"level":50,"msg":"too late"}');
    const lines = readFileSync(path, 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as LogRecord);
    expect(lines.map(({ msg }) => msg)).toEqual(['fine', 'bad', 'TypeError: x is not a function']);
    expect(problems.map(({ msg }) => msg)).toEqual(['bad', 'TypeError: x is not a function']);
  });

  test('never take more than twice their limit', () => {
    const path = join(dir, 'a.log');
    const options = { path, name: 'a', onProblem: () => {}, bytesMax: 200 };
    const log = openLogFile(options);
    for (let i = 0; i < 50; i += 1) log.write(`{"level":30,"msg":"${i}"}`);
    log.close();
    expect(readFileSync(path).length).toBeLessThanOrEqual(210);
    expect(readFileSync(`${path}.1`).length).toBeLessThanOrEqual(210);
    openLogFile(options).close();
    expect(readFileSync(path, 'utf8')).toBe('');
    expect(readFileSync(`${path}.1`, 'utf8')).toContain('"49"');
  });
});

describe('running.json', () => {
  const running: Running = {
    pid: process.pid,
    url: 'http://127.0.0.1:1',
    nats_url: 'nats://127.0.0.1:2',
    version: '1',
    started_at: '2026-01-14T16:21:00Z',
  };

  test('tells of a process that is there', () => {
    const path = join(dir, 'running.json');
    writeRunning(path, running);
    expect(readRunning(path)).toEqual(running);
    removeRunning(path);
    expect(readRunning(path)).toBeUndefined();
  });

  test('is nothing where its process is gone, or it is torn', () => {
    const path = join(dir, 'running.json');
    // Above the largest pid of the system.
    writeRunning(path, { ...running, pid: 2 ** 30 });
    expect(readRunning(path)).toBeUndefined();
    writeFileSync(path, '{"pid":');
    expect(readRunning(path)).toBeUndefined();
  });
});
