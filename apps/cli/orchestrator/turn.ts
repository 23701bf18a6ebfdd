import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { AppError } from '#libs/contracts';

const SQLITE_BUSY = 5;
const POLL_MS = 5;

/**
 * Does `work` while no other process does work on the same path. The lock is one of the operating
 * system, held through SQLite, so it ends with its process however that ends.
 * @throws {TIMEOUT} others have it for longer than `waitMs`
 */
export async function inTurn<T>(path: string, waitMs: number, work: () => Promise<T>): Promise<T> {
  mkdirSync(dirname(path), { recursive: true });
  const deadline = performance.now() + waitMs;
  for (;;) {
    const database = tryTake(path);
    if (database !== undefined) {
      try {
        return await work();
      } finally {
        database.close();
      }
    }
    if (performance.now() >= deadline) {
      throw new AppError('TIMEOUT', { what: `Waiting for ${path}`, limit_ms: waitMs });
    }
    // Not in step with the others that wait.
    await sleep(POLL_MS + Math.random() * POLL_MS);
  }
}

function tryTake(path: string): DatabaseSync | undefined {
  const database = new DatabaseSync(path);
  try {
    database.exec('BEGIN EXCLUSIVE');
    return database;
  } catch (error) {
    database.close();
    if ((error as { errcode?: number }).errcode === SQLITE_BUSY) return undefined;
    throw error;
  }
}
