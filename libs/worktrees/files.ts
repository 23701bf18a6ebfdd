import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { AppError, invalid, LIMITS } from '#libs/contracts';
import { childPath, childStat, inFolder, placeFile, readChild } from './inside.ts';
import { WORKTREE_LIMITS } from './limits.ts';
import { type Hold, MAINLINE_LOCK, orderLock, withLock } from './lock.ts';
import { isGitName, pathParts, refused } from './names.ts';
import { openWorktree } from './records.ts';
import { readText } from './refs.ts';
import { tooLarge, tooMany } from './scan.ts';
import { turns } from './turns.ts';

/** A file to write: text is UTF-8. */
export type FileInput = { path: string } & ({ text: string } | { bytes: Uint8Array });

/**
 * Writes files into a worktree, each in one step; folders are made as needed. Harmless to repeat.
 * @throws {PATH_OUTSIDE_THEATER} for paths that leave the worktree.
 * @throws {TOOL_POLICY_VIOLATION} for a symlink on the way, a folder in the place, or `.git`.
 * @throws {PAYLOAD_TOO_LARGE} for a file of more than 8 MiB.
 */
export async function writeFiles(worktreePath: string, files: readonly FileInput[]): Promise<void> {
  const worktree = openWorktree(worktreePath);
  const wanted = files.map((file) => ({ parts: requireFile(file.path), bytes: bytesOf(file) }));
  await withLock(worktree.gitDir, orderLock(worktree.orderId), async (hold) => {
    const turn = turns();
    for (const { parts, bytes } of wanted) {
      await turn();
      writeOne(hold, worktreePath, parts, bytes);
    }
  });
}

function writeOne(hold: Hold, root: string, parts: readonly string[], bytes: Uint8Array): void {
  const name = parts.at(-1) ?? '';
  inFolder(root, parts.slice(0, -1), true, (folder) => {
    const from = hold.temp();
    writeFileSync(from, bytes, { flag: 'wx' });
    placeFile(from, folder, name);
  });
}

function bytesOf(file: FileInput): Uint8Array {
  const bytes = 'text' in file ? Buffer.from(file.text) : file.bytes;
  if (bytes.length > LIMITS.artifactBytes) throw tooLarge(file.path, LIMITS.artifactBytes);
  return bytes;
}

function requireFile(path: string): string[] {
  const parts = pathParts(path);
  if (parts.length === 0) throw invalid('path', 'must name a file');
  return parts;
}

/**
 * Writes the given files and keeps the paths of `exclude` out of git: they are listed in the
 * repository's own exclude file (never in a commit), so status and commit pass them over.
 */
export async function prepareWorktree(input: {
  worktreePath: string;
  files: readonly FileInput[];
  exclude?: readonly string[];
}): Promise<void> {
  const { gitDir } = openWorktree(input.worktreePath);
  await excludePaths(gitDir, input.exclude ?? []);
  await writeFiles(input.worktreePath, input.files);
}

async function excludePaths(gitDir: string, paths: readonly string[]): Promise<void> {
  const file = join(gitDir, 'info', 'exclude');
  const rules = paths.map(
    (path) =>
      `/${requireFile(path)
        .join('/')
        .replace(/[ *?[\]\\!#]/g, '\\$&')}`,
  );
  const missing = () => {
    const present = new Set((readText(file) ?? '').split('\n'));
    return rules.filter((rule) => !present.has(rule));
  };
  if (missing().length === 0) return;
  await withLock(gitDir, MAINLINE_LOCK, async (hold) => {
    const text = readText(file) ?? '';
    const start = text === '' || text.endsWith('\n') ? text : `${text}\n`;
    hold.write(file, `${start}${missing().join('\n')}\n`);
  });
}

/**
 * Reads a regular file of a worktree.
 * @throws {ARTIFACT_NOT_FOUND} if there is none; {PAYLOAD_TOO_LARGE} above `maxBytes`.
 * @throws {PATH_OUTSIDE_THEATER} or {TOOL_POLICY_VIOLATION} as writeFiles.
 */
export async function readFileInside(
  worktreePath: string,
  path: string,
  options: { maxBytes?: number } = {},
): Promise<Buffer> {
  const maxBytes = options.maxBytes ?? LIMITS.artifactBytes;
  const parts = requireFile(path);
  const read = inFolder(openWorktree(worktreePath).worktreePath, parts.slice(0, -1), false, (at) =>
    readChild(at, parts.at(-1) ?? '', maxBytes),
  );
  if (!read) throw new AppError('ARTIFACT_NOT_FOUND', { path }, { field: 'path' });
  if (read.bytes.length > maxBytes) throw tooLarge(path, maxBytes);
  return read.bytes;
}

/**
 * A file of a theater's main checkout, links never followed; undefined if there is none.
 * @throws {TOOL_POLICY_VIOLATION} for a symlink; {PAYLOAD_TOO_LARGE} above `maxBytes`.
 */
export function readCheckoutFile(
  { repoPath }: { repoPath: string },
  path: string,
  maxBytes: number,
): Buffer | undefined {
  const parts = requireFile(path);
  const read = inFolder(repoPath, parts.slice(0, -1), false, (at) =>
    readChild(at, parts.at(-1) ?? '', maxBytes),
  );
  if (read !== undefined && read.bytes.length > maxBytes) throw tooLarge(path, maxBytes);
  return read?.bytes;
}

/** Names of the regular files in a folder of a theater's main checkout; none if it is missing. */
export function namesInCheckout({ repoPath }: { repoPath: string }, path: string): string[] {
  const names = inFolder(repoPath, requireFile(path), false, (folder) =>
    readdirSync(childPath(folder, '.'), { withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map(({ name }) => name),
  );
  return (names ?? []).sort();
}

export type ListedFile = { path: string; bytes: number };

/**
 * The regular files below a folder of a worktree, in path order; links and special files are left
 * out and never followed. A missing folder has none.
 * @throws {PAYLOAD_TOO_LARGE} above `maxFiles` (default 100 000).
 */
export async function listFiles(
  worktreePath: string,
  options: { under?: string; maxFiles?: number } = {},
): Promise<ListedFile[]> {
  const parts = pathParts(options.under ?? '.', 'under');
  const root = openWorktree(worktreePath).worktreePath;
  const list = { root, maxFiles: options.maxFiles ?? WORKTREE_LIMITS.files, turn: turns() };
  const found: ListedFile[] = [];
  await listBelow(list, parts, found);
  return found.sort((a, b) => (a.path < b.path ? -1 : 1));
}

type Listing = { root: string; maxFiles: number; turn: ReturnType<typeof turns> };

async function listBelow(list: Listing, parts: string[], found: ListedFile[]): Promise<void> {
  await list.turn();
  if (parts.length > WORKTREE_LIMITS.folderDepth) throw refused('the folders are too deep');
  const folders: string[] = [];
  inFolder(list.root, parts, false, (folder) => {
    for (const entry of readdirSync(childPath(folder, '.'), { withFileTypes: true })) {
      if (isGitName(entry.name)) continue;
      if (entry.isDirectory()) folders.push(entry.name);
      if (!entry.isFile()) continue;
      const bytes = Number(childStat(folder, entry.name)?.size ?? 0n);
      found.push({ path: [...parts, entry.name].join('/'), bytes });
      if (found.length > list.maxFiles) throw tooMany();
    }
  });
  for (const name of folders) await listBelow(list, [...parts, name], found);
}
