import { createHash, randomUUID } from 'node:crypto';
import { readFile, realpath, stat } from 'node:fs/promises';
import { hostname, userInfo } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { createFile, readText, replaceFile } from './files.ts';

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** Machine and user, the same in all checkouts: 12 hex digits. Source: reference §0. */
export function nodeId(host = hostname(), user = userInfo().username): string {
  return createHash('sha256').update(`${host}:${user}`).digest('hex').slice(0, 12);
}

/** The git folder of the checkout at `root` itself: a linked worktree's own, not the common one. */
export async function gitFolder(root: string): Promise<string> {
  const path = join(root, '.git');
  if ((await stat(path)).isDirectory()) return path;
  const pointer = /^gitdir: (.+?)\s*$/m.exec(await readFile(path, 'utf8'))?.[1];
  if (pointer === undefined) throw new Error(`${path} is no pointer to a git folder`);
  return resolve(dirname(path), pointer);
}

type Saved = { build_id: string; root: string };

/**
 * The id of one checkout, a UUID. It lives in the checkout's own git folder, which git never
 * tracks, never clones, and gives each linked worktree for itself; so it stays over restarts and
 * moves, and differs between worktrees, clones and copies.
 */
export async function buildId(checkout: string): Promise<string> {
  const root = await realpath(checkout);
  const path = join(await gitFolder(root), 'ironclaw-build.json');
  const saved = parseSaved(await readText(path));
  if (saved?.root === root) return saved.build_id;
  if (saved !== undefined && !(await isCheckout(saved))) {
    await replaceFile(path, render({ ...saved, root }));
    return saved.build_id;
  }
  // New, a copy of a checkout that goes on to exist, or a file that nobody can read.
  const fresh = { build_id: randomUUID(), root };
  if ((await readText(path)) !== undefined) await replaceFile(path, render(fresh));
  else if (!(await createFile(path, render(fresh)))) return buildId(checkout);
  return fresh.build_id;
}

/** Does the checkout that an id was made for still have it? Then it was copied, not moved. */
async function isCheckout({ root, build_id }: Saved): Promise<boolean> {
  try {
    const path = join(await gitFolder(root), 'ironclaw-build.json');
    return parseSaved(await readText(path))?.build_id === build_id;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return false;
    throw error;
  }
}

function render(saved: Saved): string {
  return `${JSON.stringify(saved)}\n`;
}

function parseSaved(text: string | undefined): Saved | undefined {
  try {
    const value = JSON.parse(text ?? '') as Partial<Saved> | null;
    const isId = typeof value?.build_id === 'string' && UUID.test(value.build_id);
    return isId && typeof value.root === 'string' ? (value as Saved) : undefined;
  } catch {
    // Missing or corrupt: the caller makes a new one.
    return undefined;
  }
}
