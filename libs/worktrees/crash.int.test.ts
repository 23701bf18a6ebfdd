import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { commitAll } from './commit.ts';
import { writeFiles } from './files.ts';
import { integrate } from './integrate.ts';
import { lifecycle } from './test_child.ts';
import { author, at, fsck, git, laneOf, scratch } from './test_kit.ts';
import type { Theater } from './theater.ts';
import { listWorktrees } from './listing.ts';
import { createWorktree } from './worktree.ts';

const childFile = join(import.meta.dirname, 'test_child.ts');

function startChild(
  theater: Theater,
  mode: 'keep' | 'serial',
  orderIds: string[],
  env: Record<string, string> = {},
): ChildProcess {
  const child = spawn(process.execPath, [childFile, JSON.stringify(theater), mode, ...orderIds], {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { ...process.env, ...env },
  });
  onTestFinished(() => void child.kill('SIGKILL')); // where the test fails before it ends
  return child;
}

async function exitOf(child: ChildProcess): Promise<number | null> {
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  return child.exitCode;
}

/** Every `.lock` file below the git dir and every file that is waiting to be put in place. */
function leftovers(theater: Theater): string[] {
  const names = readdirSync(theater.gitDir, { recursive: true, encoding: 'utf8' });
  return names.filter((name) => name.endsWith('.lock') || /ironclaw\/stage\/[^/]+\//.test(name));
}

function ids(prefix: string, count: number): string[] {
  return Array.from({ length: count }, (_, i) => `${prefix}${i}`);
}

test('many orders at once, in three processes, all get onto the mainline', async () => {
  using s = scratch();
  const theater = await s.theater();
  const own = ids('own', 12);
  const children = ['x', 'y'].map((name) => startChild(theater, 'keep', ids(name, 6)));
  const done = await Promise.all(own.map((id) => lifecycle(theater, id, false)));
  expect(await Promise.all(children.map(exitOf))).toEqual([0, 0]);
  expect(new Set(done.map((order) => order.commitSha)).size).toBe(12);
  expect(done.every((order) => !order.alreadyMerged)).toBe(true);
  expect(git(theater.repoPath, 'rev-list', '--first-parent', '--count', 'main')).toBe('25');
  expect(git(theater.repoPath, 'status', '--porcelain')).toBe('');
  expect(git(theater.repoPath, 'ls-files', 'outputs').split('\n')).toHaveLength(24);
  const worktrees = await listWorktrees(theater);
  expect(worktrees).toHaveLength(24);
  expect(git(theater.repoPath, 'worktree', 'list').split('\n')).toHaveLength(25);
  for (const { worktreePath } of worktrees.slice(0, 6)) {
    expect(git(worktreePath, 'status', '--porcelain')).toBe('');
  }
  expect(leftovers(theater)).toEqual([]);
  fsck(theater.repoPath);
}, 60_000);

test('of two conflicting orders at once exactly one gets in', async () => {
  using s = scratch();
  const theater = await s.theater();
  const work = async (orderId: string) => {
    const { worktreePath, branch } = await createWorktree({ theater, orderId });
    await writeFiles(worktreePath, [{ path: 'same', text: orderId }]);
    await commitAll({ worktreePath, message: 'm', author, timestampSec: at });
    return { theater, orderId, branch, message: 'm', author, timestampSec: at };
  };
  for (let round = 0; round < 5; round++) {
    const orders = [await work(`a${round}`), await work(`b${round}`)];
    const results = await Promise.allSettled(orders.map(integrate));
    expect(results.map((result) => result.status).sort()).toEqual(['fulfilled', 'rejected']);
    const failed = results.find((result) => result.status === 'rejected');
    expect(failed?.reason).toMatchObject({ code: 'MERGE_CONFLICT', details: { files: ['same'] } });
    expect(git(theater.repoPath, 'status', '--porcelain')).toBe('');
  }
  expect(git(theater.repoPath, 'rev-list', '--first-parent', '--count', 'main')).toBe('6');
  fsck(theater.repoPath);
});

/** True if the process was killed before its order's life was over. */
async function dieAndComplete(
  theater: Theater,
  dieAt: number,
  checkout = theater.repoPath,
): Promise<boolean> {
  const { mainline } = theater;
  const orderId = `kill-${dieAt}`;
  const child = startChild(theater, 'serial', [orderId], { IRONCLAW_DIE_AT: String(dieAt) });
  if ((await exitOf(child)) === 0) return false;
  expect(child.signalCode).toBe('SIGKILL');
  const { commitSha, sha } = await lifecycle(theater, orderId, dieAt % 2 === 0);
  expect(git(checkout, 'rev-parse', mainline)).toBe(commitSha);
  // Killed while its worktree was removed, the order may find its work on the mainline already.
  expect([git(checkout, 'rev-parse', `${mainline}^2`), commitSha]).toContain(sha);
  // That one starts over as a new attempt, whose promotion then changes no file.
  const trees = git(checkout, 'log', '--first-parent', '--format=%T', mainline).split('\n');
  expect(new Set(trees).size).toBe(2);
  const path = join(checkout, 'outputs', orderId, 'result.md');
  expect(readFileSync(path, 'utf8')).toContain(`result of ${orderId}\n`);
  expect(git(theater.repoPath, 'status', '--porcelain')).toBe('');
  expect(git(checkout, 'status', '--porcelain', '-b')).toBe(`## ${mainline}`);
  expect(git(theater.repoPath, 'worktree', 'prune', '--dry-run', '-v')).toBe('');
  expect(leftovers(theater)).toEqual([]);
  fsck(theater.repoPath);
  return true;
}

/** One change in thirteen, others on every run; IRONCLAW_KILL_EVERY=1 tries them all. */
async function dieEverywhere(die: (dieAt: number) => Promise<boolean>): Promise<void> {
  const every = Number(process.env['IRONCLAW_KILL_EVERY'] ?? 13);
  let dieAt = 1 + (Date.now() % every);
  while (await die(dieAt)) dieAt += every;
  expect(dieAt).toBeGreaterThan(60); // a life has at least so many changes
}

test('a process killed at any change of the files is completed by the same call', async () => {
  using s = scratch();
  await dieEverywhere(async (dieAt) => dieAndComplete(await s.theater(`t${dieAt}`), dieAt));
}, 120_000);

test('so is one that promotes to the lane of a mission, and main does not move', async () => {
  using s = scratch();
  await dieEverywhere(async (dieAt) => {
    const theater = await s.theater(`t${dieAt}`);
    const { lane, path } = laneOf(theater);
    const died = await dieAndComplete(lane, dieAt, path);
    expect(git(theater.repoPath, 'rev-parse', 'main')).toBe(theater.headSha);
    return died;
  });
}, 120_000);
