import { mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import path from 'node:path';
import { GATE_LIMITS } from '#libs/contracts';
import type { Logger } from 'pino';

const PREFIX = 'ironclaw-gate-';
const HOST = hostname().replace(/[^A-Za-z0-9-]/g, '_');
/** No command runs for so long: what is older is nobody's. */
const STALE_MS = 2 * GATE_LIMITS.timeoutSecondsMax * 1_000;

/** A new folder for one command; its name tells whose it is. */
export function makeFolder(): Promise<string> {
  return mkdtemp(path.join(tmpdir(), `${PREFIX}${HOST}.${process.pid}.`));
}

/** Removes a folder with all that a command left in it; that it cannot be removed is logged. */
export async function removeFolder(folder: string, logger: Logger): Promise<void> {
  try {
    await rm(folder, { recursive: true, force: true, maxRetries: 3 });
  } catch (error) {
    logger.warn({ err: error, folder }, 'the folder of a gate could not be removed');
  }
}

/** Removes the folders of processes that were killed while a command ran. */
export async function removeStale(logger: Logger): Promise<void> {
  const names = (await readdir(tmpdir())).filter((name) => name.startsWith(PREFIX));
  for (const name of names) {
    const folder = path.join(tmpdir(), name);
    const [host, pid] = name.slice(PREFIX.length).split('.');
    const found = await stat(folder).catch(() => undefined); // somebody else was faster
    if (found === undefined) continue;
    const isOld = Date.now() - found.mtimeMs > STALE_MS;
    if (isOld || (host === HOST && !isAlive(Number(pid)))) await removeFolder(folder, logger);
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH';
  }
}
