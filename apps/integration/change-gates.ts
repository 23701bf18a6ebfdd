import { type GateSpec, isAppError } from '#libs/contracts';
import { type ChangedFile, changedFiles, readBlob } from '#libs/worktrees';
import {
  BRANCH_ONLY,
  type Candidate,
  failed,
  failedAt,
  type GateVerdict,
  passed,
} from './verdict.ts';
import { matchesAny } from './glob.ts';

type Spec<G extends GateSpec['gate']> = Extract<GateSpec, { gate: G }>;

/** What would reach the mainline: the branch's own changes without its control files. */
async function changesOf({ theater, commitSha }: Candidate): Promise<ChangedFile[]> {
  const { repoPath, mainline } = theater;
  const changes = await changedFiles({ repoPath, base: mainline, head: commitSha });
  return changes.filter(({ path }) => !BRANCH_ONLY.includes(path));
}

/** Only allowed paths were changed. */
export async function pathPolicy(
  { allow, deny, links }: Spec<'paths'>,
  candidate: Candidate,
): Promise<GateVerdict> {
  const changes = await changesOf(candidate);
  const outside = changes.filter(({ path }) => !matchesAny(path, allow) || matchesAny(path, deny));
  if (outside.length > 0) {
    const paths = outside.map(({ path }) => path);
    return failedAt('the order may not change', 'paths', paths);
  }
  const linked = changes.filter(({ now }) => now === 'link').map(({ path }) => path);
  if (!links && linked.length > 0) {
    return failedAt('the order may not make links:', 'paths', linked);
  }
  return passed(`${changes.length} changed paths are allowed`);
}

/** Not too many files were added or changed, none is too large, nor all of them together. */
export async function sizePolicy(
  { max_files, max_file_bytes, max_total_bytes }: Spec<'sizes'>,
  candidate: Candidate,
): Promise<GateVerdict> {
  const changes = await changesOf(candidate);
  if (changes.length > max_files) {
    return failed(`the order changes ${changes.length} files, ${max_files} are allowed`);
  }
  const { repoPath } = candidate.theater;
  let total = 0;
  for (const { path, now } of changes) {
    if (now !== 'file') continue;
    const where = { repoPath, ref: candidate.commitSha, path };
    const bytes = await sizeOf({ ...where, maxBytes: max_file_bytes });
    if (bytes === undefined) {
      return failedAt(`over ${max_file_bytes} bytes:`, 'paths', [path]);
    }
    total += bytes;
    if (total > max_total_bytes) {
      return failed(`the order's files are over ${max_total_bytes} bytes together`);
    }
  }
  return passed(`${changes.length} changed files of ${total} bytes`);
}

async function sizeOf(blob: Parameters<typeof readBlob>[0]): Promise<number | undefined> {
  try {
    return (await readBlob(blob)).length;
  } catch (error) {
    if (isAppError(error, 'PAYLOAD_TOO_LARGE')) return undefined;
    throw error;
  }
}
