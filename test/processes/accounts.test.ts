import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { applyStreams, connectBroker } from '#libs/broker';
import type { Role } from '#libs/contracts';
import { testLogger, waitFor } from '#libs/testing';
import { STREAMS } from '#streams';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Host } from '../../apps/cli/host.ts';
import { START_ORDER } from '../../apps/cli/roles.ts';
import { findNatsServer } from '../../deploy/bootstrap/nats-server.mjs';
import { serve } from '../conformance/host.ts';
import { callHttp, ok } from '../conformance/wire.ts';

// The whole system under deploy/nats/accounts.conf: the worker as `worker`, all else as `control`.

const ACCOUNTS = path.join(import.meta.dirname, '../../deploy/nats/accounts.conf');
const USERS = ['sys', 'admin', 'control', 'worker', 'ingest', 'viewer'];

const undo: (() => Promise<unknown>)[] = [];
let folder: string;
let url: string;
const hosts = new Map<string, Host>();

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'ironclaw-accounts-'));
  undo.push(() => rm(folder, { recursive: true, force: true, maxRetries: 3 }));
  url = await startServer();
  const admin = await connectBroker({
    url,
    name: 'admin',
    logger: testLogger(),
    auth: { user: 'admin', pass: 'secret-admin', inboxPrefix: '_INBOX_admin' },
  });
  await applyStreams(admin.jsm, STREAMS);
  await admin.close();
  const control = START_ORDER.filter((role) => role !== 'worker');
  for (const [user, roles] of [
    ['control', control],
    ['worker', ['worker' as const]],
  ] as const) {
    hosts.set(user, await startAs(user, roles));
  }
}, 60_000);

afterAll(async () => {
  for (const step of undo.toReversed()) await step();
});

/** A server with the accounts, and a log of its own. */
async function startServer(): Promise<string> {
  const { path: binary } = await findNatsServer({ fetch: true });
  await copyFile(ACCOUNTS, path.join(folder, 'accounts.conf'));
  const config = `listen: "127.0.0.1:-1"
max_payload: 8388608
ports_file_dir: ${JSON.stringify(folder)}
log_file: ${JSON.stringify(path.join(folder, 'nats.log'))}
jetstream { store_dir: ${JSON.stringify(path.join(folder, 'store'))} }
include accounts.conf
`;
  const file = path.join(folder, 'single.conf');
  await writeFile(file, config);
  const secrets = USERS.map((user) => [
    `IRONCLAW_${user.toUpperCase()}_PASSWORD`,
    `secret-${user}`,
  ]);
  const env = { ...process.env, ...Object.fromEntries(secrets) };
  const server = spawn(binary, ['-c', file], { env, stdio: 'ignore' });
  undo.push(async () => {
    if (server.exitCode !== null) return;
    server.kill();
    await once(server, 'exit');
  });
  const ports = path.join(folder, `nats-server_${server.pid}.ports`);
  const { nats } = await waitFor(
    async () => JSON.parse(await readFile(ports, 'utf8')) as { nats: string[] },
  );
  return nats[0] as string;
}

async function startAs(user: string, roles: readonly Role[]): Promise<Host> {
  const host = await serve(roles, {
    PATH: process.env.PATH ?? '',
    IRONCLAW_PORT: '0',
    IRONCLAW_STATE: path.join(folder, 'state'),
    MILESTONE_SIGNING_SECRET: 'a secret of the accounts',
    IRONCLAW_PATROL_MS: '1000',
    IRONCLAW_AUDIT_MS: '1000',
    IRONCLAW_LEARN_MS: '1000',
    NATS_URL: url,
    NATS_USER: user,
    NATS_PASSWORD: `secret-${user}`,
    NATS_INBOX_PREFIX: `_INBOX_${user}`,
  });
  undo.push(() => host.close());
  return host;
}

test('a chat runs to its end, and nobody asks for more than the accounts give', async () => {
  const gateway = hosts.get('control')?.http?.url ?? '';
  const worker = hosts.get('worker')?.http?.url ?? '';
  const message = 'Summarize: the relay failed at 06:40. Ana Ruiz will replace it by Friday.';
  const answer = ok(await callHttp(gateway, 'gateway.chat', { message, wait_ms: 15_000 }, {}));
  expect(answer).toMatchObject({ status: 'COMPLETE' });
  // The gateway reaches the worker over NATS; its answer goes to an inbox of `control`.
  expect(ok(await callHttp(`${gateway}/worker`, 'worker.health', {}, {}))).toMatchObject({
    status: 'ok',
  });
  expect(ok(await callHttp(worker, 'worker.health', {}, {}))).toMatchObject({ status: 'ok' });
  // Some rounds of the timers.
  await new Promise((resolve) => setTimeout(resolve, 3_000));
  const log = await readFile(path.join(folder, 'nats.log'), 'utf8');
  expect(log.split('\n').filter((line) => /violation/i.test(line))).toEqual([]);
}, 60_000);
