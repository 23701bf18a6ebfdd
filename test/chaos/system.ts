import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  applyStreams,
  type Broker,
  connectBroker,
  type RunningBroker,
  startBroker,
} from '#libs/broker';
import { type ModelServer, startModelServer } from '#libs/testing';
import { STREAMS } from '#streams';
import { pino } from 'pino';
import type { Member } from './fleet.ts';
import { type Fall, type RoleProcess, roleProcess } from './process.ts';
import { type Line, openLine } from './proxy.ts';
import { SECRET } from './signed.ts';

export const GARRISON = 'chaos';

export type SystemOptions = {
  fleet: readonly Member[];
  seed: number;
  sync: 'always' | '2m';
};

/** A whole system whose every process, connection and broker is in our hands. */
export type System = {
  readonly stateDir: string;
  /** Of the gateway; stays the same over its restarts. */
  readonly url: string;
  /** Our own connection, which no fault of the schedule touches but those of the broker itself. */
  readonly broker: Broker;
  readonly model: ModelServer;
  readonly members: ReadonlyMap<string, RoleProcess>;
  readonly lines: ReadonlyMap<string, Line>;
  /** Processes that ended though nobody had ended them. */
  readonly falls: readonly Fall[];
  /** kill -9; started again on its store after `downMs`. False: it is down already. */
  killBroker(downMs: number): boolean;
  /** Lets the broker stand still and go on in turns. */
  pulseBroker(forMs: number, stillMs: number, goMs: number): Promise<void>;
  /** Everything runs and is reached without delay. */
  heal(): Promise<void>;
  /** Ends the role processes; those that had to be killed are answered. */
  stopRoles(): Promise<string[]>;
  /** Ends what is left; the folder is removed unless it is to be kept. */
  close(keep: boolean): Promise<void>;
};

const START_MS = 120_000;
const STOP_GRACE_MS = 20_000;

/** Leases and patrols in seconds, so that a fault and its mending fit into a minute. */
const SETTINGS: Record<string, string> = {
  IRONCLAW_GARRISON: GARRISON,
  IRONCLAW_JOB_LEASE_MS: '2000',
  IRONCLAW_HEARTBEAT_EVERY_MS: '1000',
  IRONCLAW_HEARTBEAT_MS: '8000',
  IRONCLAW_PATROL_MS: '3000',
  IRONCLAW_AUDIT_MS: '10000',
  IRONCLAW_LEARN_MS: '15000',
  IRONCLAW_OVERDUE_GRACE_MS: '3000',
  IRONCLAW_QUEUE_STALL_MS: '15000',
  IRONCLAW_BUDGET_SECONDS: '25',
  IRONCLAW_STALL_MS: '40000',
  IRONCLAW_COMMIT_MS: '60000',
  IRONCLAW_ORPHAN_MS: '60000',
  IRONCLAW_WORKER_CONCURRENCY: '3',
  IRONCLAW_DEMAND_MS: '5000',
  IRONCLAW_DELIVERY_FIRST_MS: '200',
  IRONCLAW_DELIVERY_MAX_MS: '2000',
  IRONCLAW_DELIVERY_ATTEMPTS: '10000',
  MILESTONE_SIGNING_SECRET: SECRET,
};

/** Starts all of it and resolves when every process works. */
export async function startChaosSystem(options: SystemOptions): Promise<System> {
  const stateDir = mkdtempSync(join(tmpdir(), 'ironclaw-chaos-'));
  const logDir = join(stateDir, 'log');
  mkdirSync(logDir);
  const undo: (() => Promise<unknown> | void)[] = [];
  const startedAt = performance.now();
  const falls: Fall[] = [];
  const members = new Map<string, RoleProcess>();
  const lines = new Map<string, Line>();

  const server = await keepBroker(
    join(stateDir, 'broker'),
    join(logDir, 'broker.log'),
    options.sync,
  );
  undo.push(() => server.close());
  const closeAll = async (keep: boolean): Promise<void> => {
    for (const step of undo.splice(0).reverse()) await step();
    if (!keep) rmSync(stateDir, { recursive: true, force: true, maxRetries: 5 });
  };
  try {
    const logger = pino({ level: 'silent' });
    const broker = await connectBroker({ url: server.url, name: 'chaos', logger });
    undo.push(() => broker.close());
    await applyStreams(broker.jsm, STREAMS);
    const model = await startModelServer({ mode: modelFaults(options.seed) });
    undo.push(async () => model[Symbol.asyncDispose]());
    const gatewayPort = await freePort();
    for (const { name, roles } of options.fleet) {
      const line = await openLine({ port: server.port });
      lines.set(name, line);
      undo.push(() => line.close());
      const member = roleProcess({
        name,
        args: [
          'serve',
          ...roles,
          ...(roles.includes('gateway') ? ['--port', `${gatewayPort}`] : ['--no-http']),
        ],
        env: environment(stateDir, line.url, model.url),
        logFile: join(logDir, `${name}.log`),
        onFall: (fall) => falls.push({ ...fall, atMs: Math.round(performance.now() - startedAt) }),
      });
      members.set(name, member);
    }
    const stopRoles = async (): Promise<string[]> => {
      const stopped = [...members.values()].map(async (member) => {
        const clean = await member.stop(STOP_GRACE_MS);
        return clean ? [] : [member.name];
      });
      return (await Promise.all(stopped)).flat();
    };
    undo.push(stopRoles);
    const ready = (): Promise<unknown> =>
      Promise.all([...members.values()].map((member) => member.ready(START_MS)));
    for (const member of members.values()) member.start();
    await ready();
    return {
      stateDir,
      url: `http://127.0.0.1:${gatewayPort}`,
      broker,
      model,
      members,
      lines,
      falls,
      killBroker: server.kill,
      pulseBroker: server.pulse,
      heal: async () => {
        for (const member of members.values()) member.resume();
        model.setMode({ kind: 'ok' });
        await server.up();
        await ready();
      },
      stopRoles,
      close: closeAll,
    };
  } catch (error) {
    await closeAll(true);
    throw error;
  }
}

/** One model call in ten goes wrong, in one of the ways in which providers do. */
function modelFaults(seed: number) {
  return {
    kind: 'mix',
    seed,
    percent: [
      { mode: { kind: 'status', status: 500 }, percent: 3 },
      { mode: { kind: 'rate_limited', retryAfterSeconds: 1 }, percent: 1.5 },
      { mode: { kind: 'slow', ms: 3_000 }, percent: 1.5 },
      { mode: { kind: 'truncated' }, percent: 1 },
      { mode: { kind: 'malformed' }, percent: 1 },
      { mode: { kind: 'disconnect' }, percent: 1.5 },
      { mode: { kind: 'rate_limited', retryAfterSeconds: 8 }, percent: 0.25 },
      { mode: { kind: 'hang' }, percent: 0.25 },
    ],
  } satisfies Parameters<ModelServer['setMode']>[0];
}

/** Nothing of our own environment but what a process needs to run. */
function environment(stateDir: string, natsUrl: string, modelUrl: string): Record<string, string> {
  const { PATH = '', HOME = '', LD_LIBRARY_PATH } = process.env;
  return {
    PATH,
    HOME,
    ...(LD_LIBRARY_PATH !== undefined && { LD_LIBRARY_PATH }),
    ...SETTINGS,
    IRONCLAW_STATE: stateDir,
    IRONCLAW_PORT: '0',
    IRONCLAW_SUPERVISED: '1',
    IRONCLAW_LOG_LEVEL: process.env.IRONCLAW_LOG_LEVEL ?? 'info',
    LOG_FORMAT: 'json',
    NATS_URL: natsUrl,
    IO_INTELLIGENCE_API_KEY: 'chaos-key',
    IO_INTELLIGENCE_BASE_URL: modelUrl,
  };
}

async function keepBroker(dataDir: string, logFile: string, sync: 'always' | '2m') {
  const logger = pino({ level: 'debug' }, pino.destination({ dest: logFile, sync: false }));
  const start = (port: number) => startBroker({ dataDir, logger, sync, port });
  let server: RunningBroker | undefined = await start(0);
  const { url, port } = server;
  let starting: Promise<void> = Promise.resolve();
  let closed = false;

  const signal = (name: NodeJS.Signals): void => {
    if (server !== undefined) process.kill(server.pid, name);
  };
  const restart = async (killed: RunningBroker, downMs: number): Promise<void> => {
    await killed.exited;
    // Gives the folder free, which the next one takes.
    await killed.stop();
    await sleep(downMs);
    if (!closed) server = await start(port);
  };
  return {
    url,
    port,
    kill: (downMs: number): boolean => {
      const killed = server;
      if (killed === undefined) return false;
      server = undefined;
      process.kill(killed.pid, 'SIGKILL');
      starting = restart(killed, downMs);
      return true;
    },
    up: () => starting,
    pulse: async (forMs: number, stillMs: number, goMs: number): Promise<void> => {
      const until = performance.now() + forMs;
      while (performance.now() < until && !closed) {
        signal('SIGSTOP');
        await sleep(stillMs);
        signal('SIGCONT');
        await sleep(goMs);
      }
    },
    close: async (): Promise<void> => {
      closed = true;
      await starting;
      signal('SIGCONT');
      await server?.stop();
    },
  };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}
