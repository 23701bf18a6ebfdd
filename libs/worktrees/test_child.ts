import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { archiveWorktree } from './archive.ts';
import { commitAll } from './commit.ts';
import { prepareWorktree } from './files.ts';
import { type Integration, integrate } from './integrate.ts';
import { removeWorktree } from './remove.ts';
import { author, at } from './test_kit.ts';
import type { Theater } from './theater.ts';
import { createWorktree } from './worktree.ts';

/** The whole life of an order's worktree; `remove` says whether to archive and remove it too. */
export async function lifecycle(
  theater: Theater,
  orderId: string,
  remove: boolean,
): Promise<Integration & { sha: string }> {
  const { worktreePath, branch } = await createWorktree({ theater, orderId });
  await prepareWorktree({
    worktreePath,
    files: [
      { path: 'aar.json', text: orderId },
      { path: `outputs/${orderId}/result.md`, text: `result of ${orderId}\n`.repeat(50) },
      { path: 'state.json', text: '{}' },
    ],
    exclude: ['state.json'],
  });
  const commit = { worktreePath, message: `work ${orderId}`, author, timestampSec: at };
  const { sha } = await commitAll(commit);
  const done = await integrate({
    theater,
    orderId,
    branch,
    expectedSha: sha,
    message: `Integrate ${orderId}`,
    author,
    timestampSec: at,
    branchOnly: ['aar.json'],
  });
  if (remove) {
    await archiveWorktree({ theater, orderId });
    await removeWorktree({ theater, orderId });
  }
  return { ...done, sha };
}

/**
 * Makes the process kill itself at its n-th change of the file system: before it, or for a write
 * after half of the bytes.
 */
function dieAtChange(n: number): void {
  let count = 0;
  const target = fs as unknown as Record<string, (...args: unknown[]) => unknown>;
  for (const name of ['writeFileSync', 'renameSync', 'linkSync', 'rmSync', 'unlinkSync', ...MORE]) {
    const original = target[name] as (...args: unknown[]) => unknown;
    target[name] = (...args) => {
      if (++count !== n) return original(...args);
      try {
        const [path, bytes] = args;
        if (name === 'writeFileSync') original(path, Buffer.from(bytes as string).subarray(0, 20));
      } finally {
        process.kill(process.pid, 'SIGKILL');
        for (;;); // the signal is on its way
      }
    };
  }
  syncBuiltinESMExports();
}

const MORE = ['mkdirSync', 'rmdirSync', 'symlinkSync', 'chmodSync', 'appendFileSync'];

// Run as a program: lives the given orders, all at once or one after the other, until killed.
if (process.argv[1] === import.meta.filename) {
  const [theater = '', mode, ...orderIds] = process.argv.slice(2);
  const dieAt = process.env['IRONCLAW_DIE_AT'];
  if (dieAt !== undefined) dieAtChange(Number(dieAt));
  const live = (id: string) => lifecycle(JSON.parse(theater) as Theater, id, mode !== 'keep');
  if (mode === 'serial') for (const id of orderIds) await live(id);
  else await Promise.all(orderIds.map(live));
}
