import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import type { Logger } from 'pino';
import { findServerBinary } from './binary.ts';
import { invalid } from '#libs/contracts';
import { brokerUnavailable } from './failures.ts';
import { type DirectoryLock, lockDirectory } from './lock.ts';
import { processIdentity, stopProcess } from './process.ts';
import { parseServerLine, type ServerLine } from './server-log.ts';

export type StartBrokerOptions = {
  /** Folder of the store, the configuration and the lock; created if missing. */
  dataDir: string;
  logger: Logger;
  /** Client port; 0 (the default) lets the system choose. */
  port?: number;
  /** Default 127.0.0.1. Any other than a loopback address needs a token. */
  host?: string;
  /** What clients must give (`auth.token` of connectBroker); none by default. */
  token?: string;
  /** When data is forced to disk: on every write (the default), or at an interval as `2m`. */
  sync?: 'always' | (string & {});
  /** Largest message. Default 8 MiB, so that every request body fits. */
  maxPayloadBytes?: number;
  /** Port of the HTTP monitoring, on `host`; none by default. */
  monitorPort?: number;
  /** Upper bound of the store. Default: three quarters of the free disk, as nats-server chooses. */
  storeLimitBytes?: number;
  /** How long recovery of a large store may take. Default 600 000 ms. */
  startTimeoutMs?: number;
};

export type BrokerExit = { code: number | null; signal: NodeJS.Signals | null };

/** A nats-server process of our own. */
export type RunningBroker = {
  url: string;
  port: number;
  pid: number;
  version: string;
  /** Stops it cleanly (killed after 15 s) and gives the data directory free; idempotent. */
  stop(): Promise<void>;
  /** Resolves when the process has ended, asked for or not. */
  exited: Promise<BrokerExit>;
};

const STOP_GRACE_MS = 15_000;
const PROGRESS_MS = 2_000;
const LOOPBACK = new Set(['127.0.0.1', '::1', 'localhost']);

/**
 * Starts nats-server with JetStream on `dataDir` and waits until it is ready. One process per
 * directory. If this process is killed, the server is told to stop; one that still runs at the
 * next start is stopped first, so there are never two on one store.
 *
 * @throws {INVALID_REQUEST} open to other machines without a token
 * @throws {ALREADY_RUNNING} another process uses the directory
 * @throws {BROKER_MISSING} there is no nats-server to start
 * @throws {DEPENDENCY_UNAVAILABLE} it did not come up
 */
export async function startBroker(options: StartBrokerOptions): Promise<RunningBroker> {
  const dataDir = resolve(options.dataDir);
  const { logger, host = '127.0.0.1' } = options;
  if (!LOOPBACK.has(host) && !options.token) {
    throw invalid('host', 'other than a loopback address needs a token');
  }
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  const lock = await lockDirectory(dataDir);
  try {
    if (lock.orphan !== null) {
      logger.warn({ pid: lock.orphan.pid }, 'stopping the broker that a killed process left');
      await stopProcess(lock.orphan.pid, lock.orphan.identity, STOP_GRACE_MS);
    }
    const binary = await findServerBinary(process.env, logger);
    const configPath = join(dataDir, 'nats.json');
    await writeFile(configPath, serverConfig(dataDir, options), { mode: 0o600 });
    return await launch(binary, configPath, lock, options);
  } catch (error) {
    lock.release();
    throw error;
  }
}

/** The configuration file; nats-server reads JSON as a form of its own syntax. */
export function serverConfig(dataDir: string, options: StartBrokerOptions): string {
  const host = options.host ?? '127.0.0.1';
  const config = {
    listen: `${host}:${options.port ? options.port : -1}`,
    server_name: 'ironclaw',
    ...(options.token && { authorization: { token: options.token } }),
    max_payload: options.maxPayloadBytes ?? 8 * 1024 * 1024,
    ...(options.monitorPort !== undefined && { http: `${host}:${options.monitorPort}` }),
    jetstream: {
      store_dir: dataDir,
      sync_interval: options.sync ?? 'always',
      ...(options.storeLimitBytes !== undefined && { max_file_store: options.storeLimitBytes }),
    },
  };
  return `${JSON.stringify(config, null, 2)}\n`;
}

async function launch(
  binary: { path: string; version: string },
  configPath: string,
  lock: DirectoryLock,
  options: StartBrokerOptions,
): Promise<RunningBroker> {
  const child = spawnServer(binary.path, configPath);
  const exited = new Promise<BrokerExit>((done) => {
    child.once('exit', (code, signal) => done({ code, signal }));
    child.once('error', () => done({ code: null, signal: null }));
  });
  try {
    await once(child, 'spawn');
    const pid = child.pid as number;
    await lock.recordServer(pid);
    const guard = startGuard(pid);
    void exited.then(() => guard.stop());
    child.stdin?.end('go\n');
    const stop = async () => {
      await stopChild(child, exited);
      lock.release();
    };
    const port = await waitUntilReady(child, exited, options);
    const url = `nats://${options.host ?? '127.0.0.1'}:${port}`;
    options.logger.info({ url, pid, version: binary.version }, 'broker is ready');
    return { url, port, pid, version: binary.version, stop, exited };
  } catch (error) {
    await stopChild(child, exited);
    throw error;
  }
}

/**
 * Starts the server once it is told to through its pipe: by then its pid is written down, so that
 * there is no moment in which we could be killed and leave a server that nobody knows of.
 */
function spawnServer(path: string, configPath: string): ChildProcess {
  const args = ['-c', configPath];
  const wait = 'read -r word && exec "$0" "$@"';
  const windows = process.platform === 'win32';
  const [file, argv] = windows ? [path, args] : ['/bin/sh', ['-c', wait, path, ...args]];
  // A session of its own: Ctrl-C in the terminal must reach the roles first, not the broker.
  const child = spawn(file, argv, { stdio: ['pipe', 'ignore', 'pipe'], detached: true });
  // If it has ended already, its exit says why.
  child.stdin.on('error', () => undefined);
  return child;
}

async function stopChild(child: ChildProcess, exited: Promise<BrokerExit>): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const identity = await processIdentity(child.pid);
  if (identity !== null) await stopProcess(child.pid, identity, STOP_GRACE_MS);
  await exited;
}

/**
 * A shell that waits on a pipe from us: when we die without a word (kill -9), the pipe closes and
 * it stops the server. Not on Windows; there the next start finds the server and stops it.
 */
function startGuard(serverPid: number): { stop(): void } {
  if (process.platform === 'win32') return { stop() {} };
  const script = 'read -r word; [ "$word" = done ] || kill -TERM "$1"';
  const guard = spawn('/bin/sh', ['-c', script, 'ironclaw-broker-guard', String(serverPid)], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  });
  guard.unref();
  // Should the guard be gone, there is nobody left to tell.
  guard.stdin.on('error', () => undefined);
  return { stop: () => void guard.stdin.end('done\n') };
}

/** Resolves with the client port; passes the server's log on, and says so if recovery is long. */
async function waitUntilReady(
  child: ChildProcess,
  exited: Promise<BrokerExit>,
  options: StartBrokerOptions,
): Promise<number> {
  const { logger } = options;
  const limitMs = options.startTimeoutMs ?? 600_000;
  const startedAt = Date.now();
  let port = 0;
  let last = '';
  const ready = Promise.withResolvers<number>();
  const fail = (reason: string) => ready.reject(brokerUnavailable(reason));
  if (child.stderr === null) throw new Error('nats-server was started without a pipe');
  createInterface({ input: child.stderr }).on('line', (text) => {
    const line = parseServerLine(text);
    last = line.text;
    logLine(logger, line);
    if (line.port !== undefined) port = line.port;
    if (line.ready) ready.resolve(port);
  });
  const progress = setInterval(
    () => {
      const waitedMs = Date.now() - startedAt;
      if (waitedMs > limitMs) fail(`it was not ready after ${limitMs} ms; last: ${last}`);
      else logger.info({ waitedMs, last }, 'waiting for the broker to recover its store');
    },
    Math.min(PROGRESS_MS, limitMs),
  );
  void exited.then(({ code, signal }) => {
    fail(`nats-server ended (${signal ?? `exit code ${code}`}): ${last}`);
  });
  try {
    return await ready.promise;
  } finally {
    clearInterval(progress);
  }
}

function logLine(logger: Logger, line: ServerLine): void {
  logger[line.level]({ component: 'nats-server' }, line.text);
}
