import { WORKTREE_LIMITS } from './limits.ts';
import { mergeText } from './merge_text.ts';
import { readBlobBytes, writeObject } from './objects.ts';
import { entriesByName, Mode, type TreeEntry, writeTree } from './trees.ts';

export type Merge = {
  gitDir: string;
  /** Names in the root that the mainline keeps as they are, whatever the branch has there. */
  branchOnly: ReadonlySet<string>;
  /** Paths that cannot be merged; filled while merging. */
  conflicts: string[];
};

type Three<T> = { base: T | undefined; ours: T | undefined; theirs: T | undefined };

/**
 * The tree that holds what both sides changed since `base`; subtrees that only one side changed are
 * taken over unread. Renames count as delete and add. Undefined for an empty tree. Nothing but new
 * objects is written.
 */
export async function mergeTrees(
  merge: Merge,
  trees: Three<string>,
  prefix = '',
): Promise<string | undefined> {
  const { base, ours, theirs } = trees;
  if (ours === theirs || base === theirs) return ours;
  const isRoot = prefix === '';
  if (base === ours && !(isRoot && merge.branchOnly.size > 0)) return theirs;
  const sides = {
    base: await entriesByName(merge.gitDir, base),
    ours: await entriesByName(merge.gitDir, ours),
    theirs: await entriesByName(merge.gitDir, theirs),
  };
  const merged: TreeEntry[] = [];
  const names = new Set(Object.values(sides).flatMap((side) => [...side.keys()]));
  for (const name of names) {
    const three = {
      base: sides.base.get(name),
      ours: sides.ours.get(name),
      theirs: sides.theirs.get(name),
    };
    const kept = isRoot && merge.branchOnly.has(name);
    const entry = kept ? three.ours : await mergeEntry(merge, three, prefix + name);
    if (entry) merged.push(entry);
  }
  return merged.length === 0 ? undefined : writeTree(merge.gitDir, merged);
}

async function mergeEntry(
  merge: Merge,
  three: Three<TreeEntry>,
  path: string,
): Promise<TreeEntry | undefined> {
  const { base, ours, theirs } = three;
  if (same(ours, theirs) || same(base, theirs)) return ours;
  if (same(base, ours)) return theirs;
  const present = [ours, theirs].filter((entry) => entry !== undefined);
  if (present.every((entry) => entry.mode === Mode.tree)) {
    const trees = { base: folderOf(base), ours: folderOf(ours), theirs: folderOf(theirs) };
    const oid = await mergeTrees(merge, trees, `${path}/`);
    const name = (ours ?? theirs)?.name ?? '';
    return oid === undefined ? undefined : { name, mode: Mode.tree, oid };
  }
  const merged = ours && theirs && (await mergeFiles(merge, base, ours, theirs));
  if (merged) return merged;
  merge.conflicts.push(path);
  return ours;
}

async function mergeFiles(
  merge: Merge,
  base: TreeEntry | undefined,
  ours: TreeEntry,
  theirs: TreeEntry,
): Promise<TreeEntry | undefined> {
  if (!base || ![base, ours, theirs].every(isPlain)) return undefined;
  // At most one side can differ from the base where there are but two modes.
  const mode = base.mode === ours.mode ? theirs.mode : ours.mode;
  if (ours.oid === theirs.oid || base.oid === theirs.oid) return { ...ours, mode };
  if (base.oid === ours.oid) return { ...theirs, mode };
  const texts: string[] = [];
  for (const { oid } of [base, ours, theirs]) {
    const text = asText(await readBlobBytes(merge.gitDir, oid));
    if (text === undefined) return undefined;
    texts.push(text);
  }
  const [inBase = '', inOurs = '', inTheirs = ''] = texts;
  const text = mergeText(inBase, inOurs, inTheirs);
  if (text === undefined) return undefined;
  const oid = writeObject(merge.gitDir, 'blob', Buffer.from(text, 'latin1'));
  return { name: ours.name, mode, oid };
}

/** Text byte for byte (one char each, so any encoding survives); undefined for binary or huge. */
function asText(bytes: Buffer): string | undefined {
  if (bytes.length > WORKTREE_LIMITS.mergeTextBytes || bytes.includes(0)) return undefined;
  return bytes.toString('latin1');
}

function isPlain(entry: TreeEntry): boolean {
  return entry.mode === Mode.file || entry.mode === Mode.executable;
}

function folderOf(entry: TreeEntry | undefined): string | undefined {
  return entry?.mode === Mode.tree ? entry.oid : undefined;
}

function same(a: TreeEntry | undefined, b: TreeEntry | undefined): boolean {
  return a?.oid === b?.oid && a?.mode === b?.mode;
}
