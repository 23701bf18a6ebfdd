import { z } from 'zod';

/** Ids become subject tokens, branch names and folder names, so they carry nothing special. */
export const ID_PATTERN = /^(?!_$)[A-Za-z0-9_][A-Za-z0-9_-]{0,127}$/;

/** The subject token that stands for an absent id. Never a valid id itself. */
export const ABSENT = '_';

export const id = z
  .string()
  .regex(ID_PATTERN, 'must be 1 to 128 of A-Z a-z 0-9 _ -, not starting with - and not just _');

export const nullableId = id.nullable();

/** True if `value` may stand as an id anywhere in the system. */
export function isId(value: unknown): value is string {
  return typeof value === 'string' && ID_PATTERN.test(value);
}

/** ISO-8601 in UTC with a `Z`, to at most nanoseconds. */
export const timestamp = z.iso.datetime({
  error: 'must be ISO-8601 in UTC, as 2026-01-14T16:21:00Z',
});

/** A git object name (SHA-1 or SHA-256). */
export const commitSha = z
  .string()
  .regex(/^[0-9a-f]{40}([0-9a-f]{24})?$/, 'must be a git commit sha');

/** A relative path inside a worktree: no `..`, no leading `/`, no backslash, no NUL. */
export const relativePath = z
  .string()
  .min(1)
  .max(1024)
  .refine((path) => isRelativePath(path), 'must be a relative path inside the worktree');

/** True for a path that stays under the folder it is joined to, judged by its text alone. */
export function isRelativePath(path: string): boolean {
  if (path.startsWith('/') || path.includes('\\') || path.includes('\0')) return false;
  return !path.split('/').some((part) => part === '..');
}
