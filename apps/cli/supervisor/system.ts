import { join } from 'node:path';
import { applyStreams, brokerAuthFromEnv, checkStreams, connectBroker } from '#libs/broker';
import { type Config, stateLayout } from '#libs/runtime';
import { createLogger } from '#libs/telemetry';
import { STREAMS } from '#streams';
import type { Logger } from 'pino';
import { type Env, VERSION, withSettings } from '../env.ts';
import { makeStateFolder } from '../state-folder.ts';
import { superviseBroker } from './broker.ts';
import { type Child, superviseChild } from './child.ts';
import { lockState } from './lock.ts';
import { type LogFile, type LogRecord, openLogFile } from './log-file.ts';
import { removeRunning, writeRunning } from './running.ts';
import { withSigningSecret } from './signing-secret.ts';

/** The roles of the process that is not a worker. */
const CONTROL_ROLES = [
  'ledger',
  'vault',
  'observer',
  'integration',
  'co',
  'learning',
  'missions',
  'projects',
  'outbox',
  'intake',
  'duty-officer',
  'sentinel',
  'gateway',
];
const STOP_GRACE_MS = 10_000;

export type SystemOptions = {
  config: Config;
  env: Env;
  /** Worker processes. */
  workers: number;
  /** When the embedded broker forces data to disk: `always`, or an interval as `2m`. */
  sync: string;
  /** Use this broker instead of an embedded one. */
  natsUrl: string | undefined;
  /** Further environment of a process at its `start`th start, from 1. */
  childEnv?: (name: string, start: number) => Env;
  /** Steps of the start, and what happens to processes, a line each. */
  onNotice: (line: string) => void;
  /** Warnings and errors that a process logs. */
  onProblem: (name: string, record: LogRecord) => void;
  /** Ends the start, or the system; what runs is stopped in order. */
  stop: AbortSignal;
  /** Kills what is still stopping, but for the broker, which loses nothing by ending well. */
  kill: AbortSignal;
};

/** The whole system: a broker, the control process and the workers. */
export type System = {
  readonly url: string;
  readonly natsUrl: string;
  readonly workers: readonly Child[];
  /** Resolves with the reason when a part cannot be kept running. */
  failed: Promise<Error>;
  /** Workers, control, broker, in this order; idempotent. */
  stop(): Promise<void>;
};

/**
 * Starts all of it and resolves when everything is ready.
 * @throws {ALREADY_RUNNING} on this state folder, or the port is taken
 * @throws {BROKER_MISSING} · {STREAM_DRIFT} · {DEPENDENCY_UNAVAILABLE} · {FORBIDDEN}
 */
export async function startSystem(options: SystemOptions): Promise<System> {
  const { config } = options;
  const layout = stateLayout(config.stateDir);
  makeStateFolder(config.stateDir);
  const undo: Undo[] = [];
  const runUndo = async (): Promise<void> => {
    for (let step = undo.pop(); step !== undefined; step = undo.pop()) {
      try {
        await step();
      } catch (error) {
        // The rest has to be stopped all the same.
        options.onNotice(`while stopping: ${String(error)}`);
      }
    }
  };
  let stopped: Promise<void> | undefined;
  const stop = (): Promise<void> => {
    stopped ??= runUndo();
    return stopped;
  };
  undo.push(lockState(config.stateDir, layout.running));
  undo.push(() => removeRunning(layout.running));
  const failed = Promise.withResolvers<Error>();
  const env = withSigningSecret(options.env, config.stateDir);
  const parts: Parts = { ...options, env, logDir: layout.log, undo, onGiveUp: failed.resolve };
  options.stop.addEventListener('abort', () => void stop());
  try {
    options.stop.throwIfAborted();
    const { natsUrl, token } = await startBrokerPart(parts, layout.broker);
    await prepareStreams(parts, natsUrl);
    options.stop.throwIfAborted();
    const control = startChild(parts, natsUrl, 'control', (url) => [
      ...CONTROL_ROLES,
      // Started again, it takes the port that its users know.
      '--port',
      url === null ? String(config.port) : new URL(url).port,
    ]);
    undo.push(() => control.stop(STOP_GRACE_MS));
    const workers = startWorkers(parts, natsUrl);
    const [url] = await Promise.all([control.ready, ...workers.map(({ ready }) => ready)]);
    if (url === null) throw new Error('the control process serves no HTTP');
    const count = workers.length === 1 ? '1 worker' : `${workers.length} workers`;
    options.onNotice(`control (${CONTROL_ROLES.join(', ')}) and ${count} are ready`);
    options.stop.throwIfAborted();
    writeRunning(layout.running, {
      pid: process.pid,
      url,
      nats_url: natsUrl,
      ...(token !== undefined && { nats_token: token }),
      version: VERSION,
      started_at: new Date().toISOString(),
    });
    return { url, natsUrl, workers, failed: failed.promise, stop };
  } catch (error) {
    await stop();
    // What was being started when the stop began.
    await runUndo();
    throw error;
  }
}

type Undo = () => Promise<void> | void;
type Parts = SystemOptions & {
  logDir: string;
  undo: Undo[];
  onGiveUp: (error: Error) => void;
};

/** The broker of this system, ours or the one that is named; a token only where ours asks for it. */
async function startBrokerPart(parts: Parts, dataDir: string) {
  if (parts.natsUrl !== undefined) return { natsUrl: parts.natsUrl, token: undefined };
  const token = parts.env.NATS_TOKEN;
  parts.onNotice('starting the broker');
  const log = openLog(parts, 'broker');
  const logger = createLogger({ name: 'broker', format: 'json', destination: log });
  const broker = await superviseBroker(
    { dataDir, logger, sync: parts.sync, ...(token && { token }) },
    parts,
  );
  parts.undo.push(() => broker.stop());
  return { natsUrl: broker.url, token };
}

/** Creates what is missing; a difference that needs a person ends the start. */
async function prepareStreams(parts: Parts, natsUrl: string): Promise<void> {
  const logger: Logger = createLogger({
    name: 'supervisor',
    format: 'json',
    destination: openLog(parts, 'supervisor'),
  });
  const auth = brokerAuthFromEnv(parts.env);
  const broker = await connectBroker({ url: natsUrl, name: 'ironclaw-up', logger, auth });
  try {
    const counts = { create: 0, update: 0, none: 0, blocked: 0 };
    for (const stream of STREAMS) {
      const [plan] = await applyStreams(broker.jsm, [stream]);
      if (plan !== undefined) counts[plan.action] += 1;
    }
    await checkStreams(broker.jsm, STREAMS);
    const { create, update } = counts;
    const changed = create + update > 0 ? ` (${create} created, ${update} changed)` : '';
    parts.onNotice(`${STREAMS.length} streams are as declared${changed}`);
  } finally {
    await broker.close();
  }
}

function startWorkers(parts: Parts, natsUrl: string): Child[] {
  const names = Array.from({ length: parts.workers }, (_, index) => `worker-${index + 1}`);
  const workers = names.map((name) =>
    startChild(parts, natsUrl, name, () => ['worker', '--no-http']),
  );
  // All at once, and before the control process.
  parts.undo.push(async () => {
    await Promise.all(workers.map((worker) => worker.stop(STOP_GRACE_MS)));
  });
  return workers;
}

function startChild(
  parts: Parts,
  natsUrl: string,
  name: string,
  args: (url: string | null) => readonly string[],
): Child {
  const env = withSettings(parts.env, {
    NATS_URL: natsUrl,
    IRONCLAW_STATE: parts.config.stateDir,
  });
  const child = superviseChild({
    name,
    args: (url) => ['serve', ...args(url)],
    env: (start) => withSettings(env, parts.childEnv?.(name, start) ?? {}),
    log: openLog(parts, name),
    hangMs: parts.config.hangMs,
    onNotice: parts.onNotice,
    onGiveUp: parts.onGiveUp,
  });
  parts.kill.addEventListener('abort', () => child.kill());
  return child;
}

function openLog(parts: Parts, name: string): LogFile {
  const path = join(parts.logDir, `${name}.log`);
  const log = openLogFile({ path, name, onProblem: (record) => parts.onProblem(name, record) });
  parts.undo.push(() => log.close());
  return log;
}
