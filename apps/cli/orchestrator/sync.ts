import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Broker } from '#libs/broker';
import { AppError } from '#libs/contracts';
import { loadGate } from '#libs/missionlog';
import { accept, parseSelector, register } from '#libs/missions';
import { pino } from 'pino';
import type { Env } from './connect.ts';
import { homeOf, isAlive, readHomeBroker, runningPid } from './home.ts';
import type { Repository } from './repository.ts';
import { openSession, type Surroundings } from './session.ts';

export type Synced = { mission_slug: string; written: string[] };

const STOP_MS = 20_000;
const POLL_MS = 50;

/**
 * Mirrors one mission, or all of a repository, from the log into its files, also subtasks.
 * @throws {NAMESPACE_NOT_FOUND} there is no such mission
 */
export async function syncMissions(
  repository: Repository,
  mission: string | undefined,
  env: Env,
): Promise<Synced[]> {
  const around = surroundings(env);
  const slugs = mission === undefined ? slugsOf(repository.root) : [mission];
  const synced: Synced[] = [];
  for (const slug of slugs) {
    const opened = await openSession(repository, slug, around);
    if (!opened.ok) throw unknown(slug, repository);
    const session = opened.value;
    const written = await session.inTurn(() => session.mirror('all'));
    synced.push({ mission_slug: slug, written });
  }
  return synced;
}

/**
 * Tells the log of what a mission's files hold and it does not know yet.
 * @throws {NAMESPACE_NOT_FOUND} the repository has no such mission
 */
export async function registerMission(
  repository: Repository,
  mission: string,
  env: Env,
): Promise<void> {
  const brokers: Broker[] = [];
  try {
    const opened = (broker: Broker) => brokers.push(broker);
    const session = await openSession(repository, mission, { ...surroundings(env), opened });
    if (!session.ok) throw unknown(mission, repository);
    const { board } = session.value;
    await session.value.decide((state) =>
      accept({ events: register(board, state), answer: undefined }),
    );
  } finally {
    for (const broker of brokers) await broker.close();
  }
}

function unknown(mission: string, { root }: Repository): AppError {
  return new AppError('NAMESPACE_NOT_FOUND', { mission, project: root });
}

function surroundings(env: Env): Surroundings {
  return {
    env,
    cwd: process.cwd(),
    gate: loadGate(env),
    logger: pino({ level: env.IRONCLAW_LOG_LEVEL || 'warn' }, pino.destination(2)),
    now: () => new Date(),
  };
}

function slugsOf(root: string): string[] {
  const entries = readdirSync(join(root, 'kitty-specs'), { withFileTypes: true });
  return entries
    .filter((entry) => entry.isDirectory() && parseSelector(entry.name).ok)
    .map(({ name }) => name)
    .sort();
}

/** Stops what commands have started for a repository: the API kept loaded, and the broker. */
export async function stopHome(gitDir: string): Promise<{ broker?: number; warm?: number }> {
  const home = homeOf(gitDir);
  // Commands that it still runs need the broker.
  const warm = await stopProcess(runningPid(home.warm));
  const broker = await stopProcess(readHomeBroker(home.running)?.pid);
  return { ...(broker !== undefined && { broker }), ...(warm !== undefined && { warm }) };
}

async function stopProcess(pid: number | undefined): Promise<number | undefined> {
  if (pid === undefined) return undefined;
  process.kill(pid, 'SIGTERM');
  const deadline = performance.now() + STOP_MS;
  while (isAlive(pid)) {
    if (performance.now() > deadline) {
      throw new AppError('TIMEOUT', { what: `Stopping process ${pid}`, limit_ms: STOP_MS });
    }
    await sleep(POLL_MS);
  }
  return pid;
}
