import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Broker, type ConnectOptions, connectBroker } from '#libs/broker';
import { testLogger, waitFor } from './broker.ts';

/** One server of a cluster. */
export type ClusterNode = {
  readonly name: string;
  readonly url: string;
  /** kill -9; the store stays. */
  kill(): Promise<void>;
  /** Clean stop; the store stays. */
  stop(): Promise<void>;
  /** Starts it again on its store and at its address. */
  start(): Promise<void>;
  /** From now on it neither hears nor says anything; what it was doing stays half done. */
  freeze(): Promise<void>;
  thaw(): Promise<void>;
};

/** Several servers that hold the same streams. */
export type TestCluster = AsyncDisposable & {
  /** All of them, separated by commas. */
  readonly url: string;
  readonly nodes: readonly ClusterNode[];
  /** A new connection; it is closed with the cluster unless the test closes it before. */
  connect(options?: Partial<ConnectOptions>): Promise<Broker>;
};

export type TestClusterOptions = {
  /** Path of nats-server. */
  binary: string;
  /** Default 3. */
  size?: number;
};

type Address = { name: string; client: number; route: number };

const READY_MS = 10_000;
const STARTS_MAX = 3;

/** Starts nats-server processes on loopback that form a cluster; without streams. */
export async function startTestCluster(options: TestClusterOptions): Promise<TestCluster> {
  for (let attempt = 1; ; attempt += 1) {
    const folder = await mkdtemp(join(tmpdir(), 'ironclaw-cluster-'));
    const guard = startGuard(folder);
    const nodes: ClusterNode[] = [];
    const brokers: Broker[] = [];
    const dispose = async (): Promise<void> => {
      await Promise.all(brokers.map((broker) => broker.close()));
      await Promise.all(nodes.map((node) => node.kill()));
      guard.stop();
      await rm(folder, { recursive: true, force: true });
    };
    try {
      const addresses = await freeAddresses(options.size ?? 3);
      for (const own of addresses) nodes.push(nodeAt(own, addresses, folder, options.binary));
      await Promise.all(nodes.map((node) => node.start()));
      const url = nodes.map((node) => node.url).join(',');
      const connect = async (overrides: Partial<ConnectOptions> = {}): Promise<Broker> => {
        const logger = testLogger('cluster');
        // A server that has just come back answers late on a busy machine.
        const patient = { url, name: 'test', logger, connectTimeoutMs: 60_000 };
        const broker = await connectBroker({ ...patient, ...overrides });
        brokers.push(broker);
        return broker;
      };
      // Answers only when the servers have found each other and elected a leader.
      await (await connect()).close();
      return { url, nodes, connect, [Symbol.asyncDispose]: dispose };
    } catch (error) {
      await dispose();
      // Somebody else may have taken a port between our looking and the server's listening.
      if (attempt === STARTS_MAX) throw error;
    }
  }
}

function nodeAt(
  own: Address,
  all: readonly Address[],
  folder: string,
  binary: string,
): ClusterNode {
  const home = join(folder, own.name);
  const pidFile = join(home, 'pid');
  const config = join(home, 'nats.json');
  let child: ChildProcess | undefined;
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, 'exit');
    child.kill(signal);
    await gone;
    await rm(pidFile, { force: true });
  };
  return {
    name: own.name,
    url: `nats://127.0.0.1:${own.client}`,
    kill: () => end('SIGKILL'),
    stop: () => end('SIGTERM'),
    async start() {
      await mkdir(home, { recursive: true });
      await writeFile(config, JSON.stringify(configOf(own, all, home), null, 2));
      const server = spawn(binary, ['-c', config], { stdio: 'ignore', detached: true });
      child = server;
      await once(server, 'spawn');
      await waitFor(() => isReady(server, home, own.name), { timeoutMs: READY_MS });
    },
    freeze: async () => void child?.kill('SIGSTOP'),
    thaw: async () => void child?.kill('SIGCONT'),
  };
}

function configOf(own: Address, all: readonly Address[], home: string): object {
  return {
    server_name: own.name,
    listen: `127.0.0.1:${own.client}`,
    max_payload: 8 * 1024 * 1024,
    pid_file: join(home, 'pid'),
    ports_file_dir: home,
    jetstream: { store_dir: join(home, 'store') },
    cluster: {
      name: 'test',
      listen: `127.0.0.1:${own.route}`,
      routes: all.map(({ route }) => `nats-route://127.0.0.1:${route}`),
    },
  };
}

/** True once it answers; throws when it has ended. */
function isReady(server: ChildProcess, home: string, name: string): boolean {
  if (server.exitCode !== null) throw new Error(`${name} ended with ${server.exitCode}`);
  return existsSync(join(home, `nats-server_${server.pid}.ports`));
}

/** Free ports, found all at once so that none is given twice. */
async function freeAddresses(count: number): Promise<Address[]> {
  const servers = await Promise.all(Array.from({ length: 2 * count }, listen));
  const ports = servers.map((server) => {
    const address = server.address();
    if (address === null || typeof address === 'string') throw new Error('no port');
    return address.port;
  });
  await Promise.all(servers.map((server) => new Promise((done) => server.close(done))));
  return Array.from({ length: count }, (_, i) => ({
    name: `n${i + 1}`,
    client: ports[2 * i] as number,
    route: ports[2 * i + 1] as number,
  }));
}

async function listen(): Promise<Server> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server;
}

/** Ends the servers when this process dies without a word; their pids are in their folders. */
function startGuard(folder: string): { stop(): void } {
  const script =
    'read -r word; [ "$word" = done ] || { kill -9 $(cat "$0"/*/pid); rm -rf "$0"; } 2>/dev/null';
  const guard = spawn('/bin/sh', ['-c', script, folder], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  });
  guard.unref();
  guard.stdin.on('error', () => undefined);
  return { stop: () => void guard.stdin.end('done\n') };
}
