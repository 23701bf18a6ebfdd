import { createHash } from 'node:crypto';
import {
  type BigIntStats,
  closeSync,
  createWriteStream,
  existsSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { AppError } from '#libs/contracts';
import { headOf } from './commit.ts';
import { loadCommit } from './commits.ts';
import { childPath, childStat, type OpenFolder, openBelow, readChild } from './inside.ts';
import { WORKTREE_LIMITS } from './limits.ts';
import { orderLock, withLock } from './lock.ts';
import { refused, requireId, worktreeName } from './names.ts';
import { adminPathOf, readRecord, type Worktree, writeRecord } from './records.ts';
import { tooMany } from './scan.ts';
import { type TarEntry, tarEnd, tarHeader, tarPadding } from './tar.ts';
import type { Theater } from './theater.ts';
import { turns } from './turns.ts';
import { keepReachable, removalMark, requireWorktree, worktreePathOf } from './worktree.ts';

export type Archive = {
  archivePath: string;
  /** The branch's commit, kept reachable from here on. */
  commitSha: string;
  bytes: number;
};

/**
 * Packs all files of a worktree, uncommitted and ignored ones too, into
 * `archive/order_<id>.<digest>.tar.gz`, which appears whole, and keeps the branch's commit
 * reachable as `refs/ironclaw/archive/<order>/<sha>`. The same files make the same archive, so repeating is
 * harmless; after a removal it answers the last archive.
 * @throws {WORKTREE_NOT_FOUND} if there is neither a worktree nor an archive.
 * @throws {PAYLOAD_TOO_LARGE} above 1 GiB or 100 000 files.
 */
export async function archiveWorktree(input: {
  theater: Theater;
  orderId: string;
}): Promise<Archive> {
  const { theater } = input;
  const orderId = requireId('order_id', input.orderId);
  return withLock(theater.gitDir, orderLock(orderId), async (hold) => {
    const record = readRecord(theater.gitDir, orderId);
    // What lies there after a removal has begun is rest, not work.
    const isRest =
      existsSync(removalMark(adminPathOf(theater.gitDir, orderId))) ||
      !existsSync(worktreePathOf(theater, orderId));
    if (record?.archive && isRest) {
      const { archivePath, commitSha, bytes } = record.archive;
      return { archivePath, commitSha, bytes };
    }
    const worktree = requireWorktree(theater, orderId);
    const commitSha = headOf(worktree);
    const temp = hold.temp();
    const hash = createHash('sha256');
    const chunks = tarOf(worktree, await mtimeOf(worktree), (chunk) => hash.update(chunk));
    await pipeline(Readable.from(chunks), createGzip({ level: 6 }), createWriteStream(temp));
    const digest = hash.digest('hex');
    mkdirSync(theater.archivePath, { recursive: true });
    const name = `${worktreeName(orderId)}.${digest.slice(0, 16)}.tar.gz`;
    const archivePath = join(theater.archivePath, name);
    if (existsSync(archivePath)) rmSync(temp);
    else renameSync(temp, archivePath);
    await keepReachable(hold, theater.gitDir, orderId, commitSha);
    const bytes = statSync(archivePath).size;
    const { branch } = worktree;
    const base = record ?? { branch, baseSha: commitSha };
    const archive = { archivePath, commitSha, bytes, digest };
    writeRecord(hold, theater.gitDir, orderId, { ...base, archive });
    return { archivePath, commitSha, bytes };
  });
}

/** The digest that an archive of the worktree would have now. */
export async function archiveDigest(worktree: Worktree): Promise<string> {
  const hash = createHash('sha256');
  const chunks = tarOf(worktree, await mtimeOf(worktree), (chunk) => hash.update(chunk));
  for await (const _ of chunks) {
    // hashing is all there is to do
  }
  return hash.digest('hex');
}

// One time for all files, or the same content would make another archive.
async function mtimeOf(worktree: Worktree): Promise<number> {
  return (await loadCommit(worktree.gitDir, headOf(worktree))).timestampSec;
}

async function* tarOf(
  worktree: Worktree,
  mtimeSec: number,
  onChunk: (chunk: Buffer) => void,
): AsyncGenerator<Buffer> {
  const count = { files: 0, bytes: 0 };
  const turn = turns();
  let pending: Buffer[] = [];
  let pendingBytes = 0;
  const flush = () => {
    const chunk = Buffer.concat(pending);
    [pending, pendingBytes] = [[], 0];
    onChunk(chunk);
    return chunk;
  };
  for (const { header, content } of entriesBelow(worktree.worktreePath, [], mtimeSec)) {
    await turn();
    count.files++;
    count.bytes += content.length;
    if (count.files > WORKTREE_LIMITS.files) throw tooMany();
    if (count.bytes > WORKTREE_LIMITS.archiveBytes) throw tooMuch();
    pending.push(header, content, tarPadding(content.length));
    pendingBytes += header.length + content.length;
    if (pendingBytes >= CHUNK_BYTES) yield flush();
  }
  pending.push(tarEnd());
  yield flush();
}

const CHUNK_BYTES = 256 * 1024;

type Packed = { header: Buffer; content: Buffer };

/** Regular files and links in a fixed order; git's link file and special files are left out. */
function* entriesBelow(root: string, parts: string[], mtimeSec: number): Generator<Packed> {
  if (parts.length > WORKTREE_LIMITS.folderDepth) throw refused('the folders are too deep');
  const folder = openBelow(root, parts);
  if (!folder) return; // gone since it was listed
  try {
    for (const name of readdirSync(childPath(folder, '.')).sort()) {
      if (parts.length === 0 && name === '.git') continue;
      const stat = childStat(folder, name);
      if (stat?.isDirectory()) yield* entriesBelow(root, [...parts, name], mtimeSec);
      const packed = stat && packOne(folder, [...parts, name].join('/'), name, stat, mtimeSec);
      if (packed) yield packed;
    }
  } finally {
    closeSync(folder.fd);
  }
}

function packOne(
  folder: OpenFolder,
  path: string,
  name: string,
  stat: BigIntStats,
  mtimeSec: number,
): Packed | undefined {
  if (stat.isSymbolicLink()) {
    const target = readlinkSync(childPath(folder, name));
    const entry: TarEntry = { path, mode: 0o777, size: 0, mtimeSec, target };
    return { header: tarHeader(entry), content: Buffer.alloc(0) };
  }
  const read = stat.isFile() ? readChild(folder, name, WORKTREE_LIMITS.archiveBytes) : undefined;
  if (!read) return undefined;
  const mode = read.stat.mode & 0o100n ? 0o755 : 0o644;
  const entry: TarEntry = { path, mode, size: read.bytes.length, mtimeSec };
  return { header: tarHeader(entry), content: read.bytes };
}

function tooMuch(): AppError {
  const params = { what: 'size of the archive', limit: WORKTREE_LIMITS.archiveBytes };
  return new AppError('PAYLOAD_TOO_LARGE', params);
}
