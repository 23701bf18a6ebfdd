import { type API, AppError, type InputOf } from '#libs/contracts';
import {
  boardOf,
  layoutOf,
  parseMeta,
  type Result,
  subtaskCounts,
  taskFiles,
} from '#libs/missions';
import {
  hasImplementationEvidence,
  merge,
  type MergeInput,
  type Plan,
  planOf,
  preflight,
  type Repository,
  type Stamp,
  startReview,
  startWorkspace,
  withoutWps,
  workflowEvidenceMissing,
} from '#libs/workspaces';
import { namesInCheckout, readCheckoutFile, type Theater } from '#libs/worktrees';

type StartInput = InputOf<typeof API.vault.startLane>;
type MergeMissionInput = InputOf<typeof API.vault.mergeMission>;

/** The text of one file goes to the caller in one message. */
const PROMPT_BYTES_MAX = 256 * 1024;
const FILE_BYTES_MAX = 4 * 1024 * 1024;

/**
 * Makes what a work package is done or reviewed in. Repeating answers the same.
 * @throws {LANE_ALLOCATION_FAILED} with `field` wp_id · {PAYLOAD_TOO_LARGE} {TOOL_POLICY_VIOLATION}
 *   a file of the mission is too large, or a link
 */
export async function startLane(theater: Theater, input: StartInput, stamp: Stamp) {
  const { wp_id, mission_slug } = input;
  const repository = repositoryOf(theater);
  const plan = planned(theater, input, (reason) => noLane(wp_id, reason));
  const place = await (input.for === 'review'
    ? reviewIn(repository, plan, wp_id)
    : laneIn(theater, plan, wp_id, stamp));
  const tasks = textOf(theater, layoutOf(mission_slug).tasks, FILE_BYTES_MAX);
  return {
    ...place,
    prompt: promptOf(theater, mission_slug, wp_id),
    subtasks: tasks === undefined ? null : subtaskCounts(tasks, wp_id),
    evidence: (await hasImplementationEvidence(repository, plan, wp_id)) ?? false,
  };
}

async function laneIn(theater: Theater, plan: Plan, wpId: string, stamp: Stamp) {
  const repository = repositoryOf(theater);
  const targetBranch = targetOf(theater, plan);
  const started = await startWorkspace({ ...stamp, repository, plan, wpId, targetBranch });
  const { workspace_path, lane_id, lane_branch, lane_base_ref } = laneOr(wpId, started);
  return { branch: lane_branch, workspace_path, lane_id, lane_base_ref };
}

async function reviewIn(repository: Repository, plan: Plan, wpId: string) {
  const started = await startReview(repository, plan, wpId);
  const { branch, lane_id, lane_branch } = laneOr(wpId, started);
  return { branch, workspace_path: null, lane_id, lane_base_ref: lane_branch };
}

/**
 * Merges what the lanes of a mission hold into its target. Repeating answers the same commit, and
 * finishes what a crash left. Hooks of the repository are not run: units may have written them.
 * @throws {PREFLIGHT_FAILED} with `details.errors`; everything is as it was
 */
export async function mergeMission(theater: Theater, input: MergeMissionInput, stamp: Stamp) {
  const { strategy, canceled, dry_run } = input;
  const all = planned(theater, input, (reason) => {
    const target = targetOf(theater, { slug: input.mission_slug, targetBranch: undefined });
    return preflightFailed(target, [reason]);
  });
  const plan = withoutWps(all, canceled);
  const target = targetOf(theater, plan);
  const repository = repositoryOf(theater);
  const options = { repository, plan, target, strategy, push: false, hooks: false };
  const wanted: MergeInput = { ...stamp, ...options };
  const lanes = plan.lanes.map(({ branch }) => branch);
  if (dry_run) {
    const errors = await preflight(wanted);
    const owed = { workflow_evidence_missing: await evidenceOwed(repository, plan, target) };
    if (errors.length > 0) throw preflightFailed(target, errors, owed);
    return { target_branch: target, commit: null, worktree_removed: false, lanes, ...owed };
  }
  const merged = await merge(wanted);
  if (merged.ok) return { ...merged.value, lanes };
  throw preflightFailed(target, merged.error.data['errors'] as string[]);
}

async function evidenceOwed(...where: Parameters<typeof workflowEvidenceMissing>) {
  return (await workflowEvidenceMissing(...where)) ?? null;
}

function repositoryOf({ repoPath, gitDir }: Theater): Repository {
  return { root: repoPath, gitDir };
}

function planned(
  theater: Theater,
  { mission_slug, wps }: Pick<StartInput, 'mission_slug' | 'wps'>,
  refusal: (reason: string) => AppError,
): Plan {
  const lanes = textOf(theater, layoutOf(mission_slug).lanes, FILE_BYTES_MAX);
  try {
    return planOf(mission_slug, lanes, wps);
  } catch (error) {
    throw refusal((error as Error).message);
  }
}

/** Where the mission goes in the end: what its meta.json says, else lanes.json, else the mainline. */
function targetOf(theater: Theater, plan: Pick<Plan, 'slug' | 'targetBranch'>): string {
  const meta = textOf(theater, layoutOf(plan.slug).meta, FILE_BYTES_MAX);
  const known = meta === undefined ? undefined : parseMeta(meta);
  const { targetBranch } = boardOf(plan.slug, known, new Map());
  return targetBranch ?? plan.targetBranch ?? theater.mainline;
}

function promptOf(theater: Theater, slug: string, wpId: string) {
  const { taskFolder } = layoutOf(slug);
  const name = taskFiles(namesInCheckout(theater, taskFolder)).get(wpId);
  if (name === undefined) return null;
  const path = `${taskFolder}/${name}`;
  const text = textOf(theater, path, PROMPT_BYTES_MAX);
  return text === undefined ? null : { path, text };
}

function textOf(theater: Theater, path: string, maxBytes: number): string | undefined {
  return readCheckoutFile(theater, path, maxBytes)?.toString('utf8');
}

function laneOr<T>(wpId: string, result: Result<T>): T {
  if (result.ok) return result.value;
  throw noLane(wpId, String(result.error.data['reason']));
}

function noLane(wpId: string, reason: string): AppError {
  const params = { wp_id: wpId, reason };
  return new AppError('LANE_ALLOCATION_FAILED', params, { field: 'wp_id' });
}

function preflightFailed(target: string, errors: readonly string[], more = {}): AppError {
  const params = { target_branch: target, reason: errors.join('; ').slice(0, 2_000) };
  const details = { target_branch: target, errors: errors.slice(0, 100), ...more };
  return new AppError('PREFLIGHT_FAILED', params, { details });
}
