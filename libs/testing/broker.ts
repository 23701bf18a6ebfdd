import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  applyStreams,
  type Broker,
  type ConnectOptions,
  connectBroker,
  type RunningBroker,
  type StartBrokerOptions,
  startBroker,
} from '#libs/broker';
import type { StreamDeclaration } from '#streams';
import { type Logger, pino } from 'pino';

export type TestBrokerOptions = {
  /** Default `2m`: fast. Use `always` where a test kills the machine's view of the disk. */
  sync?: NonNullable<StartBrokerOptions['sync']>;
  maxPayloadBytes?: number;
  /** Streams to create before the test begins, as STREAMS of #streams. */
  streams?: readonly StreamDeclaration[];
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

/** `await using broker = await startTestBroker({ streams: STREAMS })`. */
export async function startTestBroker(options: TestBrokerOptions = {}): Promise<TestBroker> {
  const { streams, ...serverOptions } = options;
  const dataDir = await mkdtemp(join(tmpdir(), 'ironclaw-broker-'));
  const logger = testLogger('broker');
  const connections: Broker[] = [];
  const start = (port: number) =>
    startBroker({ sync: '2m', ...serverOptions, dataDir, logger, port });
  let server: RunningBroker | undefined;
  const running = () => {
    if (server === undefined) throw new Error('the test broker did not start');
    return server;
  };
  const broker: TestBroker = {
    get url() {
      return running().url;
    },
    get pid() {
      return running().pid;
    },
    dataDir,
    async connect(overrides = {}) {
      const url = running().url;
      const connection = await connectBroker({ url, name: 'test', logger, ...overrides });
      connections.push(connection);
      return connection;
    },
    async kill() {
      process.kill(running().pid, 'SIGKILL');
      await running().exited;
      await running().stop();
    },
    stop: () => running().stop(),
    async restart() {
      await running().stop();
      server = await start(running().port);
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(connections.map((connection) => connection.close()));
      await server?.stop();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
  try {
    server = await start(0);
    if (streams !== undefined) {
      const connection = await broker.connect();
      await applyStreams(connection.jsm, streams);
      await connection.close();
    }
    return broker;
  } catch (error) {
    await broker[Symbol.asyncDispose]();
    throw error;
  }
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
