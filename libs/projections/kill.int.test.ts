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
import { openProjection } from './projection.ts';
import { scripted } from './testdata/scripted.ts';
import { accountsView, logView, toys } from './testdata/toy.ts';

const EVENTS = 60_000;
const KILLS = 30;
const program = fileURLToPath(new URL('./testdata/projecting.ts', import.meta.url));

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ironclaw-views-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

/** One life of the projecting process, killed (-9) `killAfterMs` after it began to follow. */
async function live(killAfterMs: number, ...more: string[]): Promise<string | number | null> {
  const args = [program, join(folder, 'killed'), String(EVENTS), ...more];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const exited = once(child, 'exit') as Promise<[number | null, string | null]>;
  await Promise.race([once(child.stdout, 'data'), exited]);
  await sleep(killAfterMs);
  child.kill('SIGKILL');
  const [code, signal] = await exited;
  return signal ?? code;
}

async function finish(path: string) {
  const stream = scripted(toys(1, EVENTS), () => 5_000);
  const views = [accountsView(), logView];
  const logger = testLogger();
  const projection = await openProjection({ folder: path, name: 'toy', views, logger, ...stream });
  try {
    const before = projection.at();
    await projection.waitFor(EVENTS, { timeoutMs: 30_000 });
    return { before, digest: await projection.digest() };
  } finally {
    await projection.close();
  }
}

test('killed (-9) at many random points, every event counts exactly once', async () => {
  for (let life = 0; life < KILLS; life += 1) {
    const rebuild = life % 3 === 2 ? ['rebuild'] : [];
    expect(await live(Math.random() * 60, ...rebuild)).toBe('SIGKILL');
  }
  const last = await finish(join(folder, 'killed'));
  const clean = await finish(join(folder, 'clean'));
  // The lives before did a part of the work, and left no half-built file.
  expect(last.before).toBeGreaterThan(0);
  expect(last.digest).toEqual(clean.digest);
  expect(readdirSync(join(folder, 'killed')).filter((f) => f.endsWith('.db'))).toHaveLength(1);
}, 60_000);
