// Runs in the unit and in the worker, so it imports nothing.

/** Something that the tool policy forbids; the message says what, for the model and the report. */
export class Denied extends Error {}

const PATH_CHARS_MAX = 1_024;

/**
 * The parts of a path below the worktree; none for the worktree itself.
 * @throws {Denied} absolute, leaving the worktree, git's own files, too long or with a NUL
 */
export function partsOf(path: string): string[] {
  if (path.length > PATH_CHARS_MAX) throw new Denied('the path is too long');
  if (path.includes('\0')) throw new Denied('the path holds a NUL');
  if (path.startsWith('/')) throw new Denied(`${shown(path)} is outside the worktree`);
  const parts: string[] = [];
  for (const part of path.split('/')) {
    if (part === '' || part === '.') continue;
    if (part !== '..') parts.push(part);
    else if (parts.pop() === undefined) throw new Denied(`${shown(path)} is outside the worktree`);
  }
  if (parts.some(isHidden)) throw new Denied(`${shown(path)} is hidden`);
  return parts;
}

/** True for the name of git's own files. */
export function isHidden(name: string): boolean {
  return name.toLowerCase() === '.git';
}

/** @throws {Denied} no pattern of the allowlist covers the path */
export function assertAllowed(parts: readonly string[], allow: readonly string[]): void {
  if (!isAllowed(parts, allow)) {
    throw new Denied(`${shown(parts.join('/'))} is not in fs_allowlist`);
  }
}

/**
 * True where a pattern of `fs_allowlist` covers the path: `./` and `./*` cover everything, `a/`,
 * `a/*` and `a` all that is in `a`; `*` in a name stands for any characters, `?` for one.
 */
export function isAllowed(parts: readonly string[], allow: readonly string[]): boolean {
  return allow.some((pattern) => {
    const wanted = patternParts(pattern);
    return wanted !== undefined && wanted.every((name, index) => matches(parts[index], name));
  });
}

/** True where something below the folder may be allowed although the folder itself is not. */
export function leadsToAllowed(parts: readonly string[], allow: readonly string[]): boolean {
  return allow.some((pattern) => {
    const wanted = patternParts(pattern);
    return wanted !== undefined && parts.every((name, index) => leads(name, wanted[index]));
  });
}

function leads(name: string, wanted: string | undefined): boolean {
  return wanted === undefined || matches(name, wanted);
}

/** The names of a pattern; undefined for one that leaves the worktree, which covers nothing. */
function patternParts(pattern: string): string[] | undefined {
  if (pattern.startsWith('/')) return undefined;
  const parts = pattern.split('/').filter((part) => part !== '' && part !== '.');
  if (parts.includes('..')) return undefined;
  while (parts.at(-1) === '*' || parts.at(-1) === '**') parts.pop();
  return parts;
}

function matches(name: string | undefined, wanted: string): boolean {
  return name !== undefined && matchesGlob(name, wanted);
}

/** True where `name` is what the pattern says: `*` any characters, `?` one. Never backtracks far. */
export function matchesGlob(name: string, pattern: string): boolean {
  let at = 0;
  let inName = 0;
  let star = -1;
  let retry = 0;
  while (inName < name.length) {
    if (pattern[at] === '*') {
      star = at;
      retry = inName;
      at += 1;
    } else if (at < pattern.length && (pattern[at] === '?' || pattern[at] === name[inName])) {
      at += 1;
      inName += 1;
    } else if (star >= 0) {
      at = star + 1;
      retry += 1;
      inName = retry;
    } else {
      return false;
    }
  }
  while (pattern[at] === '*') at += 1;
  return at === pattern.length;
}

/** @throws {Denied} not a file under outputs/ that the allowlist covers */
export function assertWritable(path: string, allow: readonly string[]): string {
  const parts = partsOf(path);
  if (parts[0] !== 'outputs' || parts.length < 2) {
    throw new Denied(`${shown(path)} is not under outputs/`);
  }
  assertAllowed(parts, allow);
  return parts.join('/');
}

/** A path as it stands in messages. */
export function shown(path: string): string {
  return JSON.stringify(path.slice(0, 200));
}
