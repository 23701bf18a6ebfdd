import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { invalid } from '#libs/contracts';
import { WORKTREE_LIMITS } from './limits.ts';
import { Lru } from './lru.ts';
import { hasCode } from './names.ts';
import { readObject, writeObject } from './objects.ts';

/** Who makes a commit. No `<`, `>` or line breaks; the name is not empty. */
export type Author = { name: string; email: string };

export type Commit = {
  sha: string;
  tree: string;
  parents: string[];
  author: Author;
  /** Seconds since 1970 of the committer line. */
  timestampSec: number;
  message: string;
};

const commitCache = new Lru<Commit>(20_000);

/** Reads and parses one commit. */
export async function loadCommit(gitDir: string, sha: string): Promise<Commit> {
  const key = `${gitDir}\0${sha}`;
  const cached = commitCache.get(key);
  if (cached) return cached;
  const commit = parseCommit(sha, (await readObject(gitDir, sha, 'commit')).toString());
  commitCache.set(key, commit);
  return commit;
}

function parseCommit(sha: string, text: string): Commit {
  const end = text.indexOf('\n\n');
  const head = end < 0 ? text : text.slice(0, end);
  const commit: Commit = {
    sha,
    tree: '',
    parents: [],
    author: { name: '', email: '' },
    timestampSec: 0,
    message: end < 0 ? '' : text.slice(end + 2),
  };
  for (const line of head.split('\n')) {
    const [key, value] = [line.slice(0, line.indexOf(' ')), line.slice(line.indexOf(' ') + 1)];
    if (key === 'tree') commit.tree = value;
    else if (key === 'parent') commit.parents.push(value);
    else if (key === 'author') commit.author = parsePerson(value);
    else if (key === 'committer') {
      commit.timestampSec = Number(/> (\d+) [+-]\d{4}$/.exec(value)?.[1] ?? 0);
    }
  }
  return commit;
}

function parsePerson(value: string): Author {
  const match = /^(.*?) ?<([^>]*)>/.exec(value);
  return { name: match?.[1] ?? '', email: match?.[2] ?? '' };
}

/** Stores a commit; the same input makes the same sha. The zone is always UTC. */
export function writeCommit(
  gitDir: string,
  input: {
    tree: string;
    parents: readonly string[];
    author: Author;
    timestampSec: number;
    message: string;
  },
): string {
  const { author, timestampSec } = input;
  const person = `${author.name} <${author.email}> ${timestampSec} +0000`;
  const lines = [
    `tree ${input.tree}`,
    ...input.parents.map((parent) => `parent ${parent}`),
    `author ${person}`,
    `committer ${person}`,
    '',
    `${input.message.trimEnd()}\n`,
  ];
  return writeObject(gitDir, 'commit', Buffer.from(lines.join('\n')));
}

/** @throws {INVALID_REQUEST} unless the values make a commit that git accepts. */
export function requireCommitInput(author: Author, timestampSec: number, message: string): void {
  for (const [field, value] of Object.entries({ name: author.name, email: author.email })) {
    const bad = typeof value !== 'string' || /[<>\p{Cc}]/u.test(value) || value.length > 256;
    if (bad) throw invalid(`author.${field}`, 'must be text without < > or line breaks');
  }
  if (author.name.trim() === '') throw invalid('author.name', 'must not be blank');
  if (!Number.isSafeInteger(timestampSec) || timestampSec < 0 || timestampSec > 0xffff_ffff) {
    throw invalid('timestampSec', 'must be whole seconds since 1970');
  }
  if (typeof message !== 'string' || message.trim() === '' || message.includes('\0')) {
    throw invalid('message', 'must not be blank nor hold NUL');
  }
}

type Painted = { commit: Commit; flags: number };
const [FIRST, SECOND, STALE, BASE] = [1, 2, 4, 8];

/**
 * The best common ancestors of two commits: newest commits first, each marked with the sides that
 * reach it, until only ancestors of known answers are left. Reads little beyond the commits that
 * are newer than the answer.
 */
export async function mergeBases(gitDir: string, a: string, b: string): Promise<string[]> {
  if (a === b) return [a];
  const shallow = readShallow(gitDir);
  const painted = new Map<string, Painted>();
  const queue: Painted[] = [];
  const paint = async (sha: string, flags: number) => {
    let seen = painted.get(sha);
    if (seen && (seen.flags & flags) === flags) return;
    seen ??= { commit: await loadCommit(gitDir, sha), flags: 0 };
    seen.flags |= flags;
    painted.set(sha, seen);
    insertByTime(queue, seen);
  };
  await paint(a, FIRST);
  await paint(b, SECOND);
  while (queue.some((entry) => !(entry.flags & STALE))) {
    const entry = queue.pop() as Painted;
    let flags = entry.flags & (FIRST | SECOND | STALE);
    if (flags === (FIRST | SECOND)) {
      entry.flags |= BASE;
      flags |= STALE;
    }
    const parents = shallow.has(entry.commit.sha) ? [] : entry.commit.parents;
    for (const parent of parents) await paint(parent, flags);
    if (painted.size > WORKTREE_LIMITS.historyCommits) throw new Error('history is too long');
  }
  const bases = [...painted.values()].filter(({ flags }) => flags & BASE && !(flags & STALE));
  return dropAncestors(
    gitDir,
    bases.map(({ commit }) => commit.sha),
  );
}

// Commit times that run backwards may leave an answer that is an ancestor of another.
async function dropAncestors(gitDir: string, shas: string[]): Promise<string[]> {
  const kept: string[] = [];
  for (const sha of shas) {
    let redundant = false;
    for (const other of shas) {
      if (other !== sha && (await isAncestorSha(gitDir, sha, other))) redundant = true;
    }
    if (!redundant) kept.push(sha);
  }
  return kept;
}

/** True if `ancestor` is `sha` or reachable from it. */
export async function isAncestorSha(
  gitDir: string,
  ancestor: string,
  sha: string,
): Promise<boolean> {
  return (await mergeBases(gitDir, ancestor, sha)).includes(ancestor);
}

function insertByTime(queue: Painted[], entry: Painted): void {
  const time = entry.commit.timestampSec;
  let [low, high] = [0, queue.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((queue[middle] as Painted).commit.timestampSec <= time) low = middle + 1;
    else high = middle;
  }
  queue.splice(low, 0, entry);
}

function readShallow(gitDir: string): Set<string> {
  try {
    return new Set(readFileSync(join(gitDir, 'shallow'), 'utf8').split('\n'));
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return new Set();
    throw error;
  }
}
