import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import {
  applyStreams,
  type Broker,
  connectBroker,
  consumeDurable,
  getObject,
  putObject,
} from '#libs/broker';
import { testLogger, waitFor } from '#libs/testing';
import { STREAMS } from '#streams';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { findNatsServer } from '../bootstrap/nats-server.mjs';

const run = promisify(execFile);
const HERE = fileURLToPath(new URL('.', import.meta.url));
const USERS = ['sys', 'admin', 'control', 'worker', 'ingest', 'viewer'];

let folder: string;
let env: NodeJS.ProcessEnv;
let binary: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ironclaw-nats-'));
  binary = (await findNatsServer({ fetch: true })).path;
  env = {
    ...process.env,
    IRONCLAW_NODE: 'nats-1',
    IRONCLAW_STORE: join(folder, 'store'),
    IRONCLAW_ROUTE_PASSWORD: 'secret-r',
    IRONCLAW_TLS_CERT: join(folder, 'cert.pem'),
    IRONCLAW_TLS_KEY: join(folder, 'key.pem'),
    IRONCLAW_TLS_CA: join(folder, 'cert.pem'),
  };
  for (const n of [1, 2, 3])
    env[`IRONCLAW_ROUTE_${n}`] = `nats-route://routes:secret-r@nats-${n}:6222`;
  for (const user of USERS) env[`IRONCLAW_${user.toUpperCase()}_PASSWORD`] = `secret-${user}`;
});

afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

const openssl = await run('openssl', ['version']).then(
  () => true,
  () => false,
);

test.skipIf(!openssl)('nats-server accepts the configuration of a node', async () => {
  const subject = ['-subj', '/CN=nats-1', '-days', '1', '-nodes', '-newkey', 'rsa:2048'];
  const files = ['-keyout', join(folder, 'key.pem'), '-out', join(folder, 'cert.pem')];
  await run('openssl', ['req', '-x509', ...subject, ...files]);
  const { stderr } = await run(binary, ['-t', '-c', join(HERE, 'node.conf')], { env });
  expect(stderr).toContain('is valid');
});

test('no password is written in the files', async () => {
  const names = (await readdir(HERE)).filter((name) => name.endsWith('.conf'));
  const texts = await Promise.all(names.map((name) => readFile(join(HERE, name), 'utf8')));
  for (const [, value] of texts.join('\n').matchAll(/password: (\S+)/g)) {
    expect(value).toMatch(/^\$IRONCLAW_[A-Z]+_PASSWORD,?$/);
  }
});

describe('permissions', () => {
  let server: ChildProcess;
  let url: string;
  const open: Broker[] = [];

  beforeAll(async () => {
    const config = join(folder, 'single.conf');
    // An include is always relative to the file that has it.
    await copyFile(join(HERE, 'accounts.conf'), join(folder, 'accounts.conf'));
    await writeFile(
      config,
      `listen: "127.0.0.1:-1"
ports_file_dir: ${JSON.stringify(folder)}
jetstream { store_dir: $IRONCLAW_STORE }
include accounts.conf
`,
    );
    server = spawn(binary, ['-c', config], { env, stdio: 'ignore' });
    const ports = join(folder, `nats-server_${server.pid}.ports`);
    const { nats } = await waitFor(
      async () => JSON.parse(await readFile(ports, 'utf8')) as { nats: string[] },
    );
    url = nats[0] as string;
    await applyStreams((await as('admin')).jsm, STREAMS);
  });

  afterAll(async () => {
    await Promise.all(open.map((broker) => broker.close()));
    if (server.exitCode !== null) return;
    server.kill();
    await once(server, 'exit');
  });

  async function as(user: string): Promise<Broker> {
    const broker = await connectBroker({
      url,
      name: user,
      logger: testLogger(),
      auth: { user, pass: `secret-${user}`, inboxPrefix: `_INBOX_${user}` },
      requestTimeoutMs: 1_000,
    });
    open.push(broker);
    return broker;
  }

  const JOB = 'job.v1.demo.default';
  const FACT = 'led.v1._.demo.r1.o1';

  test('a worker takes jobs, writes facts and objects', async () => {
    const control = await as('control');
    const worker = await as('worker');
    const seen: string[] = [];
    const consuming = consumeDurable(worker, {
      stream: 'JOBS',
      durable: 'workers',
      ackWaitMs: 5_000,
      maxDeliver: 5,
      logger: testLogger(),
      async handle(message) {
        seen.push(message.string());
        const { sha256 } = await putObject(worker, Buffer.from('result'));
        expect(await getObject(worker, sha256)).not.toBeNull();
        await worker.js.publish(FACT, '{}');
      },
    });
    await control.js.publish(JOB, 'work');
    const done = async () => (await control.jsm.streams.info('JOBS')).state.messages === 0;
    await waitFor(done);
    await consuming.stop();
    expect(seen).toEqual(['work']);
    expect((await control.jsm.streams.info('LEDGER')).state.messages).toBe(1);
  });

  test.each([
    ['worker', 'tmr.v1.deadline.x'],
    ['worker', 'dead.v1.jobs'],
    ['worker', 'svc.v1.vault.open-theater'],
    ['worker', '_INBOX_control.x'],
    ['worker', 'intake.v1.events'],
    ['ingest', FACT],
    ['ingest', JOB],
    ['viewer', FACT],
    ['viewer', 'intake.v1.events'],
    ['admin', FACT],
  ])('%s cannot publish to %s', async (user, subject) => {
    const { js } = user === 'ingest' ? await bare(user) : await as(user);
    await expect(js.publish(subject, '{}')).rejects.toThrow(/permission/i);
  });

  test.each(['control', 'worker', 'viewer'])('%s cannot touch streams', async (user) => {
    const { jsm } = await as(user);
    await expect(jsm.streams.add({ name: 'X', subjects: ['x'] })).rejects.toThrow(/permission/i);
    await expect(jsm.streams.delete('LEDGER')).rejects.toThrow(/permission/i);
    await expect(jsm.streams.purge('LEDGER')).rejects.toThrow(/permission/i);
    await expect(jsm.streams.update('LEDGER', { description: 'x' })).rejects.toThrow(/permission/i);
  });

  test('ingest hands in and gets the ack', async () => {
    const { js } = await bare('ingest');
    expect((await js.publish('intake.v1.events', '{}')).stream).toBe('INTAKE');
  });

  test('nobody listens to the answers for another', async () => {
    const { nc } = await as('viewer');
    const subscription = nc.subscribe('_INBOX_control.>');
    await expect(subscription.closed.then((error) => error?.message)).resolves.toMatch(
      /permission/i,
    );
  });

  /** An outside client: it may not ask for the account, as connectBroker does. */
  async function bare(user: string) {
    const { connect } = await import('nats');
    const { jetstream } = await import('@nats-io/jetstream');
    const pass = `secret-${user}`;
    const nc = await connect({ servers: url, user, pass, inboxPrefix: `_INBOX_${user}` });
    open.push({ close: () => nc.close() } as Broker);
    return { js: jetstream(nc, { timeout: 1_000 }) };
  }
});
