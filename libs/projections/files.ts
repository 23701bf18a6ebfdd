import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';

/**
 * The files of one projection: `<name>.<n>.db` is build number n, `<name>.current` holds the number
 * that is served. A build of another number is a rebuild that never finished.
 */
export type Builds = {
  path(build: number): string;
  /** The build to serve; undefined if there is none yet. */
  current(): number | undefined;
  /** A number that no file has. */
  next(): number;
  /** From now on, and after a restart, `build` is the one to serve. */
  adopt(build: number): void;
  remove(build: number): void;
  /** Keeps a damaged build as `<name>.damaged.db` for whoever looks into it (the last one only). */
  setAside(build: number): void;
  /** Removes every build but `keep`. */
  sweep(keep: number | undefined): void;
};

const PARTS = ['', '-wal', '-shm'] as const;

export function openBuilds(folder: string, name: string): Builds {
  mkdirSync(folder, { recursive: true });
  const pointer = join(folder, `${name}.current`);
  const path = (build: number): string => join(folder, `${name}.${build}.db`);

  const numbers = (): number[] => {
    const found = new Set<number>();
    for (const file of readdirSync(folder)) {
      if (!file.startsWith(`${name}.`)) continue;
      const match = /^(\d+)\.db(?:-wal|-shm)?$/.exec(file.slice(name.length + 1));
      if (match !== null) found.add(Number(match[1]));
    }
    return [...found];
  };
  const remove = (build: number): void => {
    for (const part of PARTS) rmSync(path(build) + part, { force: true });
  };

  return {
    path,
    remove,
    current() {
      try {
        const build = Number(readFileSync(pointer, 'utf8').trim());
        return Number.isSafeInteger(build) && build > 0 ? build : undefined;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
        throw error;
      }
    },
    next: () => Math.max(0, ...numbers()) + 1,
    adopt(build) {
      const temporary = `${pointer}.tmp`;
      const file = openSync(temporary, 'w');
      try {
        writeSync(file, `${build}\n`);
        fsyncSync(file);
      } finally {
        closeSync(file);
      }
      renameSync(temporary, pointer);
    },
    setAside(build) {
      const aside = join(folder, `${name}.damaged.db`);
      for (const part of PARTS) {
        rmSync(aside + part, { force: true });
        try {
          renameSync(path(build) + part, aside + part);
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
        }
      }
    },
    sweep(keep) {
      for (const build of numbers()) if (build !== keep) remove(build);
    },
  };
}
