import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { LIMITS } from '#libs/contracts';
import { finishQuarantine, folderOf, LOCKED, type Mark, markOf } from './aside.ts';
import { headOf } from './commit.ts';
import type { FileInput } from './files.ts';
import { childPath, inFolder, readChild } from './inside.ts';
import { WORKTREE_LIMITS } from './limits.ts';
import { orderLock, withLock } from './lock.ts';
import { orderOfName, pathParts, requireId, worktreeName } from './names.ts';
import { readText } from './refs.ts';
import { tooLarge, tooMany } from './scan.ts';
import type { Theater } from './theater.ts';
import { requireWorktree } from './worktree.ts';

/** A worktree that is kept for inspection and not used again. */
export type QuarantinedWorktree = {
  orderId: string;
  worktreePath: string;
  reason: string;
};

const REASON_CHARS = 500;

/**
 * Sets an order's worktree aside as `quarantine/order_<id>.<n>` beside the worktrees, so that a new
 * one can be made in its place. Its files stay as they are; its HEAD is detached at the branch's
 * commit, because the branch goes on with the new one. It stays a worktree of git, locked with the
 * reason: `git worktree list` shows it and `prune` leaves it alone.
 * @param confirm runs when the worktree is there and nobody else can change it; a throw leaves it
 * @throws {WORKTREE_NOT_FOUND} if the order has none
 */
export async function quarantineWorktree(input: {
  theater: Theater;
  orderId: string;
  reason: string;
  confirm?: () => Promise<void>;
}): Promise<QuarantinedWorktree> {
  const { theater } = input;
  const orderId = requireId('order_id', input.orderId);
  return withLock(theater.gitDir, orderLock(orderId), async (hold) => {
    finishQuarantine(hold, theater, orderId);
    const worktree = requireWorktree(theater, orderId);
    await input.confirm?.();
    const reason = input.reason.replace(/\s+/g, ' ').trim().slice(0, REASON_CHARS);
    const mark: Mark = { name: freeName(theater, orderId), sha: headOf(worktree), reason };
    hold.write(markOf(worktree.adminPath), JSON.stringify(mark));
    finishQuarantine(hold, theater, orderId);
    return { orderId, worktreePath: join(folderOf(theater), mark.name), reason };
  });
}

/** The quarantined worktrees of a theater, or of one order, oldest first within an order. */
export function listQuarantined(theater: Theater, orderId?: string): QuarantinedWorktree[] {
  const folder = folderOf(theater);
  const names = existsSync(folder) ? readdirSync(folder) : [];
  return names
    .map((name) => ({ name, ...partsOf(name) }))
    .filter((one) => one.orderId !== undefined && (orderId ?? one.orderId) === one.orderId)
    .sort((a, b) => (a.orderId === b.orderId ? a.count - b.count : a.name < b.name ? -1 : 1))
    .map((one) => {
      const locked = readText(join(theater.gitDir, 'worktrees', one.name, 'locked')) ?? '';
      const reason = locked.startsWith(LOCKED) ? locked.slice(LOCKED.length).trim() : '';
      return { orderId: one.orderId as string, worktreePath: join(folder, one.name), reason };
    });
}

/**
 * The regular files that a quarantined worktree holds at or below `paths`; links are left out.
 * @throws {PAYLOAD_TOO_LARGE} a file over 8 MiB, or too many
 */
export function readQuarantined(
  { worktreePath }: QuarantinedWorktree,
  paths: readonly string[],
): FileInput[] {
  const found: FileInput[] = [];
  for (const path of paths) readBelow(worktreePath, pathParts(path), found);
  return found;
}

function readBelow(root: string, parts: string[], found: FileInput[]): void {
  if (found.length > LIMITS.inputFiles * 4) throw tooMany();
  if (parts.length > WORKTREE_LIMITS.folderDepth) return;
  const name = parts.at(-1) ?? '';
  const below = inFolder(root, parts.slice(0, -1), false, (folder) => {
    const entry = readdirSync(childPath(folder, '.'), { withFileTypes: true }).find(
      (one) => one.name === name,
    );
    if (entry?.isDirectory()) {
      return inFolder(root, parts, false, (inner) => readdirSync(childPath(inner, '.')));
    }
    const read = entry?.isFile() ? readChild(folder, name, LIMITS.artifactBytes) : undefined;
    if (read === undefined) return [];
    const path = parts.join('/');
    if (read.bytes.length > LIMITS.artifactBytes) throw tooLarge(path, LIMITS.artifactBytes);
    found.push({ path, bytes: read.bytes });
    return [];
  });
  for (const child of (below ?? []).sort()) readBelow(root, [...parts, child], found);
}

function freeName(theater: Theater, orderId: string): string {
  for (let count = 1; ; count += 1) {
    const name = `${worktreeName(orderId)}.${count}`;
    const isTaken =
      existsSync(join(folderOf(theater), name)) ||
      existsSync(join(theater.gitDir, 'worktrees', name));
    if (!isTaken) return name;
  }
}

function partsOf(name: string): { orderId: string | undefined; count: number } {
  const match = /^(.+)\.(\d+)$/.exec(name);
  return { orderId: orderOfName(match?.[1] ?? ''), count: Number(match?.[2]) };
}
