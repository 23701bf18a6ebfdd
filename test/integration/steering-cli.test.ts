import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { run as ironclaw } from '../../apps/cli/program.ts';
import { type Commanding, playbook, startCommanding, step } from './commanding.ts';

// Issue B, 8 and 9: what a person types.

let it: Commanding;
let dir: string;
beforeAll(async () => {
  dir = mkdtempSync(path.join(tmpdir(), 'ironclaw-cli-'));
  it = await startCommanding({ playbooks: [playbook('one', [step('only', { ask: true })])] });
});
afterAll(async () => {
  rmSync(dir, { recursive: true, force: true });
  await it?.[Symbol.asyncDispose]();
});

async function type(...argv: string[]): Promise<{ code: number; out: string; err: string }> {
  const lines: { out: string[]; err: string[] } = { out: [], err: [] };
  const code = await ironclaw(argv, {
    out: (text) => void lines.out.push(text),
    err: (text) => void lines.err.push(text),
    env: { IRONCLAW_URL: it.system.url('gateway'), IRONCLAW_STATE: dir, USER: 'ana' },
    colours: { out: false, err: false },
  });
  return { code, out: lines.out.join('\n'), err: lines.err.join('\n') };
}

test('runs are paused, resumed, judged and cancelled', async () => {
  const run = await it.run({ playbook: 'one' });
  expect(await type('runs', 'pause', run)).toMatchObject({ code: 0, out: `${run} is paused` });
  expect((await it.runView(run)).paused).toBe(true);
  expect((await type('runs', 'resume', run)).out).toBe(`${run} goes on`);
  expect((await type('runs', 'pause', '--class', 'gpu')).out).toBe('class gpu is paused');
  expect((await type('runs', 'resume', '--class', 'gpu')).code).toBe(0);
  expect((await type('runs', 'pause')).code).toBe(2);
  const judged = await type('runs', 'feedback', run, 'corrected', '--correction', 'It is 42.');
  expect(judged).toMatchObject({ code: 0, out: 'recorded: corrected, with 9 B' });
  expect((await type('runs', 'feedback', run, 'meh')).code).toBe(2);
  expect(await type('runs', 'cancel', run)).toMatchObject({ code: 0 });
  expect(await type('runs', 'cancel', 'nobody')).toMatchObject({ code: 1 });
  const other = await it.run({ playbook: 'one' });
  const { order_id } = await it.order(other, 'only');
  expect((await type('orders', 'cancel', order_id as string)).out).toBe(`${order_id} is cancelled`);
});

test('escalations are listed, seen and decided', async () => {
  const run = await it.run({ playbook: 'one' });
  await it.block(run, 'only', 'which one?');
  const { escalation_id } = await it.question(run);
  const id = escalation_id as string;
  const listed = await type('escalations', '--run', run, '--open');
  expect(listed.out).toContain(id);
  expect((await type('escalations', 'ack', id)).out).toBe(`${id} seen by ana`);
  expect((await type('escalations', 'deny', id)).code).toBe(2);
  expect((await type('escalations', 'approve', id, '--by', 'bo')).out).toBe(`${id} approved by bo`);
  expect((await type('escalations', 'deny', id, '--note', 'no')).code).toBe(1);
  await it.work(run, 'only', 'that one', 2);
  expect(await it.end(run)).toMatchObject({ status: 'COMPLETE' });
});

test('settings are shown with where they come from, and files are checked', async () => {
  const file = path.join(dir, 'config.json');
  writeFileSync(file, JSON.stringify({ max_orders: 7 }));
  const run = await it.run({ playbook: 'one', settings: { replans: 3 } });
  const shown = await type('config', 'show', '--run', run, '--given', '--json');
  const { settings } = JSON.parse(shown.out) as { settings: Record<string, unknown>[] };
  expect(settings.map(({ key, value, source }) => [key, value, source])).toEqual([
    ['state', dir, 'environment'],
    ['max_orders', 7, file],
    ['replans', 3, 'run'],
  ]);
  expect((await type('config')).out).toMatch(/max_orders +7 /);
  expect(await type('config', 'check', file)).toMatchObject({ code: 0 });
  writeFileSync(file, JSON.stringify({ max_orders: 0 }));
  const refused = await type('config', 'check', file);
  expect(refused.code).toBe(2);
  expect(refused.err).toContain(`${file}: max_orders`);
  expect((await type('config', 'show')).code).toBe(2);
  expect((await type('config', 'check', path.join(dir, 'none.json'))).code).toBe(2);
});
