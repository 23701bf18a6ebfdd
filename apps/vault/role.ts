import { dirname, join, resolve, sep } from 'node:path';
import { API, AppError, invalid } from '#libs/contracts';
import { createAggregateStore, ledgerSubject } from '#libs/eventlog';
import { evolveTheater, openTheater as decideOpen, type TheaterState } from '#libs/orders';
import {
  command,
  createOrderCommands,
  healthHandler,
  type RoleContext,
  type RunningRole,
  stateLayout,
} from '#libs/runtime';
import { defineService } from '#libs/service';
import {
  assertWorktree,
  openTheater,
  prepareWorktree,
  readBlob,
  readCommit,
  statusOf,
  type Theater,
  worktreePathOf,
} from '#libs/worktrees';
import { existsSync } from 'node:fs';
import { createHash } from 'node:crypto';
import { mergeMission, startLane } from './missions.ts';
import { NOT_IN_GIT, preparedFiles } from './prepare.ts';
import { constraintsIn, setAside } from './quarantine.ts';
import { createWorktrees } from './worktrees.ts';

const AUTHOR = { name: 'IronClaw', email: 'ironclaw@localhost' };
const FILE_BYTES_MAX = 768 * 1024;

/** Keeps theater repositories and the worktrees of orders; only it makes and removes them. */
export async function start(context: RoleContext): Promise<RunningRole> {
  const { log, config, theaters } = context;
  const orders = createOrderCommands(log);
  const worktrees = createWorktrees(context, orders);
  const theaterStore = createAggregateStore<TheaterState | undefined>(
    log.broker,
    undefined,
    (state, events) => events.reduce(evolveTheater, state),
  );
  const timestampSec = (): number => Math.floor(log.defaults.now().getTime() / 1000);

  const stamp = () => ({ author: AUTHOR, timestampSec: timestampSec() });

  /** The theater that holds the worktree of an order; where none does, one that knows the order. */
  const theaterOf = async (orderId: string): Promise<Theater> => {
    const found: Theater[] = [];
    for (const id of await theaters.ofOrder(orderId)) {
      const theater = await theaters.find(id);
      if (theater !== undefined) found.push(theater);
    }
    const holder =
      found.find((theater) => existsSync(worktreePathOf(theater, orderId))) ?? found[0];
    if (holder === undefined) {
      throw new AppError('WORKTREE_NOT_FOUND', { id: orderId }, { field: 'order_id' });
    }
    return holder;
  };

  const service = defineService(API.vault, {
    openTheater: async ({ theater_id, repo_path }) => {
      const repoPath = repo_path ?? join(stateLayout(config.stateDir).theaters, theater_id, 'repo');
      checkRoot(config.theaterRoots, repoPath);
      const known = await theaters.find(theater_id);
      if (known !== undefined && resolve(repoPath) !== known.repoPath && repo_path !== undefined) {
        throw new AppError('THEATER_CONFLICT', { id: theater_id }, { field: 'repo_path' });
      }
      if (known === undefined) checkPlace(config.stateDir, resolve(repoPath));
      const opened = await openTheater({
        theaterId: theater_id,
        repoPath: known?.repoPath ?? repoPath,
        author: AUTHOR,
        timestampSec: timestampSec(),
      });
      const { worktreesPath, mainline, headSha } = opened;
      const subject = ledgerSubject({ garrison_id: config.garrisonId, theater_id });
      const place = { theaterId: theater_id, garrisonId: config.garrisonId };
      await command(log, theaterStore, subject, ({ state }) =>
        decideOpen(state, {
          ...place,
          repoPath: opened.repoPath,
          worktreesPath,
          mainline,
          headSha,
        }),
      );
      return {
        theater_id,
        repo_path: opened.repoPath,
        worktrees_path: worktreesPath,
        mainline,
        head_sha: headSha,
        created: opened.created,
      };
    },

    createWorktree: async ({ theater_id, ...input }) =>
      worktrees.create(await theaters.get(theater_id), input),

    prepareWorktree: async (raw) => {
      const { input, files } = await preparedFiles(context, raw);
      const theater = await theaterOf(input.order_id);
      const { worktreePath } = await worktreeOf(theater, input.order_id);
      await prepareWorktree({ worktreePath, files, exclude: NOT_IN_GIT });
      return { worktree_path: worktreePath, files: files.map(({ path }) => path) };
    },

    worktree: async ({ order_id }) => {
      const { worktreePath, branch } = await worktreeOf(await theaterOf(order_id), order_id);
      const { clean, changed } = await statusOf(worktreePath);
      return {
        worktree_path: worktreePath,
        branch,
        clean,
        changed: changed.slice(0, 100),
        constraints: await constraintsIn(worktreePath),
      };
    },

    quarantineWorktree: async (input) => setAside(orders, await theaterOf(input.order_id), input),

    archiveWorktree: async ({ order_id }) => worktrees.archive(await theaterOf(order_id), order_id),
    removeWorktree: async ({ order_id }) => worktrees.remove(await theaterOf(order_id), order_id),

    readFile: async ({ theater_id, path, commit_sha }) => {
      const { repoPath, mainline } = await theaters.get(theater_id);
      const ref = commit_sha ?? `refs/heads/${mainline}`;
      const { sha } = await readCommit(repoPath, ref);
      const bytes = await readBlob({ repoPath, ref: sha, path, maxBytes: FILE_BYTES_MAX });
      return {
        path,
        commit_sha: sha,
        bytes: bytes.length,
        sha256: createHash('sha256').update(bytes).digest('hex'),
        text: new TextDecoder().decode(bytes),
      };
    },

    startLane: async (input) => startLane(await theaters.get(input.theater_id), input, stamp()),
    mergeMission: async (input) =>
      mergeMission(await theaters.get(input.theater_id), input, stamp()),

    health: healthHandler(context, 'vault'),
  });
  return { service, close: async () => {} };
}

function worktreeOf(theater: Theater, orderId: string) {
  return assertWorktree(theater, worktreePathOf(theater, orderId), orderId);
}

/** @throws {INVALID_REQUEST} roots are configured and the repository lies in none of them */
/**
 * A new repository among our own files would go with them, and one inside another's checkout would
 * be untracked files there.
 */
function checkPlace(stateDir: string, repoPath: string): void {
  if (existsSync(join(repoPath, '.git'))) return;
  const field = 'repo_path';
  const { theaters } = stateLayout(stateDir);
  if (isInside(stateDir, repoPath) && !isInside(theaters, repoPath)) {
    throw invalid(field, `lies among our own files; below ${theaters} it may`);
  }
  // The state folder itself may lie in a clone of the user's.
  for (let at = dirname(repoPath); at !== dirname(at) && at !== stateDir; at = dirname(at)) {
    if (existsSync(join(at, '.git'))) throw invalid(field, `lies inside the repository ${at}`);
  }
}

function isInside(folder: string, path: string): boolean {
  return path === folder || path.startsWith(folder + sep);
}

function checkRoot(roots: readonly string[], repoPath: string): void {
  const inside = roots.some((root) => resolve(repoPath).startsWith(root + sep));
  if (roots.length > 0 && !inside) {
    throw invalid('repo_path', `must lie in one of ${roots.join(', ')} (IRONCLAW_THEATER_ROOTS)`);
  }
}
