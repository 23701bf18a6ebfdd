import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Host } from '../../apps/cli/host.ts';
import { START_ORDER } from '../../apps/cli/roles.ts';
import { serve } from '../conformance/host.ts';
import { callHttp, ok } from '../conformance/wire.ts';
import { startProcesses } from './processes.ts';
import { leaderOf, type Target } from './target.ts';

// Every role on three brokers.

let target: Target;
let host: Host;
let stateDir: string;

beforeAll(async () => {
  stateDir = await mkdtemp(path.join(tmpdir(), 'ironclaw-threefold-'));
  target = await startProcesses();
  host = await serve(START_ORDER, {
    PATH: process.env.PATH ?? '',
    IRONCLAW_PORT: '0',
    IRONCLAW_STATE: stateDir,
    NATS_URL: target.cluster.url,
    MILESTONE_SIGNING_SECRET: 'a secret of the cluster',
  });
}, 60_000);

afterAll(async () => {
  await host?.close();
  await target?.cluster[Symbol.asyncDispose]();
  await rm(stateDir, { recursive: true, force: true, maxRetries: 3 });
});

test('chats run to their end though the broker that leads the ledger dies', async () => {
  const broker = await target.cluster.connect();
  const leader = await leaderOf(target, broker, 'LEDGER');
  const chats = Promise.all(
    Array.from({ length: 5 }, async (_, i) => {
      const message = `Summarize note ${i}: the relay failed at 06:40. Ana Ruiz will replace it.`;
      const input = { message, request_id: `threefold-${i}`, wait_ms: 5_000 };
      // Asked again with its id while the ledger has no leader.
      for (;;) {
        const url = host.http?.url ?? '';
        const { body } = await callHttp(url, 'gateway.chat', input, {});
        if (body.ok && body.data?.status === 'COMPLETE') return body.data;
        await sleep(500);
      }
    }),
  );
  await sleep(150);
  await leader.kill();
  const runs = await chats;
  expect(new Set(runs.map(({ run_id }) => run_id)).size).toBe(5);
  ok(await callHttp(host.http?.url ?? '', 'gateway.health', {}, {}));
}, 90_000);
