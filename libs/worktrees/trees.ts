import { Lru } from './lru.ts';
import { isGitName } from './names.ts';
import { EMPTY_TREE, hashObject, readObject, writeObject } from './objects.ts';

/** Modes of tree entries, as git writes them. */
export const Mode = {
  tree: 0o040000,
  file: 0o100644,
  executable: 0o100755,
  symlink: 0o120000,
  gitlink: 0o160000,
} as const;

export type TreeEntry = { name: string; mode: number; oid: string };
/** A file of a tree: anything but a folder. */
export type TreeFile = { path: string; mode: number; oid: string };
export type Change = { path: string; before?: TreeFile; after?: TreeFile };

const treeCache = new Lru<readonly TreeEntry[]>(200_000);

/** The entries of one tree object, in git's order. */
async function readTree(gitDir: string, oid: string): Promise<readonly TreeEntry[]> {
  const key = `${gitDir}\0${oid}`;
  const cached = treeCache.get(key);
  if (cached) return cached;
  const entries = parseTree(await readObject(gitDir, oid, 'tree'));
  treeCache.set(key, entries, entries.length + 1);
  return entries;
}

/** Parses a tree object. @throws on names that are not UTF-8 or that would leave the folder. */
export function parseTree(bytes: Buffer): TreeEntry[] {
  const entries: TreeEntry[] = [];
  for (let at = 0; at < bytes.length; ) {
    const space = bytes.indexOf(0x20, at);
    const end = bytes.indexOf(0, space);
    const name = bytes.toString('utf8', space + 1, end);
    if (name.includes('\ufffd') || name === '.' || name === '..' || name.includes('/')) {
      throw new Error(`a tree holds the unusable name ${JSON.stringify(name)}`);
    }
    if (name === '' || isGitName(name)) throw new Error('a tree holds a .git entry');
    const mode = Number.parseInt(bytes.toString('latin1', at, space), 8);
    entries.push({ name, mode, oid: bytes.toString('hex', end + 1, end + 21) });
    at = end + 21;
  }
  return entries;
}

/** The bytes of a tree object; sorts as git does, folders as if they ended in `/`. */
export function formatTree(entries: readonly TreeEntry[]): Buffer {
  const keyed = entries.map((entry) => ({
    entry,
    key: Buffer.from(entry.mode === Mode.tree ? `${entry.name}/` : entry.name),
  }));
  keyed.sort((a, b) => Buffer.compare(a.key, b.key));
  return Buffer.concat(
    keyed.flatMap(({ entry }) => [
      Buffer.from(`${entry.mode.toString(8)} ${entry.name}\0`),
      Buffer.from(entry.oid, 'hex'),
    ]),
  );
}

/** Stores a tree object and answers its name. */
export function writeTree(gitDir: string, entries: readonly TreeEntry[]): string {
  return writeObject(gitDir, 'tree', formatTree(entries));
}

/** Every file below a tree; refuses more than `limit`. */
export async function listTreeFiles(
  gitDir: string,
  treeOid: string,
  limit: number,
  prefix = '',
  found: TreeFile[] = [],
): Promise<TreeFile[]> {
  for (const { name, mode, oid } of await readTree(gitDir, treeOid)) {
    const path = prefix + name;
    if (mode === Mode.tree) await listTreeFiles(gitDir, oid, limit, `${path}/`, found);
    else found.push({ path, mode, oid });
    if (found.length > limit) throw new Error(`tree ${treeOid} holds more than ${limit} files`);
  }
  return found;
}

/** The entry at a path below a tree; undefined if there is none. */
export async function entryAt(
  gitDir: string,
  treeOid: string,
  parts: readonly string[],
): Promise<TreeEntry | undefined> {
  let at: TreeEntry = { name: '', mode: Mode.tree, oid: treeOid };
  for (const part of parts) {
    if (at.mode !== Mode.tree) return undefined;
    const next = (await readTree(gitDir, at.oid)).find((entry) => entry.name === part);
    if (!next) return undefined;
    at = next;
  }
  return at;
}

/** The files in which two trees differ; equal subtrees are not read. */
export async function diffTrees(
  gitDir: string,
  before: string | undefined,
  after: string | undefined,
  prefix = '',
  found: Change[] = [],
): Promise<Change[]> {
  if (before === after) return found;
  const [old, now] = [await entriesByName(gitDir, before), await entriesByName(gitDir, after)];
  for (const name of new Set([...old.keys(), ...now.keys()])) {
    const [a, b] = [old.get(name), now.get(name)];
    if (a?.oid === b?.oid && a?.mode === b?.mode) continue;
    const path = prefix + name;
    const folders = [a, b].map((entry) => (entry?.mode === Mode.tree ? entry.oid : undefined));
    await diffTrees(gitDir, folders[0], folders[1], `${path}/`, found);
    const change: Change = { path };
    if (a && a.mode !== Mode.tree) change.before = { path, mode: a.mode, oid: a.oid };
    if (b && b.mode !== Mode.tree) change.after = { path, mode: b.mode, oid: b.oid };
    if (change.before || change.after) found.push(change);
  }
  return found;
}

export async function entriesByName(
  gitDir: string,
  treeOid: string | undefined,
): Promise<Map<string, TreeEntry>> {
  const entries = treeOid === undefined ? [] : await readTree(gitDir, treeOid);
  return new Map(entries.map((entry) => [entry.name, entry]));
}

type Folder = { files: TreeEntry[]; folders: Map<string, Folder> };
type HashedFolder = { oid: string; entries: TreeEntry[]; folders: Map<string, HashedFolder> };

/** The tree that a list of files makes, hashed and not yet stored. */
export function hashFiles(files: readonly TreeFile[]): HashedFolder {
  const root: Folder = { files: [], folders: new Map() };
  for (const { path, mode, oid } of files) {
    const parts = path.split('/');
    const name = parts.pop() ?? '';
    let folder = root;
    for (const part of parts) {
      let next = folder.folders.get(part);
      if (!next) {
        next = { files: [], folders: new Map() };
        folder.folders.set(part, next);
      }
      folder = next;
    }
    folder.files.push({ name, mode, oid });
  }
  return hashFolder(root);
}

function hashFolder(folder: Folder): HashedFolder {
  const folders = new Map([...folder.folders].map(([name, sub]) => [name, hashFolder(sub)]));
  const entries = [
    ...folder.files,
    ...[...folders].map(([name, sub]) => ({ name, mode: Mode.tree, oid: sub.oid })),
  ];
  return { oid: hashObject('tree', formatTree(entries)), entries, folders };
}

/** Stores a hashed tree, leaving out the subtrees that `known` (already stored) has as well. */
export async function storeHashed(
  gitDir: string,
  tree: HashedFolder,
  known: string | undefined,
): Promise<void> {
  if (tree.oid === known || tree.oid === EMPTY_TREE) {
    if (tree.oid === EMPTY_TREE) writeTree(gitDir, []);
    return;
  }
  const old = await entriesByName(gitDir, known);
  for (const [name, folder] of tree.folders) {
    const before = old.get(name);
    await storeHashed(gitDir, folder, before?.mode === Mode.tree ? before.oid : undefined);
  }
  writeTree(gitDir, tree.entries);
}
