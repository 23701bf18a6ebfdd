import { lstatSync, mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { hasCode } from './names.ts';

/**
 * Makes a folder with those above it. One by one: where a file system takes no folders, as /proc,
 * Node's own recursive mkdir never returns.
 * @throws the system's error: EACCES, ENOENT, ENOTDIR, EROFS, …
 */
export function makeFolder(path: string, mode = 0o777): void {
  try {
    mkdirSync(path, { mode });
  } catch (error) {
    if (hasCode(error, 'EEXIST')) return;
    const parent = dirname(path);
    const isMissing = lstatSync(parent, { throwIfNoEntry: false }) === undefined;
    if (!hasCode(error, 'ENOENT') || parent === path || !isMissing) throw error;
    makeFolder(parent, mode);
    makeFolder(path, mode);
  }
}
