import { createHash } from 'node:crypto';
import { constants, type Dirent } from 'node:fs';
import { open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { AppError, ARTIFACT_BODY_BYTES, type BodyUpload, type NamespaceRef } from '#libs/contracts';
import { decodeUtf8, isArtifactFolder, type SkipReason, skipByPath, skipBySize } from './rules.ts';

/** A file that is uploaded. */
export type Artifact = {
  /** Relative to the mission folder, with `/`. */
  path: string;
  /** `sha256:` and 64 hex digits, of its bytes. */
  hash: string;
  bytes: number;
};

export type Skipped = { path: string; reason: SkipReason };
export type Scan = { artifacts: Artifact[]; skipped: Skipped[] };

/** Files of one mission folder that are looked at. */
export const SCAN_FILES_MAX = 10_000;

/**
 * The artifacts of a mission folder, and what is left out and why; sorted by path.
 * @throws {PAYLOAD_TOO_LARGE} more than 10 000 files
 */
export async function scanMission(missionDir: string): Promise<Scan> {
  const scan: Scan = { artifacts: [], skipped: [] };
  let files = 0;
  const skip = (path: string, reason: SkipReason): void => void scan.skipped.push({ path, reason });

  const look = async (entry: Dirent, path: string): Promise<void> => {
    if (entry.isDirectory()) {
      if (isArtifactFolder(path)) await walk(path);
      return;
    }
    files += 1;
    if (files > SCAN_FILES_MAX) {
      throw new AppError('PAYLOAD_TOO_LARGE', { what: 'mission folder', limit: SCAN_FILES_MAX });
    }
    const unfit = skipByPath(path);
    if (unfit !== undefined) return skip(path, unfit);
    const read = await readArtifact(join(missionDir, path));
    if ('reason' in read) return skip(path, read.reason);
    scan.artifacts.push({ path, hash: hashOf(read.bytes), bytes: read.bytes.length });
  };
  const walk = async (folder: string): Promise<void> => {
    const entries = await readdir(join(missionDir, folder), { withFileTypes: true });
    for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
      await look(entry, folder === '' ? entry.name : `${folder}/${entry.name}`);
    }
  };
  await walk('');
  return scan;
}

/**
 * The upload of an artifact of an earlier scan, or why there is none.
 * @param artifactRoot the mission folder relative to the repository, as kitty-specs/064-my-mission
 */
export async function readUpload(
  missionDir: string,
  artifactRoot: string,
  namespace: NamespaceRef,
  artifact: Artifact,
): Promise<{ ok: true; upload: BodyUpload } | { ok: false; reason: SkipReason }> {
  const unfit = skipByPath(artifact.path);
  if (unfit !== undefined) return { ok: false, reason: unfit };
  const read = await readArtifact(join(missionDir, artifact.path));
  if ('reason' in read) return { ok: false, reason: read.reason };
  if (hashOf(read.bytes) !== artifact.hash) return { ok: false, reason: 'content_hash_mismatch' };
  const text = decodeUtf8(read.bytes);
  if (text === undefined) return { ok: false, reason: 'not_utf8' };
  const { project_uuid, mission_slug, target_branch, mission_type, manifest_version } = namespace;
  return {
    ok: true,
    upload: {
      project_uuid,
      mission_slug,
      target_branch,
      mission_type,
      manifest_version,
      artifact_path: `${artifactRoot}/${artifact.path}`,
      content_hash: artifact.hash,
      hash_algorithm: 'sha256',
      content_body: text,
    },
  };
}

/** `sha256:` and the hex digits. */
export function hashOf(bytes: Uint8Array): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

/** Reads one regular file; a link is not followed, and a large file is not read. */
async function readArtifact(file: string): Promise<{ bytes: Uint8Array } | { reason: SkipReason }> {
  let handle: Awaited<ReturnType<typeof open>>;
  try {
    // Not blocking, so that a pipe in the folder cannot hold the scan.
    const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
    handle = await open(file, flags);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return { reason: 'missing' };
    if (code === 'ELOOP' || code === 'ENXIO') return { reason: 'not_a_file' };
    throw error;
  }
  try {
    const stat = await handle.stat();
    if (!stat.isFile()) return { reason: 'not_a_file' };
    const tooLarge = skipBySize(stat.size);
    if (tooLarge !== undefined) return { reason: tooLarge };
    // One byte more than is allowed: it may have grown since.
    const buffer = Buffer.alloc(ARTIFACT_BODY_BYTES + 1);
    let length = 0;
    for (;;) {
      const { bytesRead } = await handle.read(buffer, length, buffer.length - length, length);
      length += bytesRead;
      if (bytesRead === 0 || length === buffer.length) break;
    }
    if (skipBySize(length) !== undefined) return { reason: 'oversized' };
    return { bytes: buffer.subarray(0, length) };
  } finally {
    await handle.close();
  }
}
