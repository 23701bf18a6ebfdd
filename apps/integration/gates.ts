import { type AarFile, aarFile, AppError, type GateResult, isAppError } from '#libs/contracts';
import { listTree, readBlob, statusOf, type Theater } from '#libs/worktrees';

/** What the gates look at: one commit of an order's branch, and the worktree it was made in. */
export type Candidate = {
  theater: Theater;
  orderId: string;
  worktreePath: string;
  commitSha: string;
};

type Gate = {
  name: string;
  check: (candidate: Candidate) => Promise<Omit<GateResult, 'gate'>>;
};

export const AAR_PATH = 'aar.json';
const AAR_BYTES_MAX = 1024 * 1024;

/** Sets of gates by name. Each is run in order, all of them, whether or not one fails. */
const GATE_PROFILES: Readonly<Record<string, readonly Gate[]>> = {
  default: [
    { name: 'aar-schema', check: aarSchema },
    { name: 'artifacts', check: artifactsExist },
    { name: 'clean-tree', check: cleanTree },
  ],
};

/** @throws {UNKNOWN_GATE_PROFILE} with `field` gate_profile */
export function gatesOf(profile: string): readonly Gate[] {
  const gates = Object.hasOwn(GATE_PROFILES, profile) ? GATE_PROFILES[profile] : undefined;
  if (gates !== undefined) return gates;
  throw new AppError('UNKNOWN_GATE_PROFILE', { profile }, { field: 'gate_profile' });
}

/** Runs the gates and tells the result of each; only a broken machine throws. */
export async function runGates(
  gates: readonly Gate[],
  candidate: Candidate,
): Promise<GateResult[]> {
  const results: GateResult[] = [];
  for (const { name, check } of gates) {
    results.push({ gate: name, ...(await check(candidate)) });
  }
  return results;
}

type Result = Omit<GateResult, 'gate'>;

const passed = (message: string): Result => ({ passed: true, message });
const failed = (message: string, details?: Record<string, unknown>): Result => ({
  passed: false,
  message,
  ...(details && { details }),
});

async function aarSchema(candidate: Candidate): Promise<Result> {
  const read = await readAar(candidate);
  if (!read.ok) return failed(read.reason);
  if (read.aar.order_id !== candidate.orderId) {
    return failed(`${AAR_PATH} is of order ${read.aar.order_id}`);
  }
  if (read.aar.status !== 'completed') return failed(`${AAR_PATH} says ${read.aar.status}`);
  return passed(`${AAR_PATH} is valid`);
}

async function artifactsExist(candidate: Candidate): Promise<Result> {
  const read = await readAar(candidate);
  if (!read.ok) return failed('no artifacts are known without a valid AAR');
  const { repoPath } = candidate.theater;
  const files = await listTree({ repoPath, ref: candidate.commitSha });
  // A link or a submodule is no content of its own: what it names may lie anywhere.
  const present = new Set(files.filter(({ mode }) => isRegular(mode)).map(({ path }) => path));
  const missing = read.aar.artifacts.map(({ path }) => path).filter((path) => !present.has(path));
  if (missing.length === 0)
    return passed(`${read.aar.artifacts.length} artifacts are in the commit`);
  return failed(`the commit does not hold ${missing.slice(0, 10).join(', ')}`, {
    missing: missing.slice(0, 100),
  });
}

/** Git's modes of regular files: 100644 and 100755. */
const isRegular = (mode: number): boolean => (mode & 0o170000) === 0o100000;

async function cleanTree({ worktreePath }: Candidate): Promise<Result> {
  const { clean, changed } = await statusOf(worktreePath);
  if (clean) return passed('the worktree is clean');
  return failed(
    `the worktree holds work that is not committed: ${changed.slice(0, 10).join(', ')}`,
    {
      changed: changed.slice(0, 100),
    },
  );
}

type ReadAar = { ok: true; aar: AarFile } | { ok: false; reason: string };

/** The AAR as it is in the commit, where nobody can change it any more. */
async function readAar({ theater, commitSha }: Candidate): Promise<ReadAar> {
  let text: string;
  try {
    const { repoPath } = theater;
    const bytes = await readBlob({
      repoPath,
      ref: commitSha,
      path: AAR_PATH,
      maxBytes: AAR_BYTES_MAX,
    });
    text = bytes.toString('utf8');
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
