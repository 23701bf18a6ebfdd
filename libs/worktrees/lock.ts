import {
  linkSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { AppError } from '#libs/contracts';
import { WORKTREE_LIMITS } from './limits.ts';
import { hasCode } from './names.ts';
import { tempName } from './temp_name.ts';

/** A git-style claim on one file: its `.lock` is ours until commit or abort. */
export type Claim = {
  /** Replaces the file with `bytes` in one step and gives the claim up. */
  commit(bytes: string | Uint8Array): void;
  /** Gives the claim up and leaves the file as it was. */
  abort(): void;
};

/** What the holder of a lock may do; leftovers of a holder that died are cleared on acquire. */
export type Hold = {
  /** Claims `target` (below the git dir) against real git too, waiting a bounded time. */
  claim(target: string): Promise<Claim>;
  /** A fresh path for a temporary file, on the file system of the git dir. */
  temp(): string;
  /** Writes a file of our own in one step. */
  write(target: string, bytes: string | Uint8Array): void;
};

/** Name of the lock that every change of a mainline needs. */
export const MAINLINE_LOCK = 'mainline';

const ORDER_LOCKS = 32;

/** Name of the lock that every change of an order's worktree needs; orders share 32 of them. */
export function orderLock(orderId: string): string {
  let hash = 0;
  for (const char of orderId) hash = (hash * 31 + char.charCodeAt(0)) >>> 0;
  return `order-${hash % ORDER_LOCKS}`;
}

/**
 * Runs `work` while nobody else, here or in another process, does so for the same order. For work of
 * several steps on its worktree, each of which takes the order's own lock.
 * @throws {TIMEOUT} if another takes longer than 30 s.
 */
export function inOrderTurn<T>(
  { gitDir }: { gitDir: string },
  orderId: string,
  work: () => Promise<T>,
): Promise<T> {
  return withLock(gitDir, `turn-${orderLock(orderId)}`, work);
}

/** Folder of our own files inside a git dir. */
export function stateDir(gitDir: string): string {
  return join(gitDir, 'ironclaw');
}

const queues = new Map<string, Promise<void>>();

/**
 * Runs `work` while holding a lock of the repository: first come first served inside this process,
 * polled between processes. The lock is the kernel's (taken through an empty SQLite file), so it
 * ends with its process and can never be stale.
 * @throws {TIMEOUT} if another holds it longer than `waitMs` (default 30 s).
 */
export async function withLock<T>(
  gitDir: string,
  name: string,
  work: (hold: Hold) => Promise<T>,
  waitMs: number = WORKTREE_LIMITS.lockWaitMs,
): Promise<T> {
  const path = join(stateDir(gitDir), 'locks', `${name}.db`);
  const deadline = performance.now() + waitMs;
  const before = queues.get(path);
  const turn = Promise.withResolvers<void>();
  // The next in line waits for us and, if we gave up waiting, for the one before us too.
  const tail = Promise.all([before, turn.promise]).then(() => {
    if (queues.get(path) === tail) queues.delete(path);
  });
  queues.set(path, tail);
  try {
    if (before && !(await within(before, deadline))) throw timeout(path, waitMs);
    const lock = await acquire(path, deadline, waitMs);
    try {
      const stage = join(stateDir(gitDir), 'stage', name);
      clearStage(gitDir, stage);
      return await work(hold(gitDir, stage));
    } finally {
      lock.close();
    }
  } finally {
    turn.resolve();
  }
}

async function within(turn: Promise<void>, deadline: number): Promise<boolean> {
  const timer = new AbortController();
  const late = sleep(Math.max(0, deadline - performance.now()), false, { signal: timer.signal });
  try {
    return await Promise.race([turn.then(() => true), late]);
  } finally {
    timer.abort();
    late.catch(() => undefined); // the abort just above is the only way it rejects
  }
}

async function acquire(path: string, deadline: number, waitMs: number): Promise<DatabaseSync> {
  for (let pauseMs = 1; ; pauseMs = Math.min(pauseMs * 2, 25)) {
    const database = openLock(path);
    try {
      database.exec('BEGIN EXCLUSIVE');
      return database;
    } catch (error) {
      database.close();
      if (!isBusy(error)) throw error;
    }
    if (performance.now() >= deadline) throw timeout(path, waitMs);
    await sleep(pauseMs);
  }
}

function openLock(path: string): DatabaseSync {
  try {
    return new DatabaseSync(path, { timeout: 0 });
  } catch {
    mkdirSync(dirname(path), { recursive: true }); // first lock of this name
    return new DatabaseSync(path, { timeout: 0 });
  }
}

function isBusy(error: unknown): boolean {
  const code = (error as { errcode?: number }).errcode ?? 0;
  return (code & 0xff) === 5; // SQLITE_BUSY and its extended codes
}

function timeout(path: string, limitMs: number): AppError {
  const params = { what: `Waiting for the lock ${path}`, limit_ms: limitMs };
  return new AppError('TIMEOUT', params, { details: { path } });
}

function hold(gitDir: string, stage: string): Hold {
  const temp = () => join(stage, tempName('tmp-'));
  return {
    temp,
    claim: (target) => claim(gitDir, stage, target),
    write(target, bytes) {
      const from = temp();
      writeFileSync(from, bytes);
      renameMakingFolder(from, target);
    },
  };
}

/**
 * The `.lock` is a hard link of a staged file whose name tells the target: after a crash the next
 * holder knows by the inode which `.lock` files are ours, and leaves those of a running git alone.
 */
async function claim(gitDir: string, stage: string, target: string): Promise<Claim> {
  const staged = join(stage, Buffer.from(relative(gitDir, target)).toString('base64url'));
  const lockPath = `${target}.lock`;
  writeFileSync(staged, '');
  const deadline = performance.now() + WORKTREE_LIMITS.gitLockWaitMs;
  while (!tryLink(staged, lockPath)) {
    if (performance.now() >= deadline) {
      rmSync(staged);
      throw timeout(lockPath, WORKTREE_LIMITS.gitLockWaitMs);
    }
    await sleep(10);
  }
  return {
    commit(bytes) {
      writeFileSync(staged, bytes);
      renameSync(lockPath, target);
      rmSync(staged);
    },
    abort() {
      rmSync(lockPath);
      rmSync(staged);
    },
  };
}

function tryLink(staged: string, lockPath: string): boolean {
  try {
    linkSync(staged, lockPath);
    return true;
  } catch (error) {
    if (hasCode(error, 'EEXIST')) return false;
    if (!hasCode(error, 'ENOENT')) throw error;
    mkdirSync(dirname(lockPath), { recursive: true });
    linkSync(staged, lockPath);
    return true;
  }
}

function renameMakingFolder(from: string, to: string): void {
  try {
    renameSync(from, to);
  } catch (error) {
    if (!hasCode(error, 'ENOENT')) throw error;
    mkdirSync(dirname(to), { recursive: true });
    renameSync(from, to);
  }
}

function clearStage(gitDir: string, stage: string): void {
  let names: string[];
  try {
    names = readdirSync(stage);
  } catch (error) {
    if (!hasCode(error, 'ENOENT')) throw error;
    mkdirSync(stage, { recursive: true });
    return;
  }
  for (const name of names) {
    const staged = join(stage, name);
    if (!name.startsWith('tmp-')) {
      const target = join(gitDir, Buffer.from(name, 'base64url').toString());
      if (sameFile(staged, `${target}.lock`)) rmSync(`${target}.lock`);
    }
    rmSync(staged, { force: true, recursive: true });
  }
}

function sameFile(a: string, b: string): boolean {
  const [first, second] = [a, b].map((path) => statSync(path, { throwIfNoEntry: false }));
  return first !== undefined && first.ino === second?.ino && first.dev === second.dev;
}
