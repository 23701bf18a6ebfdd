import { execFile } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';
import { ROLES } from '#libs/contracts';
import { expect, test } from 'vitest';
import type { Report } from './report.ts';

const run = promisify(execFile);
const MAIN = path.join(import.meta.dirname, 'main.ts');

/** Runs the bench as a user does. Nothing is asserted of speed: the machine is anybody's. */
async function bench(...args: string[]): Promise<string> {
  const { stdout } = await run(process.execPath, [MAIN, ...args]);
  return stdout;
}

async function reportOf(...args: string[]): Promise<Report> {
  return JSON.parse(await bench(...args, '--json')) as Report;
}

const positive = (value: unknown): boolean => typeof value === 'number' && value > 0;

test('bench ledger measures every figure', { timeout: 240_000 }, async () => {
  const report = await reportOf('ledger', '--quick', '--events', '4800', '--wait', '1');
  expect(report.rows.map(({ id }) => id)).toEqual([
    'append',
    'batch',
    'projector',
    'projector-tuned',
    'http',
    'http-endpoint',
  ]);
  for (const row of report.rows) {
    expect([row.raw, row.ours, row.ratio].every(positive), row.id).toBe(true);
    expect(row.met, row.id).toBe(row.goal === null ? null : row.ratio >= row.goal);
  }
  const roles = [...ROLES, 'nats-server'];
  expect(new Set(report.memory.map(({ role }) => role))).toEqual(new Set(roles));
  expect(report.memory.every(({ rss_mib }) => positive(rss_mib))).toBe(true);
  const ledger = report.memory.find(({ role }) => role === 'ledger');
  expect(ledger).toMatchObject({ handled: 4800, events: 4800 });
});

test('bench orders measures every figure', { timeout: 240_000 }, async () => {
  const report = await reportOf('orders', '--quick');
  expect(report.rows.map(({ id }) => id)).toEqual(['orders-off', 'orders-on', 'runs']);
  for (const row of report.rows) expect([row.raw, row.ours].every(positive), row.id).toBe(true);
});

test('bench projects measures every figure', { timeout: 240_000 }, async () => {
  const report = await reportOf('projects', '--quick');
  expect(report.rows.map(({ id }) => id)).toEqual([
    'validate',
    'validate-linear',
    'import',
    'commands-one',
    'commands-many',
    'commands-history',
  ]);
  for (const row of report.rows) expect([row.raw, row.ours].every(positive), row.id).toBe(true);
});

test('bench ingest measures every figure, each key once', { timeout: 240_000 }, async () => {
  const report = await reportOf('ingest', '--quick', '--keys', '200');
  expect(report.rows.map(({ id }) => id)).toEqual(['ingest', 'latest', 'twice']);
  for (const row of report.rows) expect([row.raw, row.ours].every(positive), row.id).toBe(true);
});

test('the table names figures, goals and whether they are met', { timeout: 60_000 }, async () => {
  const text = await bench('ledger', '--quick', '--parts', 'batch');
  expect(text).toMatch(/figure +raw +ours +unit +ratio +pairs +goal/);
  expect(text).toMatch(/atomic batch of 1000 .* events\/s .* ≥ 0\.8 +(not )?met/);
});

test('help and wrong usage', { timeout: 30_000 }, async () => {
  expect(await bench('--help')).toContain('npm run bench -- ledger');
  await expect(bench('ledger', '--events', '0')).rejects.toMatchObject({ code: 2 });
});
