import { spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import {
  applyStreams,
  type Broker,
  type BrokerAuth,
  brokerAuthFromEnv,
  connectBroker,
} from '#libs/broker';
import { AppError, isAppError } from '#libs/contracts';
import { MISSION_STREAM } from '#libs/missionlog';
import { MISSIONS } from '#streams';
import type { Logger } from 'pino';
import { readRunning } from '../supervisor/running.ts';
import {
  type Home,
  type HomeBroker,
  homeOf,
  idleMsOf,
  readHomeBroker,
  runningPid,
} from './home.ts';
import type { Repository } from './repository.ts';
import { inTurn } from './turn.ts';

export type Env = Readonly<Record<string, string | undefined>>;
/** Open connections by what they lead to, for a process that runs many commands. */
export type Connections = Map<string, Promise<Broker>>;
type Target = { url: string; auth: BrokerAuth };

/** How long a broker that is named may take to answer, and one that we start to come up. */
const CONNECT_MS = 5_000;
const START_MS = 60_000;
const POLL_MS = 25;
const WARM = fileURLToPath(new URL('./warm.ts', import.meta.url));
const SERVE = fileURLToPath(new URL('./serve.ts', import.meta.url));

/**
 * Connects to the broker that keeps a repository's missions: the one of NATS_URL, else that of the
 * `ironclaw up` on IRONCLAW_STATE (or `.ironclaw` here or in the repository), else the
 * repository's own, which is started where it does not run.
 * @throws {DEPENDENCY_UNAVAILABLE | BROKER_TOO_OLD | BROKER_MISSING}
 * @throws {INVALID_REQUEST} a setting is out of its bounds
 */
export async function connectMissions(
  repository: Repository,
  env: Env,
  cwd: string,
  logger: Logger,
  connections?: Connections,
): Promise<Broker> {
  // Told here, as nobody reads what a process in the background has to say.
  idleMsOf(env);
  const named = namedBroker(repository, env, cwd);
  const open = (target: Target, timeoutMs: number): Promise<Broker> =>
    reuse(connections, target, async () => {
      const broker = await connectTo(target, logger, timeoutMs);
      await ensureStream(broker);
      return broker;
    });
  if (named !== undefined) return open(named, CONNECT_MS);
  return connectHome(homeOf(repository.gitDir), env, (target) => open(target, 1));
}

async function reuse(
  connections: Connections | undefined,
  target: Target,
  open: () => Promise<Broker>,
): Promise<Broker> {
  if (connections === undefined) return open();
  const key = JSON.stringify(target);
  const known = await connections.get(key)?.catch(() => undefined);
  if (known?.isConnected() === true) return known;
  if (known !== undefined) {
    // It may have been another one's turn to replace it.
    if ((await connections.get(key)) === known) connections.delete(key);
    // It drains against a server that is gone; nobody waits for that.
    known.close().catch(() => undefined);
  }
  let opening = connections.get(key);
  if (opening === undefined) {
    opening = open();
    connections.set(key, opening);
    opening.catch(() => connections.delete(key));
  }
  return opening;
}

export async function closeConnections(connections: Connections): Promise<void> {
  const brokers = await Promise.allSettled(connections.values());
  for (const broker of brokers) if (broker.status === 'fulfilled') await broker.value.close();
}

/** The broker that somebody else runs for us; undefined: there is none. */
function namedBroker({ root }: Repository, env: Env, cwd: string): Target | undefined {
  if (env.NATS_URL !== undefined && env.NATS_URL !== '') {
    return { url: env.NATS_URL, auth: brokerAuthFromEnv(env) };
  }
  const state = env.IRONCLAW_STATE;
  const folders =
    state !== undefined && state !== ''
      ? [resolve(cwd, state)]
      : [join(cwd, '.ironclaw'), join(root, '.ironclaw')];
  for (const folder of new Set(folders)) {
    const running = readRunning(join(folder, 'running.json'));
    if (running === undefined) continue;
    const { nats_url: url, nats_token: token } = running;
    return { url, auth: token === undefined ? {} : { token } };
  }
  return undefined;
}

function connectTo({ url, auth }: Target, logger: Logger, timeoutMs: number): Promise<Broker> {
  const name = 'ironclaw-missions';
  return connectBroker({ url, name, logger, auth, connectTimeoutMs: timeoutMs });
}

/** A broker of others may not have the stream yet. */
async function ensureStream(broker: Broker): Promise<void> {
  const names = await broker.jsm.streams.names('mis.v1.>').next();
  if (!names.includes(MISSION_STREAM)) await applyStreams(broker.jsm, [MISSIONS]);
}

/** Connects to the repository's own broker. Of several that start it at once one does. */
async function connectHome(
  home: Home,
  env: Env,
  open: (target: Target) => Promise<Broker>,
): Promise<Broker> {
  const deadline = performance.now() + START_MS;
  for (;;) {
    const running = readHomeBroker(home.running);
    if (running !== undefined) {
      try {
        return await open(targetOf(running));
      } catch (error) {
        if (!isAppError(error, 'DEPENDENCY_UNAVAILABLE')) throw error;
        if (performance.now() >= deadline) throw error;
      }
    }
    // It does not run, or is about to end.
    await startHome(home, env, deadline);
  }
}

/** Starts the process that keeps the API loaded for the next commands, where there is none. */
export function startWarm({ gitDir }: Repository, env: Env): void {
  if (env.IRONCLAW_MISSIONS_WARM === 'off') return;
  if (runningPid(homeOf(gitDir).warm) !== undefined) return;
  spawn(process.execPath, [WARM, gitDir], {
    cwd: gitDir,
    env: { ...env },
    detached: true,
    stdio: 'ignore',
  }).unref();
}

function targetOf({ nats_url: url, nats_token: token }: HomeBroker): Target {
  return { url, auth: { token } };
}

async function startHome(home: Home, env: Env, deadline: number): Promise<void> {
  mkdirSync(home.folder, { recursive: true, mode: 0o700 });
  const seen = readHomeBroker(home.running);
  await inTurn(home.startLock, deadline - performance.now(), async () => {
    const now = readHomeBroker(home.running);
    // Another one has started it while we waited.
    if (now !== undefined && now.started_at !== seen?.started_at) return;
    let exitCode: number | null | undefined;
    void launch(home, env).then((code) => {
      exitCode = code;
    });
    while (performance.now() < deadline) {
      const started = readHomeBroker(home.running);
      if (started !== undefined && started.started_at !== seen?.started_at) return;
      await sleep(POLL_MS);
      if (exitCode === undefined) continue;
      // It gave way to one that still runs; the caller looks again.
      if (exitCode === 0) return;
      throw away(`the broker could not be started; see ${home.log}`);
    }
    throw away(`the broker did not come up; see ${home.log}`);
  });
}

/** Starts the broker's process, which outlives this one. @returns its exit code, should it end */
function launch(home: Home, env: Env): Promise<number | null> {
  const log = openSync(home.log, 'a', 0o600);
  const gitDir = resolve(home.folder, '../..');
  const child = spawn(process.execPath, [SERVE, gitDir], {
    cwd: home.folder,
    env: { ...env },
    detached: true,
    stdio: ['ignore', log, log],
  });
  closeSync(log);
  child.unref();
  const ended = Promise.withResolvers<number | null>();
  child.once('exit', (code) => ended.resolve(code));
  child.once('error', () => ended.resolve(null));
  return ended.promise;
}

function away(reason: string): AppError {
  return new AppError('DEPENDENCY_UNAVAILABLE', { dependency: 'The broker', reason });
}
