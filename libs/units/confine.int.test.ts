import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { createPlace } from './testdata/place.ts';

let place: Awaited<ReturnType<typeof createPlace>>;
let connections = 0;
const listener = createServer((socket) => {
  connections += 1;
  socket.destroy();
});

beforeAll(async () => {
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
  const { port } = listener.address() as { port: number };
  place = await createPlace({ port: String(port) });
  const source = new URL('./testdata/hostile.mjs', import.meta.url);
  copyFileSync(source, join(place.host.codePath, 'hostile.mjs'));
  process.env.IRONCLAW_TEST_SECRET = 'must not be seen';
});
beforeEach(() => place.put('mode', 'escape'));
afterAll(() => {
  delete process.env.IRONCLAW_TEST_SECRET;
  place[Symbol.dispose]();
  listener.close();
});

const hostile = { entry: 'hostile.mjs' };
const alive = () =>
  spawnSync('pgrep', ['-f', join(place.host.codePath, 'hostile.mjs')], { encoding: 'utf8' }).stdout;

test('check 29: hostile code in a unit gets nowhere; a listener sees nothing', async () => {
  const { end } = await place.play([], { host: hostile });
  const notes = end.kind === 'done' ? end.notes : [];
  expect(notes.length).toBeGreaterThan(45);
  expect(notes.filter((note) => !note.endsWith(': refused'))).toEqual([]);
  await sleep(50);
  expect(connections).toBe(0);
  expect(existsSync('/tmp/ironclaw-hostile')).toBe(false);
});

test('where the host gives no network namespace, the modules are refused all the same', async () => {
  const isolation = { network: false, diesWithWorker: false, command: [], notice: '' };
  const { end } = await place.play([], { host: { ...hostile, isolation } });
  const notes = end.kind === 'done' ? end.notes : ['none'];
  expect(notes.filter((note) => !note.endsWith(': refused'))).toEqual([]);
  expect(connections).toBe(0);
});

test.each([
  ['spin', 'taken away'],
  ['wait', 'taken away'],
])('a unit that does not end (%s) is killed at once', async (mode, reason) => {
  place.put('mode', mode);
  const taken = new AbortController();
  const running = place.play([], { host: hostile, signal: taken.signal });
  await sleep(200);
  expect(alive()).not.toBe('');
  const began = performance.now();
  taken.abort(new Error(reason));
  await expect(running).rejects.toThrow(reason);
  expect(performance.now() - began).toBeLessThan(500);
  expect(alive()).toBe('');
});

test.each([
  ['crash', /ended \(code 3\)/],
  ['babble', /does not speak the protocol/],
  ['flood', /does not speak the protocol/],
  ['memory', /ended \(SIG|ended \(code/],
])('a unit that breaks down (%s) is an error, and gone', async (mode, message) => {
  place.put('mode', mode);
  await expect(place.play([], { host: hostile })).rejects.toThrow(message);
  expect(alive()).toBe('');
});
