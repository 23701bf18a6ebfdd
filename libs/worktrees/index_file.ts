import { createHash } from 'node:crypto';
import { type BigIntStats, readFileSync, statSync } from 'node:fs';
import { hasCode } from './names.ts';
import { Mode } from './trees.ts';

/** What the index remembers of a file, to see without reading whether it changed. */
export type FileStamp = {
  ctimeSec: number;
  ctimeNs: number;
  mtimeSec: number;
  mtimeNs: number;
  dev: number;
  ino: number;
  uid: number;
  gid: number;
  size: number;
};

export type IndexEntry = {
  path: string;
  mode: number;
  oid: string;
  stage: number;
  assumeValid: boolean;
  skipWorktree: boolean;
  intentToAdd: boolean;
  stamp: FileStamp;
};

/** An index as read; `mtimeNs` is when the file was written (0n: there is none). */
export type GitIndex = { entries: IndexEntry[]; mtimeNs: bigint };

export const NO_STAMP: FileStamp = {
  ctimeSec: 0,
  ctimeNs: 0,
  mtimeSec: 0,
  mtimeNs: 0,
  dev: 0,
  ino: 0,
  uid: 0,
  gid: 0,
  size: 0,
};

/** Reads an index file, versions 2 to 4. @throws if it is torn or needs an unknown extension. */
export function readIndex(path: string): GitIndex {
  try {
    const mtimeNs = statSync(path, { bigint: true }).mtimeNs;
    return { entries: parseIndex(readFileSync(path)), mtimeNs };
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return { entries: [], mtimeNs: 0n };
    throw error;
  }
}

export function parseIndex(bytes: Buffer): IndexEntry[] {
  const sum = bytes.subarray(-20);
  const body = bytes.subarray(0, -20);
  const version = bytes.readUInt32BE(4);
  if (bytes.toString('latin1', 0, 4) !== 'DIRC' || version < 2 || version > 4) {
    throw new Error('not an index file of version 2 to 4');
  }
  // index.skipHash writes zeros in place of the checksum.
  if (!sum.equals(Buffer.alloc(20)) && !sha1(body).equals(sum)) throw new Error('torn index file');
  const count = bytes.readUInt32BE(8);
  const entries: IndexEntry[] = [];
  let [at, path] = [12, ''];
  for (let i = 0; i < count; i++) {
    const flags = bytes.readUInt16BE(at + 60);
    const extended = flags & 0x4000 ? bytes.readUInt16BE(at + 62) : 0;
    let name = at + (flags & 0x4000 ? 64 : 62);
    if (version === 4) {
      const strip = readVarint(bytes, name);
      name = strip.next;
      const kept = Buffer.from(path).subarray(0, Buffer.byteLength(path) - strip.value);
      const end = bytes.indexOf(0, name);
      path = Buffer.concat([kept, bytes.subarray(name, end)]).toString();
      entries.push(parseEntry(bytes, at, flags, extended, path));
      at = end + 1;
    } else {
      const end = bytes.indexOf(0, name);
      path = bytes.toString('utf8', name, end);
      entries.push(parseEntry(bytes, at, flags, extended, path));
      at += Math.ceil((end - at + 1) / 8) * 8;
    }
  }
  checkExtensions(body, at);
  return entries;
}

function parseEntry(
  bytes: Buffer,
  at: number,
  flags: number,
  extended: number,
  path: string,
): IndexEntry {
  const word = (i: number) => bytes.readUInt32BE(at + i * 4);
  return {
    path,
    mode: word(6),
    oid: bytes.toString('hex', at + 40, at + 60),
    stage: (flags >> 12) & 3,
    assumeValid: (flags & 0x8000) !== 0,
    skipWorktree: (extended & 0x4000) !== 0,
    intentToAdd: (extended & 0x2000) !== 0,
    stamp: {
      ctimeSec: word(0),
      ctimeNs: word(1),
      mtimeSec: word(2),
      mtimeNs: word(3),
      dev: word(4),
      ino: word(5),
      uid: word(7),
      gid: word(8),
      size: word(9),
    },
  };
}

function readVarint(bytes: Buffer, at: number): { value: number; next: number } {
  let byte = bytes.readUInt8(at++);
  let value = byte & 0x7f;
  while (byte & 0x80) {
    byte = bytes.readUInt8(at++);
    value = (value + 1) * 128 + (byte & 0x7f);
  }
  return { value, next: at };
}

// Extensions with a lower-case name change what the entries mean (split and sparse indexes).
function checkExtensions(body: Buffer, start: number): void {
  for (let at = start; at + 8 <= body.length; at += 8 + body.readUInt32BE(at + 4)) {
    const name = body.toString('latin1', at, at + 4);
    if (!/^[A-Z]/.test(name)) throw new Error(`the index uses the extension ${name}`);
  }
}

/** The bytes of an index file, version 2 (3 where an entry needs it). */
export function formatIndex(entries: readonly IndexEntry[]): Buffer {
  const keyed = entries.map((entry) => ({ entry, key: Buffer.from(entry.path) }));
  keyed.sort((a, b) => Buffer.compare(a.key, b.key) || a.entry.stage - b.entry.stage);
  const extended = entries.some((entry) => entry.skipWorktree || entry.intentToAdd);
  const header = Buffer.alloc(12);
  header.write('DIRC', 'latin1');
  header.writeUInt32BE(extended ? 3 : 2, 4);
  header.writeUInt32BE(entries.length, 8);
  const parts = keyed.map(({ entry, key }) => formatEntry(entry, key));
  const body = Buffer.concat([header, ...parts]);
  return Buffer.concat([body, sha1(body)]);
}

function formatEntry(entry: IndexEntry, path: Buffer): Buffer {
  const extended = entry.skipWorktree || entry.intentToAdd;
  const start = extended ? 64 : 62;
  const bytes = Buffer.alloc(Math.ceil((start + path.length + 1) / 8) * 8);
  const { stamp } = entry;
  const words = [
    stamp.ctimeSec,
    stamp.ctimeNs,
    stamp.mtimeSec,
    stamp.mtimeNs,
    stamp.dev,
    stamp.ino,
    entry.mode,
    stamp.uid,
    stamp.gid,
    stamp.size,
  ];
  words.forEach((word, i) => {
    bytes.writeUInt32BE(word, i * 4);
  });
  bytes.write(entry.oid, 40, 'hex');
  const length = Math.min(path.length, 0xfff);
  const flags = length | (entry.stage << 12) | (extended ? 0x4000 : 0);
  bytes.writeUInt16BE(flags | (entry.assumeValid ? 0x8000 : 0), 60);
  if (extended) {
    const more = (entry.skipWorktree ? 0x4000 : 0) | (entry.intentToAdd ? 0x2000 : 0);
    bytes.writeUInt16BE(more, 62);
  }
  path.copy(bytes, start);
  return bytes;
}

/** True if a file may have changed after its stamp was taken without the stamp showing it. */
export function isRacy(stamp: FileStamp, indexMtimeNs: bigint): boolean {
  return BigInt(stamp.mtimeSec) * 1_000_000_000n + BigInt(stamp.mtimeNs) >= indexMtimeNs;
}

/**
 * Entries of an index that go into a new one unchecked: those as young as the old index lose their
 * size, so that git compares contents. Whole seconds, as many builds of git count.
 */
export function carryOver(entries: readonly IndexEntry[], indexMtimeNs: bigint): IndexEntry[] {
  const indexSec = Number(indexMtimeNs / 1_000_000_000n);
  return entries.map((entry) =>
    entry.stamp.mtimeSec < indexSec ? entry : { ...entry, stamp: { ...entry.stamp, size: 0 } },
  );
}

/** The stamp of a file, cut to 32 bits a field as the index stores it. */
export function stampOf(stat: BigIntStats): FileStamp {
  const cut = (value: bigint) => Number(value & 0xffff_ffffn);
  return {
    ctimeSec: cut(stat.ctimeNs / 1_000_000_000n),
    ctimeNs: Number(stat.ctimeNs % 1_000_000_000n),
    mtimeSec: cut(stat.mtimeNs / 1_000_000_000n),
    mtimeNs: Number(stat.mtimeNs % 1_000_000_000n),
    dev: cut(stat.dev),
    ino: cut(stat.ino),
    uid: cut(stat.uid),
    gid: cut(stat.gid),
    size: cut(stat.size),
  };
}

/** True if both stamps are of the same file, unchanged. */
export function sameStamp(a: FileStamp, b: FileStamp): boolean {
  return (Object.keys(a) as (keyof FileStamp)[]).every((key) => a[key] === b[key]);
}

/** The mode that git keeps for what lies at a path; undefined for folders, sockets and the like. */
export function modeOf(stat: BigIntStats): number | undefined {
  if (stat.isSymbolicLink()) return Mode.symlink;
  if (!stat.isFile()) return undefined;
  return stat.mode & 0o100n ? Mode.executable : Mode.file;
}

/** A stage-0 entry. */
export function indexEntry(path: string, mode: number, oid: string, stamp: FileStamp): IndexEntry {
  const flags = { stage: 0, assumeValid: false, skipWorktree: false, intentToAdd: false };
  return { path, mode, oid, stamp, ...flags };
}

function sha1(bytes: Buffer): Buffer {
  return createHash('sha1').update(bytes).digest();
}
