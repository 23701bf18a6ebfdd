import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Hold } from './lock.ts';
import { worktreeName } from './names.ts';
import { adminPathOf } from './records.ts';
import { readText } from './refs.ts';
import type { Theater } from './theater.ts';

/** What is written before the move, so that whoever comes next can finish it. */
export type Mark = { name: string; sha: string; reason: string };

/** What git's lock of a quarantined worktree begins with. */
export const LOCKED = 'quarantined: ';

/** Finishes a move that was begun; the order's lock must be held. */
export function finishQuarantine(hold: Hold, theater: Theater, orderId: string): void {
  const adminPath = adminPathOf(theater.gitDir, orderId);
  const text = readText(markOf(adminPath));
  if (text === undefined) return;
  const { name, sha, reason } = JSON.parse(text) as Mark;
  const from = join(theater.worktreesPath, worktreeName(orderId));
  const to = join(folderOf(theater), name);
  const newAdminPath = join(dirname(adminPath), name);
  hold.write(join(adminPath, 'locked'), `${LOCKED}${reason}\n`);
  hold.write(join(adminPath, 'HEAD'), `${sha}\n`);
  mkdirSync(folderOf(theater), { recursive: true });
  if (existsSync(from)) renameSync(from, to);
  hold.write(join(to, '.git'), `gitdir: ${newAdminPath}\n`);
  hold.write(join(adminPath, 'gitdir'), `${join(to, '.git')}\n`);
  renameSync(adminPath, newAdminPath);
  rmSync(markOf(newAdminPath), { force: true });
}

/** Where a theater keeps what was set aside. */
export function folderOf(theater: Theater): string {
  return join(dirname(theater.worktreesPath), 'quarantine');
}

/** The mark in the admin folder of a worktree that is being set aside. */
export function markOf(adminPath: string): string {
  return join(adminPath, 'ironclaw-quarantine');
}
