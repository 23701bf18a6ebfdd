import { existsSync, lstatSync, readdirSync, rmdirSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { AppError } from '#libs/contracts';
import { archiveDigest } from './archive.ts';
import { statusOf } from './commit.ts';
import { orderLock, withLock } from './lock.ts';
import { fileDetail, requireId } from './names.ts';
import { adminPathOf, readRecord, type Worktree } from './records.ts';
import { readText } from './refs.ts';
import type { Theater } from './theater.ts';
import { turns } from './turns.ts';
import { removalMark, requireWorktree, worktreePathOf } from './worktree.ts';

/**
 * Removes an order's worktree, its folder and git's knowledge of it; its branch stays. Repeating
 * answers `removed: false`, and finishes a removal that died half way.
 * @throws {WORKTREE_DIRTY} if it holds uncommitted work that the last archive does not have, or is
 * locked, unless `force`.
 * @throws {WORKTREE_CONFLICT} if the folder is not a worktree of this theater.
 */
export async function removeWorktree(input: {
  theater: Theater;
  orderId: string;
  force?: boolean;
}): Promise<{ removed: boolean }> {
  const { theater } = input;
  const orderId = requireId('order_id', input.orderId);
  const worktreePath = worktreePathOf(theater, orderId);
  const adminPath = adminPathOf(theater.gitDir, orderId);
  return withLock(theater.gitDir, orderLock(orderId), async (hold) => {
    if (!existsSync(adminPath)) {
      if (!lstatSync(worktreePath, { throwIfNoEntry: false })) return { removed: false };
      throw new AppError('WORKTREE_CONFLICT', { id: orderId }, { details: { worktreePath } });
    }
    const mark = removalMark(adminPath);
    // Without an index, which is written last, it is a half-made copy in which nobody has worked.
    const isWhole = existsSync(worktreePath) && existsSync(join(adminPath, 'index'));
    if (isWhole && !existsSync(mark) && !input.force) {
      await requireNothingLost(theater, requireWorktree(theater, orderId));
    }
    hold.write(mark, '');
    const turn = turns();
    if (existsSync(worktreePath)) await removeFolder(worktreePath, turn);
    await removeFolder(adminPath, turn);
    return { removed: true };
  });
}

async function requireNothingLost(theater: Theater, worktree: Worktree): Promise<void> {
  const { orderId } = worktree;
  // git's own worktree lock.
  const locked = readText(join(worktree.adminPath, 'locked'))?.trim();
  if (locked !== undefined) {
    const details = { files: [], reason: locked };
    throw new AppError('WORKTREE_DIRTY', { id: orderId, files: `locked, ${locked}` }, { details });
  }
  const status = await statusOf(worktree.worktreePath);
  if (status.clean) return;
  const archived = readRecord(theater.gitDir, orderId)?.archive?.digest;
  if (archived !== undefined && archived === (await archiveDigest(worktree))) return;
  const { text, details } = fileDetail(status.changed);
  throw new AppError('WORKTREE_DIRTY', { id: orderId, files: text }, { details });
}

/** Removes a folder with all below it; links are removed, not followed. */
async function removeFolder(path: string, turn: ReturnType<typeof turns>): Promise<void> {
  for (const entry of readdirSync(path, { withFileTypes: true })) {
    const full = join(path, entry.name);
    if (entry.isDirectory()) await removeFolder(full, turn);
    else unlinkSync(full);
    await turn();
  }
  rmdirSync(path);
}
