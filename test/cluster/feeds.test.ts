import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { waitFor } from '#libs/testing';
import type { Host } from '../../apps/cli/host.ts';
import { milestone, SECRET, signatureOf } from '../conformance/feeds-kit.ts';
import { serve } from '../conformance/host.ts';
import type { Data } from '../conformance/wire.ts';
import { startProcesses } from './processes.ts';
import { leaderOf, type Target } from './target.ts';

// Signed deliveries on three servers, of which one dies.

let target: Target;
let host: Host;
let stateDir: string;

beforeAll(async () => {
  stateDir = await mkdtemp(path.join(tmpdir(), 'ironclaw-feeds-'));
  target = await startProcesses();
  host = await serve(['intake'], {
    PATH: process.env.PATH ?? '',
    IRONCLAW_PORT: '0',
    IRONCLAW_STATE: stateDir,
    NATS_URL: target.cluster.url,
    MILESTONE_SIGNING_SECRET: SECRET,
  });
}, 60_000);

afterAll(async () => {
  await host?.close();
  await target?.cluster[Symbol.asyncDispose]();
  await rm(stateDir, { recursive: true, force: true, maxRetries: 3 });
});

async function post(envelope: Data): Promise<string> {
  const answer = await fetch(`${host.http?.url}/internal/milestones/ingest`, {
    method: 'POST',
    headers: {
      'x-openclaw-signature': signatureOf(envelope),
      'x-openclaw-timestamp': new Date().toISOString(),
    },
    body: JSON.stringify(envelope),
  });
  return `${answer.status} ${((await answer.json()) as Data).status}`;
}

test('of 30 at once one is accepted, and the key is known after the leader died', async () => {
  const one = milestone();
  const words = await Promise.all(Array.from({ length: 30 }, () => post(one)));
  const count = (word: string): number => words.filter((own) => own === word).length;
  expect([count('200 accepted'), count('200 duplicate')], words.join()).toEqual([1, 29]);
  const broker = await target.cluster.connect();
  const leader = await leaderOf(target, broker, 'FEEDS');
  await leader.kill();
  // Refused with 503 until the next leader is there.
  const after = await waitFor(
    async () => {
      const word = await post(one);
      expect(word).not.toBe('200 accepted');
      return word === '200 duplicate';
    },
    { timeoutMs: 40_000, intervalMs: 200 },
  );
  expect(after).toBe(true);
  const next = milestone();
  const word = await waitFor(
    async () => {
      const own = await post(next);
      return own.startsWith('503') ? undefined : own;
    },
    { timeoutMs: 20_000, intervalMs: 200 },
  );
  expect(['200 accepted', '200 duplicate']).toContain(word);
}, 90_000);
