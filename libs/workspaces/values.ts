import type { Theater } from '../worktrees/internal.ts';

/** The main checkout of a repository and the git folder that its worktrees share; real paths. */
export type Repository = { root: string; gitDir: string };

/** Who commits, and when. */
export type Stamp = { author: { name: string; email: string }; timestampSec: number };

/** The checkout as libs/worktrees knows it, with `branch` as the one that moves. */
export function theaterOf({ root, gitDir }: Repository, branch: string): Theater {
  const below = `${root}/.worktrees`;
  const paths = { worktreesPath: below, archivePath: below };
  return { theaterId: 'missions', repoPath: root, gitDir, mainline: branch, ...paths };
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function isFilled(value: unknown): value is string {
  return typeof value === 'string' && value.trim() !== '';
}

export function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
