import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import type { Broker } from '#libs/broker';
import type { Role } from '#libs/contracts';
import { startTestBroker, type TestBroker } from '#libs/testing';
import { STREAMS } from '#streams';
import type { Host } from '../../apps/cli/host.ts';
import { serve } from './host.ts';
import { type Answer, callHttp, callNats, type Data, ok, sendHttp, type Way } from './wire.ts';

type Env = Record<string, string>;

export type SystemOptions = {
  /** In this process. */
  roles: readonly Role[];
  /** Each in a process of its own, so that it can be killed. */
  separateProcesses?: readonly Role[];
  env?: Env;
};

/** A role that runs in a process of its own. */
export type RoleProcess = {
  readonly url: string;
  readonly pid: number;
  /** All that it has printed, its log too. */
  output(): string;
  /** SIGKILL; resolves when it is dead. */
  kill(): Promise<void>;
  /** Starts it again, under the same settings, on another port. */
  restart(): Promise<void>;
};

/** A whole system on a real broker, reached from outside. */
export type System = {
  readonly stateDir: string;
  readonly testBroker: TestBroker;
  /** The stranger's own connection. */
  readonly broker: Broker;
  /** Base URL of a role: the gateway's at the root, others under their name. */
  url(role: Role): string;
  process(role: Role): RoleProcess;
  /** Calls `<role>.<name>` with one input object. */
  call(way: Way, name: string, input?: unknown, headers?: Env): Promise<Answer>;
  /** Sends bytes as they are. */
  raw(
    role: Role,
    method: string,
    path: string,
    options?: { body?: string | Uint8Array; headers?: Env },
  ): Promise<Answer>;
  /** Sequence of the newest event. */
  tail(): Promise<number>;
  /** Events of an order or run as they were stored, nothing missing. */
  eventsOf(filter: { order_id?: string; run_id?: string; theater_id?: string }): Promise<Data[]>;
  [Symbol.asyncDispose](): Promise<void>;
};

const CHILD = path.join(import.meta.dirname, 'serve.ts');
const START_MS = 20_000;

export async function startSystem(options: SystemOptions): Promise<System> {
  const stateDir = await mkdtemp(path.join(tmpdir(), 'ironclaw-conformance-'));
  const testBroker = await startTestBroker({ streams: STREAMS });
  const undo: (() => Promise<unknown>)[] = [
    () => testBroker[Symbol.asyncDispose](),
    () => rm(stateDir, { recursive: true, force: true, maxRetries: 3 }),
  ];
  const dispose = async (): Promise<void> => {
    for (const step of undo.splice(0).reverse()) await step();
  };
  try {
    const env: Env = {
      PATH: process.env.PATH ?? '',
      IRONCLAW_PORT: '0',
      IRONCLAW_STATE: stateDir,
      IRONCLAW_GARRISON: 'test',
      NATS_URL: testBroker.url,
      MILESTONE_SIGNING_SECRET: 'a secret of the tests',
      ...options.env,
    };
    const broker = await testBroker.connect({ name: 'stranger' });
    const processes = new Map<Role, RoleProcess>();
    for (const role of options.separateProcesses ?? []) {
      const child = await startProcess(role, env);
      undo.push(() => child.kill());
      processes.set(role, child);
    }
    let host: Host | undefined;
    if (options.roles.length > 0) {
      host = await serve(options.roles, env);
      undo.push(host.close);
    }
    return systemOf({ stateDir, testBroker, broker, processes, host, dispose });
  } catch (error) {
    await dispose();
    throw error;
  }
}

type Parts = {
  stateDir: string;
  testBroker: TestBroker;
  broker: Broker;
  processes: ReadonlyMap<Role, RoleProcess>;
  host: Host | undefined;
  dispose: () => Promise<void>;
};

function systemOf({ stateDir, testBroker, broker, processes, host, dispose }: Parts): System {
  const url = (role: Role): string => {
    const child = processes.get(role);
    if (child !== undefined) return child.url;
    const root = host?.http?.url;
    if (root === undefined) throw new Error(`${role} does not run`);
    return role === 'gateway' ? root : `${root}/${role}`;
  };
  const system: System = {
    stateDir,
    testBroker,
    broker,
    url,
    process: (role) => {
      const child = processes.get(role);
      if (child === undefined) throw new Error(`${role} has no process of its own`);
      return child;
    },
    call: (way, name, input = {}, headers = {}) => {
      if (way === 'nats') return callNats(broker.nc, name, input, headers);
      return callHttp(url(name.split('.')[0] as Role), name, input, headers);
    },
    raw: (role, method, where, given) => sendHttp(url(role), method, where, given),
    tail: async () => (await broker.jsm.streams.info('LEDGER')).state.last_seq,
    eventsOf: async (filter) => {
      const at_least = await system.tail();
      const input = { ...filter, order: 'asc', limit: 1000, at_least };
      return ok(await system.call('http', 'ledger.events', input)).events as Data[];
    },
    [Symbol.asyncDispose]: dispose,
  };
  return system;
}

async function startProcess(role: Role, env: Env): Promise<RoleProcess> {
  let child: ChildProcess;
  let url: string;
  let output = '';
  const start = async (): Promise<void> => {
    child = spawn(process.execPath, [CHILD, role], { env, stdio: 'pipe' });
    const printed = Promise.withResolvers<string>();
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        output += text;
        const ready = /^READY (\S+)$/m.exec(output.slice(output.lastIndexOf('READY')));
        if (ready?.[1] !== undefined) printed.resolve(ready[1]);
      });
    }
    const fail = (): void => printed.reject(new Error(`${role} did not start:\n${output}`));
    const timer = setTimeout(fail, START_MS);
    child.once('exit', fail);
    url = await printed.promise.finally(() => clearTimeout(timer));
  };
  await start();
  return {
    get url() {
      return url;
    },
    get pid() {
      return child.pid as number;
    },
    output: () => output,
    kill: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const gone = once(child, 'exit');
      process.kill(child.pid as number, 'SIGKILL');
      await gone;
    },
    restart: async () => {
      output = '';
      await start();
    },
  };
}

let count = 0;

/** Ids that no other check uses. */
export function freshIds() {
  count += 1;
  const own = `${count}_${randomBytes(6).toString('hex')}`;
  return {
    theater: `th_${own}`,
    run: `run_${own}`,
    order: `order_${own}`,
    unit: `assault_${own}`,
    event: (name: string | number) => `ev_${own}_${name}`,
    request: `req_${own}`,
  };
}

const run = promisify(execFile);

/** Real git; answers what it printed. */
export async function git(cwd: string, ...args: string[]): Promise<string> {
  const identity = { NAME: 'Stranger', EMAIL: 'stranger@example.test' };
  const env = {
    PATH: process.env.PATH ?? '',
    GIT_CONFIG_GLOBAL: '/dev/null',
    GIT_CONFIG_SYSTEM: '/dev/null',
    GIT_AUTHOR_NAME: identity.NAME,
    GIT_AUTHOR_EMAIL: identity.EMAIL,
    GIT_COMMITTER_NAME: identity.NAME,
    GIT_COMMITTER_EMAIL: identity.EMAIL,
  };
  const { stdout } = await run('git', args, { cwd, env, maxBuffer: 16 * 1024 * 1024 });
  return stdout.trimEnd();
}
