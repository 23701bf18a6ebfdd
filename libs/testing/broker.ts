import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  type Broker,
  type ConnectOptions,
  connectBroker,
  type RunningBroker,
  type StartBrokerOptions,
  startBroker,
} from '#libs/broker';
import { type Logger, pino } from 'pino';

export type TestBrokerOptions = {
  /** Default `2m`: fast. Use `always` where a test kills the machine's view of the disk. */
  sync?: NonNullable<StartBrokerOptions['sync']>;
  maxPayloadBytes?: number;
};

/** A nats-server of one test, on a random port, with a store of its own. */
export type TestBroker = {
  readonly url: string;
  readonly dataDir: string;
  readonly pid: number;
  /** A new connection; it is closed with the server unless the test closes it before. */
  connect(options?: Partial<ConnectOptions>): Promise<Broker>;
  /** kill -9; the store and the port stay. */
  kill(): Promise<void>;
  /** Clean stop; the store and the port stay. */
  stop(): Promise<void>;
  /** Starts it again (stopping it first if it runs) on the same port and store. */
  restart(): Promise<void>;
  /** Closes the connections, stops the server, removes the store. */
  [Symbol.asyncDispose](): Promise<void>;
};

/** Silent unless TEST_LOG_LEVEL is set. */
export function testLogger(name = 'test'): Logger {
  return pino({ name, level: process.env.TEST_LOG_LEVEL ?? 'silent' });
}

/** `await using broker = await startTestBroker()`. */
export async function startTestBroker(options: TestBrokerOptions = {}): Promise<TestBroker> {
  const dataDir = await mkdtemp(join(tmpdir(), 'ironclaw-broker-'));
  const logger = testLogger('broker');
  const connections: Broker[] = [];
  const start = (port: number) => startBroker({ sync: '2m', ...options, dataDir, logger, port });
  let server: RunningBroker;
  try {
    server = await start(0);
  } catch (error) {
    await rm(dataDir, { recursive: true, force: true });
    throw error;
  }
  return {
    get url() {
      return server.url;
    },
    get pid() {
      return server.pid;
    },
    dataDir,
    async connect(overrides = {}) {
      const broker = await connectBroker({ url: server.url, name: 'test', logger, ...overrides });
      connections.push(broker);
      return broker;
    },
    async kill() {
      process.kill(server.pid, 'SIGKILL');
      await server.exited;
      await server.stop();
    },
    stop: () => server.stop(),
    async restart() {
      await server.stop();
      server = await start(server.port);
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(connections.map((broker) => broker.close()));
      await server.stop();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}

/**
 * Calls `check` until it gives something other than false, null or undefined, and returns that.
 * Throws after `timeoutMs` (default 5 000), with the last error of `check` as the cause.
 */
export async function waitFor<T>(
  check: () => T | Promise<T>,
  { timeoutMs = 5_000, intervalMs = 20 }: { timeoutMs?: number; intervalMs?: number } = {},
): Promise<NonNullable<T>> {
  const deadline = Date.now() + timeoutMs;
  let cause: unknown;
  for (;;) {
    try {
      const value = await check();
      if (value !== false && value !== null && value !== undefined) return value;
      cause = undefined;
    } catch (error) {
      cause = error;
    }
    if (Date.now() >= deadline) {
      throw new Error(`the condition did not come true within ${timeoutMs} ms`, { cause });
    }
    await sleep(intervalMs);
  }
}
