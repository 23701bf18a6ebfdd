import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';

/** A folder that this process has for itself. */
export type Slot = {
  readonly folder: string;
  /** Gives it free; idempotent. */
  release(): void;
};

/** Processes that share one folder at most. */
const SLOTS_MAX = 64;
const SQLITE_BUSY = 5;

/**
 * Takes the first subfolder (`0`, `1`, …) of `base` that no other process has, so that several
 * processes of one role keep their view files apart and find them again after a restart. The lock
 * is the operating system's (held through SQLite), so it ends with the process.
 */
export function claimSlot(base: string): Slot {
  for (let index = 0; index < SLOTS_MAX; index += 1) {
    const folder = join(base, String(index));
    mkdirSync(folder, { recursive: true });
    const lock = new DatabaseSync(join(folder, 'slot.lock'));
    try {
      lock.exec('BEGIN EXCLUSIVE');
      return {
        folder,
        release() {
          if (lock.isOpen) lock.close();
        },
      };
    } catch (error) {
      lock.close();
      if ((error as { errcode?: number }).errcode !== SQLITE_BUSY) throw error;
    }
  }
  throw new Error(`all ${SLOTS_MAX} folders of ${base} are in use`);
}
