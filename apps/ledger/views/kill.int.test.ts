import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { testLogger } from '#libs/testing';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { messyHistory, random } from './testdata/history.ts';
import { followEvents } from './testdata/source.ts';
import { openLedgerViews } from './views.ts';

const EVENTS = 12_000;
const KILLS = 8;
const program = fileURLToPath(new URL('./testdata/projecting.ts', import.meta.url));

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ironclaw-views-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

/** Runs the projecting process; `killAfterMs` after it began to follow, it is killed (-9). */
async function live(seed: number, pace: number, killAfterMs: number, ...more: string[]) {
  const args = [program, join(folder, 'killed'), EVENTS, seed, pace, ...more].map(String);
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const exited = once(child, 'exit') as Promise<[number | null, string | null]>;
  await Promise.race([once(child.stdout, 'data'), exited]);
  await sleep(killAfterMs);
  child.kill('SIGKILL');
  const [code, signal] = await exited;
  return signal ?? code;
}

async function digest(path: string, seed: number) {
  const events = [...messyHistory(EVENTS, seed)];
  const views = await openLedgerViews({
    folder: path,
    logger: testLogger(),
    ...followEvents(events, () => 4_000),
  });
  try {
    const before = views.at();
    await views.waitFor(events.at(-1)?.seq ?? 0, { timeoutMs: 60_000 });
    return { before, digest: await views.digest() };
  } finally {
    await views.close();
  }
}

test('killed (-9) at many random points, the rows equal those of one clean run', async () => {
  const seed = Math.floor(Math.random() * 1e9);
  const next = random(seed);
  for (let life = 0; life < KILLS; life += 1) {
    const rebuild = next() < 0.3 ? ['rebuild'] : [];
    const end = await live(seed, life, 1 + next() * 60, ...rebuild);
    expect(end, `seed ${seed}`).toBe('SIGKILL');
  }
  const last = await digest(join(folder, 'killed'), seed);
  const clean = await digest(join(folder, 'clean'), seed);
  // The lives before did a part of the work, and no half-built file is left.
  expect(last.before, `seed ${seed}`).toBeGreaterThan(0);
  expect(last.digest, `seed ${seed}`).toEqual(clean.digest);
  expect(readdirSync(join(folder, 'killed')).filter((f) => f.endsWith('.db'))).toHaveLength(1);
}, 60_000);
