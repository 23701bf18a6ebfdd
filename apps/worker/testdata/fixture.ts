import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Broker } from '#libs/broker';
import {
  type AarFile,
  aarFile,
  type JobMessage,
  type OrderFile,
  type StoredEvent,
} from '#libs/contracts';
import { type EventLog, jobSubject, ledgerFilter, readFrom } from '#libs/eventlog';
import { evolveOrder, type OrderState } from '#libs/orders';
import { createClient, type ServiceClient } from '#libs/service';
import { createWorktree, openTheater, prepareWorktree, type Theater } from '#libs/worktrees';
import { pino } from 'pino';
import { createWorker, start, type WorkerOptions } from '../role.ts';
import { workerContext } from './context.ts';

export const KEY = 'io-secret-0123456789-abcdefghij';
export const MODEL = 'meta-llama/Llama-3.3-70B-Instruct';
const AUTHOR = { name: 'Test', email: 'test@ironclaw.test' };
const silent = pino({ level: 'silent' });

/** The events that tell an order's way, in the order of a good one. */
export const STEPS = [
  'ORDER_CLAIMED',
  'ORDER_STARTED',
  'ARTIFACT_WRITTEN',
  'AAR_WRITTEN',
  'ORDER_COMPLETED',
  'ORDER_FAILED',
  'ORDER_REISSUED',
];

export const typesOf = (events: readonly StoredEvent[]) => events.map(({ type }) => type);
export const stepsOf = (events: readonly StoredEvent[]) =>
  typesOf(events).filter((type) => STEPS.includes(type));

/** Real git without anybody's configuration. */
export function git(cwd: string, ...args: string[]): string {
  const env = { PATH: process.env.PATH, HOME: '/nonexistent', GIT_CONFIG_NOSYSTEM: '1' };
  return execFileSync('git', args, { cwd, env, encoding: 'utf8' }).trimEnd();
}

export function readAar(path: string): AarFile {
  return aarFile.parse(JSON.parse(readFileSync(join(path, 'aar.json'), 'utf8')));
}

export type Prepared = { theater: Theater; job: JobMessage; path: string };
export type RunningWorker = {
  client: ServiceClient;
  close(): Promise<void>;
  /** As if it were killed: its connection is gone, it can say no more. */
  drop(): Promise<void>;
};

/** Theaters, orders and workers on one broker and one model server. */
export type Fixture = ReturnType<typeof createFixture>;

export function createFixture(broker: Broker, connect: () => Promise<Broker>, modelUrl: string) {
  const root = realpathSync(mkdtempSync(join(tmpdir(), 'ironclaw-worker-')));
  const theaters = new Map<string, Promise<Theater>>();
  let count = 0;

  const env = (more: Record<string, string> = {}): Record<string, string> => ({
    IO_INTELLIGENCE_API_KEY: KEY,
    IO_INTELLIGENCE_BASE_URL: modelUrl,
    IRONCLAW_STATE: root,
    IRONCLAW_JOB_LEASE_MS: '1000',
    ...more,
  });
  const { log } = workerContext(broker, env(), silent);

  const eventsOf = async ({ theater_id, order_id }: JobMessage): Promise<StoredEvent[]> => {
    const filter = ledgerFilter({ garrison_id: 'local', theater_id, order_id });
    const events: StoredEvent[] = [];
    for await (const page of readFrom(broker, filter, 1)) events.push(...page);
    return events;
  };
  const stateOf = async (job: JobMessage): Promise<OrderState | undefined> =>
    (await eventsOf(job)).reduce<OrderState | undefined>(evolveOrder, undefined);

  return {
    root,
    log,
    env,
    eventsOf,
    stateOf,
    /** A worktree of a theater with an order.json; a text is taken as it is. */
    prepare: async (
      order: Partial<OrderFile> | string = {},
      theaterId = 't0',
    ): Promise<Prepared> => {
      count += 1;
      const ids = { order_id: `order${count}`, run_id: `run${count}`, theater_id: theaterId };
      const opening = theaters.get(theaterId) ?? openTestTheater(theaterId, root, log);
      theaters.set(theaterId, opening);
      const theater = await opening;
      const { worktreePath } = await createWorktree({ theater, orderId: ids.order_id });
      const full = {
        ...ids,
        type: 'draft',
        objective: 'Summarize the input into 5 bullets',
        inputs: { text: 'Apples are red. Pears are green. The delivery is due on Friday.' },
        constraints: { budget_seconds: 20, max_retries: 1 },
        profile: { name: 'executor_default', model: MODEL },
        ...(typeof order === 'object' && order),
      };
      const text = typeof order === 'string' ? order : JSON.stringify(full);
      await prepareWorktree({
        worktreePath,
        files: text === '' ? [] : [{ path: 'order.json', text }],
        exclude: ['state.json', 'inputs'],
      });
      const worktree_path = worktreePath;
      const job: JobMessage = { job_type: 'EXECUTE_ORDER', ...ids, worktree_path, attempt: 1 };
      return { theater, job, path: worktreePath };
    },

    /** The order, once it has ended; null before. */
    endOf: async (job: JobMessage): Promise<OrderState | null> => {
      const state = await stateOf(job);
      return state !== undefined && ['COMPLETED', 'FAILED', 'CANCELLED'].includes(state.status)
        ? state
        : null;
    },

    publish: (job: JobMessage, msgID?: string) =>
      broker.js.publish(jobSubject(job.theater_id, 'default'), JSON.stringify(job), {
        ...(msgID !== undefined && { msgID }),
      }),
    queueLength: async () => (await broker.jsm.streams.info('JOBS')).state.messages,

    ...createWorkers(connect, env),
    [Symbol.dispose]: () => rmSync(root, { recursive: true, force: true }),
  };
}

async function openTestTheater(id: string, root: string, log: EventLog): Promise<Theater> {
  const timestampSec = Math.floor(Date.now() / 1000);
  const repoPath = join(root, 'theaters', id, 'repo');
  const theater = await openTheater({ theaterId: id, repoPath, author: AUTHOR, timestampSec });
  const { worktreesPath: worktrees_path, mainline, headSha: head_sha } = theater;
  await log.append({
    event_id: `opened-${id}`,
    ts: new Date().toISOString(),
    type: 'THEATER_OPENED',
    garrison_id: 'local',
    theater_id: id,
    run_id: null,
    order_id: null,
    unit_id: null,
    payload: { repo_path: theater.repoPath, worktrees_path, mainline, head_sha },
  });
  return theater;
}

/** Workers, each with a connection of its own. */
function createWorkers(
  connect: () => Promise<Broker>,
  env: (more: Record<string, string>) => Record<string, string>,
) {
  let running: RunningWorker[] = [];
  let logged = '';
  const write = (line: string) => {
    logged += line;
    if (process.env.TEST_LOG_LEVEL) process.stderr.write(line);
  };
  return {
    /** All that the workers have logged. */
    logged: () => logged,
    startWorker: async (options: WorkerOptions = {}, more = {}): Promise<RunningWorker> => {
      const own = await connect();
      const context = workerContext(own, env(more), pino({ level: 'debug' }, { write }));
      const plain = Object.keys(options).length === 0;
      const role = plain
        ? await start(context)
        : createWorker(context, { graceMs: 200, ...options });
      const forget = () => {
        running = running.filter((one) => one !== worker);
      };
      const worker: RunningWorker = {
        client: createClient(null, { local: [role.service], logger: silent }),
        close: async () => {
          forget();
          await role.close();
          await own.close();
        },
        drop: async () => {
          forget();
          await own.nc.close();
          void role.close();
        },
      };
      running.push(worker);
      return worker;
    },
    stopWorkers: async () => {
      await Promise.all(running.map((worker) => worker.close()));
    },
  };
}
