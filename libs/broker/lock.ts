import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { AppError } from '#libs/contracts';
import { processIdentity } from './process.ts';

/** Who uses a data directory: our process, and the nats-server it started. */
export type Owner = { pid: number; server: { pid: number; identity: string } | null };

/** Exclusive use of a data directory. */
export type DirectoryLock = {
  /** The nats-server that the last owner left running, if it is still there. */
  orphan: { pid: number; identity: string } | null;
  /** Remembers the server, so that the next owner can find it if we are killed. */
  recordServer(serverPid: number): Promise<void>;
  /** Gives the directory free; idempotent. Call it when the server has ended. */
  release(): void;
};

const SQLITE_BUSY = 5;

/**
 * Takes the data directory for this process. The lock is one of the operating system (held through
 * SQLite on `broker.lock`), so it ends with the process, however that ends, and never goes stale;
 * `broker.json` beside it says who holds it. Nothing else in this process may open `broker.lock`:
 * POSIX drops the lock when any handle of the process on it is closed.
 *
 * @throws {ALREADY_RUNNING} with the path and the pid of the holder
 */
export async function lockDirectory(dataDir: string): Promise<DirectoryLock> {
  const recordPath = join(dataDir, 'broker.json');
  const database = new DatabaseSync(join(dataDir, 'broker.lock'));
  try {
    database.exec('BEGIN EXCLUSIVE');
  } catch (error) {
    database.close();
    if ((error as { errcode?: number }).errcode !== SQLITE_BUSY) throw error;
    const pid = (await readOwner(recordPath))?.pid ?? 'unknown';
    throw new AppError('ALREADY_RUNNING', { path: dataDir, pid }, { details: { dataDir, pid } });
  }
  try {
    const orphan = await findOrphan(recordPath);
    await writeOwner(recordPath, { pid: process.pid, server: orphan });
    return {
      orphan,
      async recordServer(serverPid) {
        const identity = await processIdentity(serverPid);
        const server = identity === null ? null : { pid: serverPid, identity };
        await writeOwner(recordPath, { pid: process.pid, server });
      },
      release() {
        if (database.isOpen) database.close();
      },
    };
  } catch (error) {
    database.close();
    throw error;
  }
}

async function findOrphan(recordPath: string): Promise<DirectoryLock['orphan']> {
  const server = (await readOwner(recordPath))?.server ?? null;
  if (server === null) return null;
  return (await processIdentity(server.pid)) === server.identity ? server : null;
}

/** Null if there is none or it is torn: then the lock alone decides. */
async function readOwner(recordPath: string): Promise<Owner | null> {
  try {
    return JSON.parse(await readFile(recordPath, 'utf8')) as Owner;
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === 'ENOENT';
    if (missing || error instanceof SyntaxError) return null;
    throw error;
  }
}

async function writeOwner(recordPath: string, owner: Owner): Promise<void> {
  const temporary = `${recordPath}.${process.pid}`;
  await writeFile(temporary, JSON.stringify(owner));
  await rename(temporary, recordPath);
}
