import { AppError, invalid, isId, isRelativePath } from '#libs/contracts';
import { WORKTREE_LIMITS } from './limits.ts';

/** The folder name of an order's worktree, and of its record in the repository's git dir. */
export function worktreeName(orderId: string): string {
  return `order_${orderId}`;
}

/** The order id of a worktree folder name; undefined if the name is not of that form. */
export function orderOfName(name: string): string | undefined {
  const id = name.startsWith('order_') ? name.slice('order_'.length) : undefined;
  return isId(id) ? id : undefined;
}

/** @throws {INVALID_REQUEST} unless `value` is an id. */
export function requireId(field: string, value: unknown): string {
  if (!isId(value))
    throw invalid(field, 'must be 1 to 128 of A-Z a-z 0-9 _ -, not starting with -');
  return value;
}

// What git check-ref-format refuses inside a name, plus a leading '-' (would read as an option).
const FORBIDDEN = /[\p{Cc} ~^:?*[\\]|\.\.|@\{|\/\/|\/$|\.$/u;

/** True if `name` may be a branch: git's rules, no leading `-`, at most 160 bytes. */
export function isBranchName(name: unknown): name is string {
  if (typeof name !== 'string' || name === '' || name === '@' || name === 'HEAD') return false;
  if (Buffer.byteLength(name) > WORKTREE_LIMITS.branchBytes || !name.isWellFormed()) return false;
  if (name.startsWith('-') || FORBIDDEN.test(name)) return false;
  return name
    .split('/')
    .every((part) => part !== '' && !part.startsWith('.') && !part.endsWith('.lock'));
}

/** @throws {INVALID_REQUEST} unless `value` may be a branch name. */
export function requireBranch(field: string, value: unknown): string {
  if (!isBranchName(value)) throw invalid(field, 'is not a valid git branch name');
  return value;
}

/**
 * The parts of a path below a worktree, `.` parts and doubled slashes dropped.
 * @throws {PATH_OUTSIDE_THEATER} for an absolute path, `..`, a backslash or NUL.
 * @throws {TOOL_POLICY_VIOLATION} for a path through `.git`.
 */
export function pathParts(path: string, field = 'path'): string[] {
  if (typeof path !== 'string' || path.length > 1024 || !isRelativePath(path)) {
    throw outside(String(path), field);
  }
  const parts = path.split('/').filter((part) => part !== '' && part !== '.');
  if (parts.some(isGitName)) throw refused(`${path} goes through .git`, field);
  if (parts.length > WORKTREE_LIMITS.folderDepth || parts.some((p) => Buffer.byteLength(p) > 255)) {
    throw invalid(field, 'is too deep or has too long a name');
  }
  return parts;
}

/** True for the names that case-blind file systems take for `.git`. */
export function isGitName(name: string): boolean {
  return name.toLowerCase() === '.git';
}

export function outside(path: string, field = 'path'): AppError {
  return new AppError('PATH_OUTSIDE_THEATER', { path: path.slice(0, 200) }, { field });
}

export function refused(reason: string, field = 'path'): AppError {
  return new AppError('TOOL_POLICY_VIOLATION', { reason }, { field });
}

export function worktreeNotFound(orderId: string, field: string): AppError {
  return new AppError('WORKTREE_NOT_FOUND', { id: orderId }, { field });
}

/** `params` and `details` of an error that names files: a few in the text, more in the details. */
export function fileDetail(files: readonly string[]): {
  text: string;
  details: { files: string[] };
} {
  const shown = files.slice(0, 5).join(', ');
  const more = files.length > 5 ? ` and ${files.length - 5} more` : '';
  return { text: shown + more, details: { files: files.slice(0, WORKTREE_LIMITS.errorFiles) } };
}

/** Codes of node's file system errors. */
export function hasCode(error: unknown, ...codes: string[]): boolean {
  return (
    error instanceof Error && 'code' in error && codes.includes((error as { code: string }).code)
  );
}
