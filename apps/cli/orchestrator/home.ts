import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { invalid, MISSIONS_IDLE } from '#libs/contracts';

/** Where the broker that commands start for a repository keeps what it has; never tracked by git. */
export function homeOf(gitDir: string) {
  const folder = join(gitDir, 'ironclaw', 'missions');
  return {
    folder,
    broker: join(folder, 'broker'),
    running: join(folder, 'running.json'),
    startLock: join(folder, 'start.lock'),
    unanswered: join(folder, 'unanswered.json'),
    mirrorLock: join(folder, 'mirror.lock'),
    log: join(folder, 'broker.log'),
    warm: join(folder, 'warm.json'),
    warmLock: join(folder, 'warm.lock'),
    clock: join(folder, 'clock.json'),
  };
}

/**
 * How long what commands have started may be idle (IRONCLAW_MISSIONS_IDLE_SECONDS), ms.
 * @throws {INVALID_REQUEST} it is out of its bounds
 */
export function idleMsOf(env: Readonly<Record<string, string | undefined>>): number {
  const seconds = Number(env.IRONCLAW_MISSIONS_IDLE_SECONDS || MISSIONS_IDLE.standard);
  if (seconds >= 1 && seconds <= MISSIONS_IDLE.max) return seconds * 1_000;
  throw invalid('IRONCLAW_MISSIONS_IDLE_SECONDS', `must be 1 to ${MISSIONS_IDLE.max}`);
}

export type Home = ReturnType<typeof homeOf>;

/** What a running broker of a repository tells commands. */
export type HomeBroker = { pid: number; nats_url: string; nats_token: string; started_at: string };

/** Written whole or not at all; readable by its owner alone. */
export function writeHomeBroker(path: string, running: HomeBroker): void {
  const temporary = `${path}.${process.pid}`;
  writeFileSync(temporary, `${JSON.stringify(running, null, 2)}\n`, { mode: 0o600 });
  renameSync(temporary, path);
}

export function removeHomeBroker(path: string): void {
  rmSync(path, { force: true });
}

/** The broker that runs for the repository; undefined: none, or a killed one left the file. */
export function readHomeBroker(path: string): HomeBroker | undefined {
  let value: Partial<HomeBroker> | null;
  try {
    value = JSON.parse(readFileSync(path, 'utf8')) as Partial<HomeBroker> | null;
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === 'ENOENT';
    if (missing || error instanceof SyntaxError) return undefined;
    throw error;
  }
  const { pid, nats_url, nats_token, started_at } = value ?? {};
  if (typeof pid !== 'number' || typeof nats_url !== 'string') return undefined;
  if (typeof nats_token !== 'string' || !isAlive(pid)) return undefined;
  return { pid, nats_url, nats_token, started_at: String(started_at) };
}

/** The pid in a file that a process has written about itself; undefined: it does not run. */
export function runningPid(path: string): number | undefined {
  try {
    const { pid } = JSON.parse(readFileSync(path, 'utf8')) as { pid?: unknown };
    return typeof pid === 'number' && isAlive(pid) ? pid : undefined;
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === 'ENOENT';
    if (missing || error instanceof SyntaxError) return undefined;
    throw error;
  }
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
