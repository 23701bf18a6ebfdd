import { createServer } from 'node:net';
import { isAppError } from '#libs/contracts';
import { startTestBroker, testLogger, waitFor } from '#libs/testing';
import { expect, test } from 'vitest';
import { brokerAuthFromEnv, connectBroker, refuseOldServer } from './connect.ts';
import { callBroker } from './failures.ts';

const logger = testLogger();

test('a connection knows the server it has', async () => {
  await using server = await startTestBroker();
  const broker = await server.connect({ name: 'role' });
  expect(broker.serverVersion).toMatch(/^2\.\d+\.\d+/);
  expect(broker.apiLevel).toBeGreaterThanOrEqual(3);
  expect(broker.isConnected()).toBe(true);
  await Promise.all([broker.close(), broker.close()]);
  expect(broker.isConnected()).toBe(false);
  expect(broker.nc.isClosed()).toBe(true);
});

test('nobody there: DEPENDENCY_UNAVAILABLE within the time given', async () => {
  const startedAt = Date.now();
  const error = await connectBroker({
    url: `nats://127.0.0.1:${await freePort()}`,
    name: 'test',
    logger,
    connectTimeoutMs: 600,
  }).catch((reason: unknown) => reason);
  expect(isAppError(error, 'DEPENDENCY_UNAVAILABLE')).toBe(true);
  expect(Date.now() - startedAt).toBeLessThan(3_000);
});

test('a broker that comes up later is found', async () => {
  await using server = await startTestBroker();
  await server.stop();
  const connecting = server.connect({ connectTimeoutMs: 5_000 });
  await server.restart();
  expect((await connecting).isConnected()).toBe(true);
});

test('a level that the server does not have is BROKER_TOO_OLD', async () => {
  await using server = await startTestBroker();
  const error = await server.connect({ requireApiLevel: 999 }).catch((reason: unknown) => reason);
  expect(isAppError(error, 'BROKER_TOO_OLD')).toBe(true);
  expect((error as Error).message).toContain('999');
});

test.each([
  ['2.12.13', 3],
  ['2.14.3', 4],
  ['2.15.1', 2],
])('server %s with level %i is too old', (version, level) => {
  expect(() => refuseOldServer(version, level, 3)).toThrow(/too old/);
});

test.each([
  ['2.12.14', 3],
  ['2.14.4', 4],
  ['2.15.1', 5],
])('server %s with level %i will do', (version, level) => {
  expect(() => refuseOldServer(version, level, 3)).not.toThrow();
});

test('while the broker is away calls fail at once; after it is back they work', async () => {
  await using server = await startTestBroker();
  const broker = await server.connect();
  await server.kill();
  await waitFor(() => !broker.isConnected());
  const startedAt = Date.now();
  const error = await callBroker(broker, () => broker.jsm.getAccountInfo()).catch(
    (e: unknown) => e,
  );
  expect(isAppError(error, 'DEPENDENCY_UNAVAILABLE')).toBe(true);
  expect(Date.now() - startedAt).toBeLessThan(200);
  await server.restart();
  await waitFor(() => broker.isConnected());
  await callBroker(broker, () => broker.jsm.getAccountInfo());
});

test('closing works while the broker is away', async () => {
  await using server = await startTestBroker();
  const broker = await server.connect();
  await server.kill();
  await waitFor(() => !broker.isConnected());
  const startedAt = Date.now();
  await broker.close();
  expect(Date.now() - startedAt).toBeLessThan(7_000);
});

test('credentials come from the environment', () => {
  expect(brokerAuthFromEnv({})).toEqual({});
  expect(
    brokerAuthFromEnv({
      NATS_TOKEN: 't',
      NATS_USER: 'u',
      NATS_PASSWORD: 'p',
      NATS_CREDS: '/c',
      NATS_CA_FILE: '/ca',
      NATS_INBOX_PREFIX: '_I',
    }),
  ).toEqual({
    token: 't',
    user: 'u',
    pass: 'p',
    credsFile: '/c',
    caFile: '/ca',
    inboxPrefix: '_I',
  });
});

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const { port } = server.address() as { port: number };
  await new Promise((done) => server.close(done));
  return port;
}
