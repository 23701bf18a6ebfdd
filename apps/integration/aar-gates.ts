import { type AarFile, aarFile, isAppError } from '#libs/contracts';
import { listTree, readBlob, statusOf } from '#libs/worktrees';
import { type Candidate, failed, failedAt, type GateVerdict, passed } from './verdict.ts';

const AAR_PATH = 'aar.json';
const AAR_BYTES_MAX = 1024 * 1024;

/** The AAR in the commit is valid, of this order, and says that the work is done. */
export async function aarSchema(candidate: Candidate): Promise<GateVerdict> {
  const read = await readAar(candidate);
  if (!read.ok) return failed(read.reason);
  if (read.aar.order_id !== candidate.orderId) {
    return failed(`${AAR_PATH} is of order ${read.aar.order_id}`);
  }
  if (read.aar.status !== 'completed') return failed(`${AAR_PATH} says ${read.aar.status}`);
  return passed(`${AAR_PATH} is valid`);
}

/** Every artifact that the AAR names is a regular file of the commit. */
export async function artifactsExist(candidate: Candidate): Promise<GateVerdict> {
  const read = await readAar(candidate);
  if (!read.ok) return failed('no artifacts are known without a valid AAR');
  const { repoPath } = candidate.theater;
  const files = await listTree({ repoPath, ref: candidate.commitSha });
  // A link or a submodule is no content of its own: what it names may lie anywhere.
  const present = new Set(files.filter(({ mode }) => isRegular(mode)).map(({ path }) => path));
  const missing = read.aar.artifacts.map(({ path }) => path).filter((path) => !present.has(path));
  if (missing.length === 0)
    return passed(`${read.aar.artifacts.length} artifacts are in the commit`);
  return failedAt('the commit does not hold', 'missing', missing);
}

/** Git's modes of regular files: 100644 and 100755. */
const isRegular = (mode: number): boolean => (mode & 0o170000) === 0o100000;

/** Nothing in the worktree is left uncommitted. */
export async function cleanTree({ worktreePath }: Candidate): Promise<GateVerdict> {
  const { clean, changed } = await statusOf(worktreePath);
  if (clean) return passed('the worktree is clean');
  return failedAt('the worktree holds work that is not committed:', 'changed', changed);
}

type ReadAar = { ok: true; aar: AarFile } | { ok: false; reason: string };

/** The AAR as it is in the commit, where nobody can change it any more. */
async function readAar({ theater, commitSha }: Candidate): Promise<ReadAar> {
  const { repoPath } = theater;
  let text: string;
  try {
    const where = { repoPath, ref: commitSha, path: AAR_PATH };
    text = (await readBlob({ ...where, maxBytes: AAR_BYTES_MAX })).toString('utf8');
  } catch (error) {
    if (isAppError(error, 'ARTIFACT_NOT_FOUND'))
      return { ok: false, reason: `${AAR_PATH} is missing` };
    if (isAppError(error, 'PAYLOAD_TOO_LARGE'))
      return { ok: false, reason: `${AAR_PATH} is too large` };
    throw error;
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return { ok: false, reason: `${AAR_PATH} is not JSON: ${(error as Error).message}` };
  }
  const result = aarFile.safeParse(value);
  if (result.success) return { ok: true, aar: result.data };
  const issue = result.error.issues[0];
  return { ok: false, reason: `${AAR_PATH}: ${issue?.path.join('.')}: ${issue?.message}` };
}
