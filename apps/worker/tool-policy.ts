import { AppError, type OrderFile } from '#libs/contracts';

/**
 * Refuses paths that the order's tool policy does not let a unit write.
 * @throws {TOOL_POLICY_VIOLATION} names the path and what is allowed
 */
export function requireAllowed(order: OrderFile, paths: readonly string[]): void {
  const allowlist = order.constraints.tool_policy?.fs_allowlist;
  if (allowlist === undefined) return;
  const bad = paths.find((path) => !allowlist.some((entry) => covers(entry, path)));
  if (bad === undefined) return;
  const reason = `${bad} is not under ${allowlist.join(', ') || 'anything allowed'}`;
  throw new AppError('TOOL_POLICY_VIOLATION', { reason }, { field: 'fs_allowlist' });
}

/**
 * True where an entry of `fs_allowlist` covers a path, both relative to the worktree's root. An
 * entry names a file, or a folder as `docs`, `docs/` or `docs/*` with all below it; `./` and `./*`
 * stand for the whole worktree. An entry that leads outside covers nothing.
 */
export function covers(entry: string, path: string): boolean {
  const wanted = partsOf(entry.replace(/(^|\/)\*{1,2}$/, '$1'));
  const given = partsOf(path);
  if (entry.startsWith('/') || wanted.includes('..')) return false;
  return wanted.every((part, index) => part === given[index]);
}

function partsOf(path: string): string[] {
  return path.split('/').filter((part) => part !== '' && part !== '.');
}
