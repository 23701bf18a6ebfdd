import { execFile } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { chmod, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { type Broker, type BrokerAuth, type ConnectOptions, connectBroker } from '#libs/broker';
import { type ClusterNode, testLogger, waitFor } from '#libs/testing';
import { GenericContainer, type StartedTestContainer, Wait } from 'testcontainers';
import { assembleNatsContext } from '../../deploy/containers/nats-context.mjs';
import { applyThreefold, type Target } from '../cluster/target.ts';

const run = promisify(execFile);

// There is no image of the reaper to be had: what a killed run leaves is swept at the next start.
process.env.TESTCONTAINERS_RYUK_DISABLED = 'true';

const LABEL = 'ironclaw-test';
const IMAGE = `${LABEL}-nats:latest`;
const USERS = ['sys', 'admin', 'control', 'worker', 'ingest', 'viewer'];
const NAMES = ['nats-1', 'nats-2', 'nats-3'];
const READY_MS = 20_000;

/** Docker's command line; answers what it printed. */
async function docker(...args: string[]): Promise<string> {
  const { stdout } = await run('docker', args, { maxBuffer: 16 * 1024 * 1024 });
  return stdout.trim();
}

/** Why there can be no container here; undefined where there can. */
export async function whyNoContainers(): Promise<string | undefined> {
  if (process.env.IRONCLAW_TEST_CONTAINERS !== '1') {
    return 'they take minutes and want docker: IRONCLAW_TEST_CONTAINERS=1 runs them';
  }
  // Asked for, so that a docker that does not answer is a failure and no reason to skip.
  await docker('info');
  return undefined;
}

/** A container with an address of its own choice in a network, which it keeps when it starts again. */
class NodeContainer extends GenericContainer {
  at(network: string, address: string, name: string): this {
    this.withNetworkMode(network).withHostname(name);
    this.createOpts.NetworkingConfig = {
      EndpointsConfig: {
        [network]: { IPAMConfig: { IPv4Address: address }, Aliases: [name] },
      },
    };
    return this;
  }
}

/**
 * Three containers with the configuration of deploy/nats: TLS, accounts, every write synced. The
 * tests are `control`, and change streams as `admin`.
 */
export async function startContainers(): Promise<Target> {
  await sweep();
  const folder = await mkdtemp(join(tmpdir(), 'ironclaw-containers-'));
  const brokers: Broker[] = [];
  const network = `${LABEL}-${process.pid}-${randomInt(1_000_000)}`;
  const dispose = async (): Promise<void> => {
    await Promise.all(brokers.map((broker) => broker.close()));
    await sweep();
    await rm(folder, { recursive: true, force: true });
  };
  try {
    const addressOf = await createNetwork(network);
    const env = await secretsIn(
      folder,
      NAMES.map((_, i) => addressOf(i)),
    );
    await assembleNatsContext(join(folder, 'context'));
    await GenericContainer.fromDockerfile(join(folder, 'context')).build(IMAGE, {
      deleteOnExit: false,
    });
    const started = await Promise.all(
      NAMES.map((name, i) => startNode(network, name, addressOf(i), env, folder)),
    );
    const nodes = started.map((container, i) =>
      nodeOf(container, NAMES[i] as string, addressOf(i)),
    );
    const url = nodes.map((node) => node.url).join(',');
    const connect = async (given: Partial<ConnectOptions> = {}): Promise<Broker> => {
      const auth = authOf('control', folder);
      const options = { url, name: 'test', logger: testLogger('cluster'), auth, ...given };
      const broker = await connectBroker(options);
      brokers.push(broker);
      return broker;
    };
    const target: Target = {
      cluster: { url, nodes, connect, [Symbol.asyncDispose]: dispose },
      cutOff: async ({ name }) => void (await docker('network', 'disconnect', network, idOf(name))),
      heal: async ({ name }) => {
        const address = addressOf(NAMES.indexOf(name));
        const place = ['--ip', address, '--alias', name];
        await docker('network', 'connect', ...place, network, idOf(name));
      },
      admin: { auth: authOf('admin', folder) },
    };
    const idOf = (name: string): string =>
      (started[NAMES.indexOf(name)] as StartedTestContainer).getId();
    await applyThreefold(target);
    return target;
  } catch (error) {
    await dispose();
    throw error;
  }
}

function startNode(
  network: string,
  name: string,
  address: string,
  env: Record<string, string>,
  folder: string,
): Promise<StartedTestContainer> {
  return new NodeContainer(IMAGE)
    .at(network, address, name)
    .withLabels({ [LABEL]: 'true' })
    .withEnvironment({ ...env, IRONCLAW_NODE: name })
    .withBindMounts([{ source: join(folder, 'tls'), target: '/tls', mode: 'ro' }])
    .withWaitStrategy(Wait.forLogMessage(/Server is ready/))
    .withStartupTimeout(READY_MS)
    .start();
}

function nodeOf(container: StartedTestContainer, name: string, address: string): ClusterNode {
  const id = container.getId();
  const url = `tls://${address}:4222`;
  return {
    name,
    url,
    kill: async () => void (await docker('kill', id)),
    stop: async () => void (await docker('stop', '--time', '15', id)),
    async start() {
      const since = new Date().toISOString();
      await docker('start', id);
      const ready = async (): Promise<boolean> => {
        const { stdout, stderr } = await run('docker', ['logs', '--since', since, id]);
        return `${stdout}${stderr}`.includes('Server is ready');
      };
      await waitFor(ready, { timeoutMs: READY_MS, intervalMs: 100 });
    },
    freeze: async () => void (await docker('pause', id)),
    thaw: async () => void (await docker('unpause', id)),
  };
}

/** A network whose addresses we choose, in a private range that nobody here uses. */
async function createNetwork(name: string): Promise<(index: number) => string> {
  for (let attempt = 1; ; attempt += 1) {
    const prefix = `10.${randomInt(200, 250)}.${randomInt(1, 250)}`;
    try {
      const subnet = ['--subnet', `${prefix}.0/24`, '--gateway', `${prefix}.1`];
      await docker('network', 'create', '--label', `${LABEL}=true`, ...subnet, name);
      return (index) => `${prefix}.${index + 11}`;
    } catch (error) {
      if (attempt === 5) throw error;
      await sleep(100);
    }
  }
}

/** Passwords, and a certificate for all nodes and for proxies on this machine. */
async function secretsIn(
  folder: string,
  addresses: readonly string[],
): Promise<Record<string, string>> {
  const tls = join(folder, 'tls');
  await mkdir(tls);
  const names = [...NAMES, 'localhost'].map((name) => `DNS:${name}`);
  const ips = [...addresses, '127.0.0.1'].map((address) => `IP:${address}`);
  const subject = [
    '-subj',
    '/CN=nats',
    '-addext',
    `subjectAltName=${[...names, ...ips].join(',')}`,
  ];
  const files = ['-keyout', join(tls, 'key.pem'), '-out', join(tls, 'cert.pem')];
  const kind = ['-x509', '-nodes', '-newkey', 'rsa:2048', '-days', '2'];
  await run('openssl', ['req', ...kind, ...subject, ...files]);
  // The server in the container is another user; the folder above is ours alone.
  await chmod(join(tls, 'key.pem'), 0o644);
  const route = (name: string): string => `nats-route://routes:secret-r@${name}:6222`;
  return {
    IRONCLAW_ROUTE_PASSWORD: 'secret-r',
    ...Object.fromEntries(NAMES.map((name, i) => [`IRONCLAW_ROUTE_${i + 1}`, route(name)])),
    IRONCLAW_TLS_CERT: '/tls/cert.pem',
    IRONCLAW_TLS_KEY: '/tls/key.pem',
    IRONCLAW_TLS_CA: '/tls/cert.pem',
    ...Object.fromEntries(
      USERS.map((user) => [`IRONCLAW_${user.toUpperCase()}_PASSWORD`, `secret-${user}`]),
    ),
  };
}

function authOf(user: string, folder: string): BrokerAuth {
  const caFile = join(folder, 'tls', 'cert.pem');
  return { user, pass: `secret-${user}`, inboxPrefix: `_INBOX_${user}`, caFile };
}

/** Removes what this run, or one that was killed, has left. */
async function sweep(): Promise<void> {
  const filter = ['--quiet', '--filter', `label=${LABEL}`];
  const containers = await docker('ps', '--all', ...filter);
  for (const id of containers.split('\n').filter(Boolean)) {
    await docker('rm', '--force', '--volumes', id);
  }
  const networks = await docker('network', 'ls', ...filter);
  for (const id of networks.split('\n').filter(Boolean)) await docker('network', 'rm', id);
}
