import {
  chmodSync,
  lstatSync,
  mkdirSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { type IndexEntry, indexEntry, NO_STAMP, stampOf } from './index_file.ts';
import { hasCode } from './names.ts';
import { readBlobBytes } from './objects.ts';
import { Mode, type TreeFile } from './trees.ts';
import { turns } from './turns.ts';

/**
 * Writes files of a tree below `dir` and answers their index entries; `put` makes each file or link
 * at its full path, whose folder is there.
 */
export async function writeTreeFiles(
  gitDir: string,
  dir: string,
  files: readonly TreeFile[],
  put: (file: TreeFile, full: string, bytes: Buffer) => void,
): Promise<IndexEntry[]> {
  const entries: IndexEntry[] = [];
  const turn = turns();
  let folder = '';
  for (const file of files) {
    await turn();
    const full = join(dir, file.path);
    if (dirname(full) !== folder) {
      folder = dirname(full);
      mkdirSync(folder, { recursive: true });
    }
    if (file.mode === Mode.gitlink) {
      mkdirSync(full, { recursive: true }); // a submodule that is not checked out
      entries.push(indexEntry(file.path, file.mode, file.oid, NO_STAMP));
      continue;
    }
    put(file, full, await readBlobBytes(gitDir, file.oid));
    const stamp = stampOf(lstatSync(full, { bigint: true }));
    entries.push(indexEntry(file.path, file.mode, file.oid, stamp));
  }
  return entries;
}

/** Makes the file or link of a tree entry at a path where there is nothing yet. */
export function makeFile(path: string, mode: number, bytes: Buffer): void {
  if (mode === Mode.symlink) {
    symlinkSync(bytes.toString(), path);
    return;
  }
  writeFileSync(path, bytes, { flag: 'wx' });
  if (mode === Mode.executable) chmodSync(path, 0o755);
}

/** Removes a file and the folders that this leaves empty, up to `dir`. */
export function removeFile(dir: string, path: string): void {
  rmSync(join(dir, path), { force: true });
  for (let up = dirname(path); up !== '.'; up = dirname(up)) {
    try {
      rmdirSync(join(dir, up));
    } catch (error) {
      if (hasCode(error, 'ENOTEMPTY', 'EEXIST', 'ENOENT', 'ENOTDIR')) return;
      throw error;
    }
  }
}
