import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { isAppError } from '#libs/contracts';
import { startTestBroker, testLogger, waitFor } from '#libs/testing';
import { expect, test } from 'vitest';
import { connectBroker } from './connect.ts';
import { processIdentity } from './process.ts';
import { startBroker } from './server.ts';

const logger = testLogger();
const PARENT = fileURLToPath(new URL('./testdata/parent.ts', import.meta.url));

test('a second start on the same directory is refused and names path and pid', async () => {
  await using broker = await startTestBroker();
  const second = startBroker({ dataDir: broker.dataDir, logger });
  const error = await second.catch((reason: unknown) => reason);
  expect(isAppError(error, 'ALREADY_RUNNING')).toBe(true);
  expect((error as Error).message).toContain(broker.dataDir);
  expect((error as Error).message).toContain(`pid ${process.pid}`);
  const connection = await broker.connect();
  expect(connection.isConnected()).toBe(true);
});

test('of five starts at the same time one wins', async () => {
  const dataDir = await mkdtemp(join(tmpdir(), 'ironclaw-broker-'));
  try {
    const starts = Array.from({ length: 5 }, () => startBroker({ dataDir, logger }));
    const results = await Promise.allSettled(starts);
    const won = results.filter((result) => result.status === 'fulfilled');
    const lost = results.filter((result) => result.status === 'rejected');
    expect(won).toHaveLength(1);
    expect(lost.every(({ reason }) => isAppError(reason, 'ALREADY_RUNNING'))).toBe(true);
    await won[0]?.value.stop();
  } finally {
    await rm(dataDir, { recursive: true, force: true });
  }
});

test('a clean restart keeps the messages and the port', async () => {
  await using broker = await startTestBroker();
  const { js, jsm, isConnected } = await broker.connect();
  await jsm.streams.add({ name: 'S', subjects: ['s.>'] });
  await js.publish('s.1', 'one');
  const { url, pid } = broker;
  await broker.stop();
  await waitFor(() => !isConnected());
  expect(await processIdentity(pid)).toBeNull();
  await broker.restart();
  expect(broker.url).toBe(url);
  await waitFor(() => isConnected());
  expect((await jsm.streams.getMessage('S', { seq: 1 }))?.string()).toBe('one');
});

test('after kill -9 of the server acked messages are there again', async () => {
  await using broker = await startTestBroker({ sync: 'always' });
  const { js, jsm, isConnected } = await broker.connect();
  await jsm.streams.add({ name: 'S', subjects: ['s.>'] });
  for (let i = 1; i <= 20; i++) await js.publish('s.1', String(i));
  await broker.kill();
  await waitFor(() => !isConnected());
  await broker.restart();
  await waitFor(() => isConnected());
  expect((await jsm.streams.info('S')).state.messages).toBe(20);
});

test('a broker for other machines needs a token, and then asks for it', async () => {
  const dataDir = await mkdtemp(join(tmpdir(), 'ironclaw-broker-'));
  try {
    const open = await startBroker({ dataDir, logger, host: '0.0.0.0' }).catch((e: unknown) => e);
    expect(isAppError(open, 'INVALID_REQUEST')).toBe(true);
    const { url, stop } = await startBroker({ dataDir, logger, token: 'secret' });
    const refused = await connectBroker({ url, name: 't', logger }).catch((e: unknown) => e);
    expect(isAppError(refused, 'DEPENDENCY_UNAVAILABLE')).toBe(true);
    const broker = await connectBroker({ url, name: 't', logger, auth: { token: 'secret' } });
    await broker.close();
    await stop();
    expect((await stat(join(dataDir, 'nats.json'))).mode & 0o777).toBe(0o600);
  } finally {
    await rm(dataDir, { recursive: true, force: true });
  }
});

test('stop is idempotent and leaves no process', async () => {
  await using broker = await startTestBroker();
  await Promise.all([broker.stop(), broker.stop()]);
  await broker.stop();
  expect(await processIdentity(broker.pid)).toBeNull();
});

test('an unusable port is DEPENDENCY_UNAVAILABLE and frees the directory', async () => {
  await using broker = await startTestBroker();
  const dataDir = await mkdtemp(join(tmpdir(), 'ironclaw-broker-'));
  try {
    const port = Number(new URL(broker.url).port);
    const failed = await startBroker({ dataDir, logger, port }).catch((error: unknown) => error);
    expect(isAppError(failed, 'DEPENDENCY_UNAVAILABLE')).toBe(true);
    const again = await startBroker({ dataDir, logger });
    await again.stop();
  } finally {
    await rm(dataDir, { recursive: true, force: true });
  }
});

test('kill -9 of the parent: the server ends by itself and the next start has its state', async () => {
  const dataDir = await mkdtemp(join(tmpdir(), 'ironclaw-broker-'));
  try {
    const first = await startParent(dataDir);
    first.child.kill('SIGKILL');
    await waitFor(async () => (await processIdentity(first.serverPid)) === null);
    const second = await startParent(dataDir);
    expect(second.messages).toBe(first.messages + 1);
    second.child.kill('SIGKILL');
    await waitFor(async () => (await processIdentity(second.serverPid)) === null);
  } finally {
    await rm(dataDir, { recursive: true, force: true });
  }
});

test('kill -9 of the parent and an immediate start: never two servers on one store', async () => {
  const dataDir = await mkdtemp(join(tmpdir(), 'ironclaw-broker-'));
  try {
    const first = await startParent(dataDir);
    // A stopped server cannot obey the guard: it is still there when the next one starts.
    process.kill(first.serverPid, 'SIGSTOP');
    first.child.kill('SIGKILL');
    await once(first.child, 'exit');
    setTimeout(() => process.kill(first.serverPid, 'SIGCONT'), 500);
    const broker = await startBroker({ dataDir, logger });
    expect(await processIdentity(first.serverPid)).toBeNull();
    await broker.stop();
  } finally {
    await rm(dataDir, { recursive: true, force: true });
  }
});

type Parent = { child: ChildProcess; serverPid: number; messages: number };

/** A process that starts a broker, publishes one message, prints what it has, and stays. */
async function startParent(dataDir: string): Promise<Parent> {
  const child = spawn(process.execPath, [PARENT, dataDir], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  if (child.stdout === null) throw new Error('no stdout');
  const [line] = (await once(createInterface({ input: child.stdout }), 'line')) as [string];
  return { child, ...(JSON.parse(line) as Omit<Parent, 'child'>) };
}
