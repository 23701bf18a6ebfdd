import { lstatSync, readFileSync, rmSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { AppError } from '#libs/contracts';
import type { Claim, Hold } from './lock.ts';
import { Lru } from './lru.ts';
import { hasCode } from './names.ts';

const SHA = /^[0-9a-f]{40}$/;

type Packed = { stamp: string; refs: Map<string, string> };
const packedCache = new Lru<Packed>(64);

/** The full ref of a branch. */
export function branchRef(branch: string): string {
  return `refs/heads/${branch}`;
}

/** The commit (or tag object) that a full ref names, symbolic refs followed; undefined if none. */
export function findRef(gitDir: string, ref: string, depth = 5): string | undefined {
  const text = readText(join(gitDir, ref))?.trim();
  if (text?.startsWith('ref: ')) {
    return depth > 0 ? findRef(gitDir, text.slice(5).trim(), depth - 1) : undefined;
  }
  if (text !== undefined && SHA.test(text)) return text;
  return packedRefs(gitDir).get(ref);
}

/** The branch that a HEAD file is on; undefined if it is detached. */
export function headBranch(adminPath: string): string | undefined {
  const text = readText(join(adminPath, 'HEAD'))?.trim();
  const prefix = 'ref: refs/heads/';
  return text?.startsWith(prefix) ? text.slice(prefix.length) : undefined;
}

/**
 * Moves a ref in one step, if it still is what `expected` says (undefined: must not exist).
 * @throws {VERSION_CONFLICT} if it is something else by now.
 */
export async function moveRef(
  hold: Hold,
  gitDir: string,
  ref: string,
  sha: string,
  expected: string | undefined,
): Promise<void> {
  const claim = await claimRef(hold, gitDir, ref);
  const actual = findRef(gitDir, ref);
  if (actual !== expected) {
    claim.abort();
    throw refMoved(ref, actual, expected);
  }
  claim.commit(`${sha}\n`);
}

/**
 * Deletes a ref with its log, if it still is at `expected`; a ref that is gone is left at that.
 * @throws {VERSION_CONFLICT} if it is at another commit by now.
 */
export async function deleteRef(
  hold: Hold,
  gitDir: string,
  ref: string,
  expected: string,
): Promise<void> {
  if (findRef(gitDir, ref) === undefined) return;
  const claim = await claimRef(hold, gitDir, ref);
  try {
    const actual = findRef(gitDir, ref);
    if (actual !== expected) throw refMoved(ref, actual, expected);
    // Packed first: the loose one hides it until both are gone.
    if (packedRefs(gitDir).has(ref)) await unpackRef(hold, gitDir, ref);
    rmSync(join(gitDir, ref), { force: true });
    rmSync(join(gitDir, 'logs', ref), { force: true });
  } finally {
    claim.abort();
  }
}

async function unpackRef(hold: Hold, gitDir: string, ref: string): Promise<void> {
  const path = join(gitDir, 'packed-refs');
  const claim = await hold.claim(path);
  const kept: string[] = [];
  let dropping = false;
  for (const line of (readText(path) ?? '').split('\n')) {
    // A line that starts with ^ belongs to the ref above it.
    dropping = line.startsWith('^') ? dropping : line.split(' ')[1] === ref;
    if (!dropping) kept.push(line);
  }
  claim.commit(kept.join('\n'));
}

async function claimRef(hold: Hold, gitDir: string, ref: string): Promise<Claim> {
  const clash = findClash(gitDir, ref);
  if (clash) {
    const params = { subject: ref, actual: clash, expected: 'no ref inside or around it' };
    throw new AppError('VERSION_CONFLICT', params, { field: 'branch' });
  }
  return hold.claim(join(gitDir, ref));
}

/** A ref cannot be a file and a folder: `refs/heads/a` excludes `refs/heads/a/b`. */
function findClash(gitDir: string, ref: string): string | undefined {
  const folder = lstatSync(join(gitDir, ref), { throwIfNoEntry: false })?.isDirectory();
  if (folder) return `${ref}/`;
  for (let up = dirname(ref); up !== 'refs' && up !== '.'; up = dirname(up)) {
    if (findRef(gitDir, up) !== undefined) return up;
  }
  for (const name of packedRefs(gitDir).keys()) {
    if (name.startsWith(`${ref}/`)) return name;
  }
  return undefined;
}

export function refMoved(
  ref: string,
  actual: string | undefined,
  expected: string | undefined,
): AppError {
  const params = { subject: ref, actual: actual ?? 'nothing', expected: expected ?? 'nothing' };
  return new AppError('VERSION_CONFLICT', params, { details: params });
}

function packedRefs(gitDir: string): Map<string, string> {
  const path = join(gitDir, 'packed-refs');
  const stat = statSync(path, { bigint: true, throwIfNoEntry: false });
  const stamp = stat ? `${stat.mtimeNs}-${stat.size}-${stat.ino}` : '';
  const cached = packedCache.get(path);
  if (cached?.stamp === stamp) return cached.refs;
  const refs = new Map<string, string>();
  for (const line of stat ? readFileSync(path, 'utf8').split('\n') : []) {
    const [sha = '', name] = line.split(' ');
    if (name && SHA.test(sha)) refs.set(name, sha);
  }
  packedCache.set(path, { stamp, refs });
  return refs;
}

/** A small text file; undefined if there is none. */
export function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ENOTDIR', 'EISDIR')) return undefined;
    throw error;
  }
}
