import {
  mkdirSync,
  openSync,
  closeSync,
  fsyncSync,
  readFileSync,
  renameSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { EMPTY_RING, type KeyRing, readKeyRing } from '#libs/projects';

/** The key ring of an installation, in a file that only its user may read. */
export type KeyFile = {
  /** As it is on disk now: another process may have changed it. */
  read(): KeyRing;
  /** Changes it; the whole of it is on disk before it is answered. */
  change(next: (ring: KeyRing) => KeyRing): KeyRing;
};

/** @throws {Error} a damaged ring is told, never replaced by a new one */
export function openKeyFile(file: string): KeyFile {
  const read = (): KeyRing => {
    let text: string;
    try {
      text = readFileSync(file, 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return EMPTY_RING;
      throw error;
    }
    try {
      return readKeyRing(JSON.parse(text));
    } catch (error) {
      throw new Error(`${file} is damaged: ${(error as Error).message}`, { cause: error });
    }
  };
  read();
  return {
    read,
    change(next) {
      // All of it in one turn: no other request of this process comes between.
      const ring = read();
      const changed = next(ring);
      if (changed !== ring) write(file, JSON.stringify(changed, null, 2));
      return changed;
    },
  };
}

/** Beside it, then in its place: a crash leaves the old one or the new one. */
function write(file: string, text: string): void {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  const temporary = `${file}.${process.pid}.tmp`;
  const handle = openSync(temporary, 'w', 0o600);
  try {
    writeSync(handle, text);
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
  renameSync(temporary, file);
}
