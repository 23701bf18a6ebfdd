import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { AppError, isAppError } from '#libs/contracts';
import {
  type JetStreamClient,
  type JetStreamManager,
  jetstream,
  jetstreamManager,
} from '@nats-io/jetstream';
import {
  connect,
  credsAuthenticator,
  errors,
  type NatsConnection,
  type NodeConnectionOptions,
  type Status,
} from 'nats';
import type { Logger } from 'pino';
import { brokerUnavailable } from './failures.ts';
import { isSupportedVersion, MIN_API_LEVEL, SUPPORTED_VERSIONS } from './binary.ts';

/** A supervised connection to the broker. */
export type Broker = {
  /** Connection name, as the server's monitoring shows it. */
  name: string;
  nc: NatsConnection;
  js: JetStreamClient;
  jsm: JetStreamManager;
  serverVersion: string;
  apiLevel: number;
  /** False from the moment the connection is lost until it is back; lets callers fail fast. */
  isConnected(): boolean;
  /** Sends what is pending, then closes; idempotent. */
  close(): Promise<void>;
};

/** How to prove who we are, and whom we trust. */
export type BrokerAuth = {
  token?: string;
  user?: string;
  pass?: string;
  /** Path of a NATS credentials file (JWT and nkey). */
  credsFile?: string;
  /** Path of the PEM file of the authority that signed the server's certificate. */
  caFile?: string;
  /** Prefix of reply subjects, if the user may listen to that one only. Default `_INBOX`. */
  inboxPrefix?: string;
};

export type ConnectOptions = {
  /** One URL, or several separated by commas. */
  url: string;
  name: string;
  logger: Logger;
  auth?: BrokerAuth;
  /** Smallest JetStream API level that will do. Default: the oldest supported server's. */
  requireApiLevel?: number;
  /** How long to keep trying to reach the broker at start. Default 10 000 ms. */
  connectTimeoutMs?: number;
  /** How long one JetStream request may take. Default 5 000 ms. */
  requestTimeoutMs?: number;
};

const RETRY_MS = 200;
const CLOSE_TIMEOUT_MS = 5_000;

/** Reads NATS_TOKEN, _USER, _PASSWORD, _CREDS, _CA_FILE and _INBOX_PREFIX. */
export function brokerAuthFromEnv(env: Record<string, string | undefined>): BrokerAuth {
  return {
    ...(env.NATS_TOKEN && { token: env.NATS_TOKEN }),
    ...(env.NATS_USER && { user: env.NATS_USER }),
    ...(env.NATS_PASSWORD && { pass: env.NATS_PASSWORD }),
    ...(env.NATS_CREDS && { credsFile: env.NATS_CREDS }),
    ...(env.NATS_CA_FILE && { caFile: env.NATS_CA_FILE }),
    ...(env.NATS_INBOX_PREFIX && { inboxPrefix: env.NATS_INBOX_PREFIX }),
  };
}

/**
 * Connects, checks the server's version and API level, and keeps the connection alive for ever.
 *
 * @throws {DEPENDENCY_UNAVAILABLE} not reachable, or refused, within `connectTimeoutMs`
 * @throws {BROKER_TOO_OLD} the server is older than this program needs
 */
export async function connectBroker(options: ConnectOptions): Promise<Broker> {
  const deadline = Date.now() + (options.connectTimeoutMs ?? 10_000);
  const nc = await retryUntil(deadline, async () => connect(await connectionOptions(options)));
  let connected = true;
  const watching = watchStatus(nc, options.logger, (up) => {
    connected = up;
  });
  const close = once(async () => {
    connected = false;
    await closeConnection(nc, options.logger);
    await watching;
  });
  try {
    const timeout = options.requestTimeoutMs ?? 5_000;
    const { jsm, apiLevel } = await retryUntil(deadline, () => openManager(nc, timeout));
    const serverVersion = nc.info?.version ?? 'unknown';
    refuseOldServer(serverVersion, apiLevel, options.requireApiLevel ?? MIN_API_LEVEL);
    return {
      name: options.name,
      nc,
      js: jetstream(nc, { timeout }),
      jsm,
      serverVersion,
      apiLevel,
      isConnected: () => connected && !nc.isClosed(),
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** @throws {BROKER_TOO_OLD} if `version` or `level` is below what is needed */
export function refuseOldServer(version: string, level: number, neededLevel: number): void {
  if (isSupportedVersion(version) && level >= neededLevel) return;
  throw new AppError('BROKER_TOO_OLD', {
    version,
    level,
    needed: `${SUPPORTED_VERSIONS}, with API level ${neededLevel}`,
  });
}

async function connectionOptions(options: ConnectOptions): Promise<NodeConnectionOptions> {
  const auth = options.auth ?? {};
  return {
    servers: options.url.split(',').map((url) => url.trim()),
    name: options.name,
    maxReconnectAttempts: -1,
    reconnectTimeWait: 250,
    reconnectJitter: 250,
    // A hung server is noticed after two missed pings, not after minutes.
    pingInterval: 5_000,
    maxPingOut: 2,
    timeout: 5_000,
    ...(auth.inboxPrefix !== undefined && { inboxPrefix: auth.inboxPrefix }),
    ...(auth.token !== undefined && { token: auth.token }),
    ...(auth.user !== undefined && { user: auth.user }),
    ...(auth.pass !== undefined && { pass: auth.pass }),
    ...(auth.credsFile !== undefined && {
      authenticator: credsAuthenticator(await readFile(auth.credsFile)),
    }),
    ...(auth.caFile !== undefined && { tls: { caFile: auth.caFile } }),
  };
}

async function openManager(nc: NatsConnection, timeout: number) {
  const jsm = await jetstreamManager(nc, { timeout, sendRequiredApiLevel: true });
  const account = await jsm.getAccountInfo();
  return { jsm, apiLevel: account.api.level ?? 0 };
}

/** Tries again until `deadline`; refused credentials and our own errors are final at once. */
async function retryUntil<T>(deadline: number, attempt: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      const refused = error instanceof errors.AuthorizationError;
      if (isAppError(error)) throw error;
      if (refused || Date.now() + RETRY_MS >= deadline)
        throw brokerUnavailable(String(error), error);
      await sleep(RETRY_MS);
    }
  }
}

async function watchStatus(
  nc: NatsConnection,
  logger: Logger,
  setConnected: (up: boolean) => void,
): Promise<void> {
  for await (const status of nc.status()) {
    if (status.type === 'disconnect' || status.type === 'staleConnection') setConnected(false);
    if (status.type === 'reconnect') setConnected(true);
    logStatus(logger, status);
  }
  setConnected(false);
}

function logStatus(logger: Logger, status: Status): void {
  switch (status.type) {
    case 'disconnect':
    case 'staleConnection':
      return logger.warn({ status: status.type }, 'broker connection lost');
    case 'reconnect':
      return logger.info({ server: status.server }, 'broker connection is back');
    case 'error':
      return logger.warn({ err: status.error }, 'broker reported an error');
    case 'slowConsumer':
      return logger.warn({ pending: status.pending }, 'slow consumer');
    default:
      return logger.debug({ status: status.type }, 'broker connection status');
  }
}

async function closeConnection(nc: NatsConnection, logger: Logger): Promise<void> {
  if (nc.isClosed()) return;
  const timer = new AbortController();
  const drained = nc.drain().catch((error: unknown) => {
    logger.warn({ err: error }, 'broker connection could not be drained');
  });
  // Draining waits for the server, which may be gone: then closing is all that is left.
  const late = sleep(CLOSE_TIMEOUT_MS, undefined, { signal: timer.signal }).catch(() => undefined);
  await Promise.race([drained, late]);
  timer.abort();
  await nc.close();
}

function once(run: () => Promise<void>): () => Promise<void> {
  let running: Promise<void> | undefined;
  return () => {
    running ??= run();
    return running;
  };
}
