import { createHash } from 'node:crypto';
import fs, { mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { deflateSync, inflateSync } from 'node:zlib';
import git from 'isomorphic-git';
import { Lru } from './lru.ts';
import { hasCode } from './names.ts';
import { tempName } from './temp_name.ts';

export type ObjectType = 'blob' | 'tree' | 'commit' | 'tag';
export type GitObject = { type: ObjectType; bytes: Buffer };

/** The object that every git knows without storing it. */
export const EMPTY_TREE = '4b825dc642cb6eb9a060e54bf8d69288fbee4904';

// isomorphic-git keeps whole packs in its cache: few repositories at a time, dropped when unused.
const packCaches = new Lru<object>(4);

// Small contents are read again for every worktree of a theater.
const blobCache = new Lru<Buffer>(32 * 1024 * 1024);
const CACHED_BLOB_BYTES = 32 * 1024;

/** The content of a blob; not to be changed by the caller. */
export async function readBlobBytes(gitDir: string, oid: string): Promise<Buffer> {
  const key = `${gitDir}\0${oid}`;
  const cached = blobCache.get(key);
  if (cached) return cached;
  const bytes = await readObject(gitDir, oid, 'blob');
  if (bytes.length <= CACHED_BLOB_BYTES) blobCache.set(key, Buffer.from(bytes), bytes.length + 256);
  return bytes;
}

/**
 * Reads one object: loose ones here, packed ones by isomorphic-git. Undefined if there is none.
 */
export async function findObject(gitDir: string, oid: string): Promise<GitObject | undefined> {
  if (oid === EMPTY_TREE) return { type: 'tree', bytes: Buffer.alloc(0) };
  return readLoose(gitDir, oid) ?? (await readPacked(gitDir, oid));
}

/** As findObject, of a given type; a missing object or another type is a broken repository. */
export async function readObject(gitDir: string, oid: string, type: ObjectType): Promise<Buffer> {
  const found = await findObject(gitDir, oid);
  if (found?.type !== type) {
    throw new Error(`${gitDir} should hold ${type} ${oid}, found ${found?.type ?? 'nothing'}`);
  }
  return found.bytes;
}

function readLoose(gitDir: string, oid: string): GitObject | undefined {
  let packed: Buffer;
  try {
    packed = readFileSync(objectPath(gitDir, oid));
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined;
    throw error;
  }
  if (packed.length === 0) return undefined; // emptied by a power cut; it may be in a pack
  const whole = inflateSync(packed);
  const end = whole.indexOf(0);
  const [type, size] = whole.toString('latin1', 0, end).split(' ');
  const bytes = whole.subarray(end + 1);
  if (bytes.length !== Number(size)) throw new Error(`object ${oid} in ${gitDir} is torn`);
  return { type: type as ObjectType, bytes };
}

async function readPacked(gitDir: string, oid: string): Promise<GitObject | undefined> {
  for (let retried = false; ; retried = true) {
    const cache = packCaches.get(gitDir) ?? {};
    packCaches.set(gitDir, cache);
    try {
      const read = await git.readObject({ fs, gitdir: gitDir, oid, format: 'content', cache });
      return { type: read.type as ObjectType, bytes: Buffer.from(read.object as Uint8Array) };
    } catch (error) {
      // A repack may have replaced the packs that the cache knows: look once more without it.
      packCaches.delete(gitDir);
      if (!retried) continue;
      if (hasCode(error, 'NotFoundError')) return undefined;
      throw error;
    }
  }
}

/** The name that git gives to this content. */
export function hashObject(type: ObjectType, bytes: Uint8Array): string {
  return createHash('sha1').update(`${type} ${bytes.length}\0`).update(bytes).digest('hex');
}

/**
 * Stores an object and answers its name. It appears whole or not at all (temporary file and
 * rename); the temporary name is one that git's own clean-up removes.
 */
export function writeObject(gitDir: string, type: ObjectType, bytes: Uint8Array): string {
  const oid = hashObject(type, bytes);
  const path = objectPath(gitDir, oid);
  if ((statSync(path, { throwIfNoEntry: false })?.size ?? 0) > 0) return oid;
  const header = Buffer.from(`${type} ${bytes.length}\0`);
  const packed = deflateSync(Buffer.concat([header, bytes]), { level: 1 });
  const temp = join(dirname(path), tempName('tmp_obj_'));
  try {
    writeFileSync(temp, packed, { mode: 0o444, flag: 'wx' });
  } catch (error) {
    if (!hasCode(error, 'ENOENT')) throw error;
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(temp, packed, { mode: 0o444, flag: 'wx' });
  }
  renameSync(temp, path);
  return oid;
}

function objectPath(gitDir: string, oid: string): string {
  return join(gitDir, 'objects', oid.slice(0, 2), oid.slice(2));
}
