import { posix } from 'node:path';
import { type AarFile, aarFile, isAppError } from '#libs/contracts';
import type { OrderState } from '#libs/orders';
import {
  assertWorktree,
  listTree,
  readBlob,
  readCommit,
  statusOf,
  type Theater,
  worktreePathOf,
} from '#libs/worktrees';
import type { Finding, FindingKind } from './findings.ts';

const AAR_PATH = 'aar.json';
const AAR_BYTES_MAX = 1024 * 1024;
/** Files that a reason names. */
const NAMED = 10;

/** Thrown inside a judgement to end it. */
class Wanting extends Error {
  readonly kind: FindingKind;
  constructor(kind: FindingKind, what: string, detail: string) {
    super(`${what}: ${detail}`);
    this.kind = kind;
  }
}

/**
 * Judges the result of a completed order by what is committed on its branch, and whether the
 * worktree holds more than that. Reads only.
 * @returns what is wrong with it; undefined: it may be integrated
 */
export async function judgeResult(
  theater: Theater,
  order: OrderState,
): Promise<Finding | undefined> {
  try {
    const { worktreePath, branch } = await worktreeOf(theater, order.order_id);
    const ref = await headOf(theater, branch);
    const aar = await readAar(theater, order.order_id, ref);
    await checkArtifacts(theater, ref, [...aar.artifacts, ...order.artifacts]);
    await checkClean(worktreePath);
    return undefined;
  } catch (error) {
    if (error instanceof Wanting) return { kind: error.kind, reason: error.message };
    throw error;
  }
}

async function worktreeOf(theater: Theater, orderId: string) {
  try {
    return await assertWorktree(theater, worktreePathOf(theater, orderId), orderId);
  } catch (error) {
    const codes = ['WORKTREE_NOT_FOUND', 'PATH_OUTSIDE_THEATER', 'TOOL_POLICY_VIOLATION'] as const;
    if (!isAppError(error, ...codes)) throw error;
    throw new Wanting('worktree-missing', 'worktree missing', error.message);
  }
}

async function headOf({ repoPath }: Theater, branch: string): Promise<string> {
  try {
    return (await readCommit(repoPath, `refs/heads/${branch}`)).sha;
  } catch (error) {
    if (!isAppError(error, 'NOT_FOUND')) throw error;
    throw new Wanting('aar-missing', 'aar missing', `branch ${branch} has no commit`);
  }
}

/** The report as it is in the commit, where nobody can change it any more. */
async function readAar({ repoPath }: Theater, orderId: string, ref: string): Promise<AarFile> {
  const invalid = (detail: string): Wanting => new Wanting('aar-invalid', 'aar invalid', detail);
  let value: unknown;
  try {
    const bytes = await readBlob({ repoPath, ref, path: AAR_PATH, maxBytes: AAR_BYTES_MAX });
    value = JSON.parse(bytes.toString('utf8'));
  } catch (error) {
    // Its message would quote what the unit wrote.
    if (error instanceof SyntaxError) throw invalid('not JSON');
    if (isAppError(error, 'PAYLOAD_TOO_LARGE')) throw invalid(error.message);
    if (!isAppError(error, 'ARTIFACT_NOT_FOUND')) throw error;
    throw new Wanting('aar-missing', 'aar missing', `commit ${ref} holds no ${AAR_PATH}`);
  }
  const parsed = aarFile.safeParse(value);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw invalid(`${issue?.path.join('.')}: ${issue?.message}`);
  }
  const { order_id, status } = parsed.data;
  if (order_id !== orderId) throw invalid(`it is of order ${order_id}`);
  if (status !== 'completed') throw invalid(`it says ${status}`);
  return parsed.data;
}

/** Everything that the report or an event names must be a file of the commit. */
async function checkArtifacts(
  { repoPath }: Theater,
  ref: string,
  named: readonly { path: string }[],
): Promise<void> {
  const files = await listTree({ repoPath, ref });
  const present = new Set(files.map(({ path }) => path));
  const paths = new Set(named.map(({ path }) => posix.normalize(path)));
  const missing = [...paths].filter((path) => !present.has(path));
  if (missing.length === 0) return;
  const shown = missing.slice(0, NAMED).join(', ');
  throw new Wanting('artifact-missing', 'artifact missing', `commit ${ref} holds no ${shown}`);
}

async function checkClean(worktreePath: string): Promise<void> {
  let shown: string;
  try {
    const { clean, changed } = await statusOf(worktreePath);
    if (clean) return;
    shown = `not committed: ${changed.slice(0, NAMED).join(', ')}`;
  } catch (error) {
    // Links, nested repositories, too many or too large files: none of it is committed work.
    if (!isAppError(error, 'TOOL_POLICY_VIOLATION', 'PAYLOAD_TOO_LARGE')) throw error;
    shown = error.message;
  }
  throw new Wanting('dirty', 'dirty tree', shown);
}
