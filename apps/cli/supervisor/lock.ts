import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { AppError } from '#libs/contracts';
import { readRunning } from './running.ts';

const SQLITE_BUSY = 5;

/**
 * Takes the state folder for this process. The lock is one of the operating system, held through
 * SQLite, so it ends with the process however that ends.
 * @returns gives the folder free; idempotent
 * @throws {ALREADY_RUNNING} another `up` has it
 */
export function lockState(stateDir: string, runningPath: string): () => void {
  const database = new DatabaseSync(join(stateDir, 'up.lock'));
  try {
    database.exec('BEGIN EXCLUSIVE');
  } catch (error) {
    database.close();
    if ((error as { errcode?: number }).errcode !== SQLITE_BUSY) throw error;
    const pid = readRunning(runningPath)?.pid ?? 'unknown';
    throw new AppError('ALREADY_RUNNING', { path: stateDir, pid });
  }
  return () => {
    if (database.isOpen) database.close();
  };
}
