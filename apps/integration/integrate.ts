import { AppError, type GateResult, isAppError } from '#libs/contracts';
import {
  type Decision,
  escalate,
  failIntegration,
  integrated,
  type OrderState,
  passIntegration,
  startIntegration,
} from '#libs/orders';
import { type OrderCommands, type OrderPlace, type RoleContext, theaterFor } from '#libs/runtime';
import {
  assertWorktree,
  integrate as merge,
  isAncestor,
  logOf,
  type Theater,
  worktreePathOf,
} from '#libs/worktrees';
import type { Gates } from './gates.ts';
import { BRANCH_ONLY } from './verdict.ts';

export type IntegrateInput = {
  theater_id: string;
  order_id: string;
  worktree_path?: string | undefined;
  gate_profile: string;
};

export type Promoted = {
  order_id: string;
  commit_sha: string;
  gates: GateResult[];
  duplicate: boolean;
};

const AUTHOR = { name: 'IronClaw', email: 'ironclaw@localhost' };

/**
 * Checks one order and merges its branch into the mainline, or for work of a mission into the
 * mission's branch. Every step can be repeated: what was
 * merged already only has to be told, the rest is checked anew, as events alone open no gate.
 * @throws {GATE_FAILED} {MERGE_CONFLICT} {MAINLINE_DIRTY} {VERSION_CONFLICT} (the branch has moved on
 *   since its gates passed) INTEGRATION_FAILED is told, the mainline is as it was
 * @throws {THEATER_NOT_FOUND} {WORKTREE_NOT_FOUND} {PATH_OUTSIDE_THEATER}
 *   {UNKNOWN_GATE_PROFILE} {BRANCH_REFUSED} nothing was begun
 */
export async function integrateOrder(
  context: RoleContext,
  orders: OrderCommands,
  gates: Gates,
  input: IntegrateInput,
  signal?: AbortSignal,
): Promise<Promoted> {
  const { theater_id, order_id } = input;
  const home = await context.theaters.get(theater_id);
  const profile = gates.profile(input.gate_profile);
  const place = { theater_id, order_id };
  const known = await orders.load(place);
  const before = promotedBefore(known);
  if (before !== undefined) return before;
  const theater = theaterFor(home, known);
  let checked = await mergedBefore(theater, known);
  // What is merged has only to be told of; its worktree may be gone with its run.
  let branch = checked && known.worktree?.branch;
  let worktreePath = '';
  if (!branch) {
    const path = input.worktree_path ?? worktreePathOf(theater, order_id);
    ({ worktreePath, branch } = await assertWorktree(theater, path, order_id));
  }
  if (checked === undefined) {
    await orders.decide(place, (order) => startIntegration(order, { gateProfile: profile.name }));
    const headSha = await branchHead(theater, branch);
    await refuseMoved(orders, place, known, headSha);
    const { run_id: runId } = known;
    const candidate = { theater, orderId: order_id, runId, worktreePath, commitSha: headSha };
    checked = { headSha, results: await gates.run(profile, candidate, signal) };
    await judge(theater, orders, place, checked);
  }
  const { headSha, results } = checked;
  const merged = await mergeBranch(context, orders, place, { theater, branch, headSha, results });
  await orders.decide(place, (order) =>
    integrated(order, { commitSha: merged, mainline: theater.mainline }),
  );
  return { order_id, commit_sha: merged, gates: results, duplicate: false };
}

/** Tells that an order cannot be promoted as no gates of its profile's name, or no branch, are there. */
export async function refuseOrder(
  orders: OrderCommands,
  place: OrderPlace,
  { gate, message }: { gate: 'profile' | 'branch'; message: string },
): Promise<void> {
  await orders.decide(place, (order) =>
    startIntegration(order, { gateProfile: order.gate_profile ?? 'default' }),
  );
  await orders.decide(place, (order) => failing(order, { gate, message, gates: [] }));
}

/** A commit and what the gates said about it. */
type Checked = { headSha: string; results: GateResult[] };

/**
 * Tells the outcome of the gates, unless it was told before.
 * @throws {GATE_FAILED} one refuses, and no other process has promoted the order meanwhile
 */
async function judge(
  theater: Theater,
  orders: OrderCommands,
  place: OrderPlace,
  checked: Checked,
): Promise<void> {
  const { headSha, results } = checked;
  const refusing = results.find(({ passed }) => !passed);
  if (refusing === undefined) {
    await orders.decide(place, (order) => passIntegration(order, { headSha, gates: results }));
    return;
  }
  const { gate, message } = refusing;
  if ((await mergedBefore(theater, await orders.load(place))) !== undefined) return;
  await orders.decide(place, (order) => failing(order, { gate, message, gates: results }));
  // What a command wrote stands in the event alone: an answer is no place for others' texts.
  const gates = results.map((one) => ({
    gate: one.gate,
    passed: one.passed,
    message: one.message,
  }));
  throw new AppError('GATE_FAILED', { gate, reason: message }, { details: { gate, gates } });
}

/** What passed its gates and is on the mainline, whether or not INTEGRATED tells of it. */
async function mergedBefore(
  { repoPath, mainline }: Theater,
  { integration }: OrderState,
): Promise<Checked | undefined> {
  const { state, head_sha: headSha, gates: results = [] } = integration ?? {};
  if (headSha === undefined || (state !== 'PASSED' && state !== 'INTEGRATED')) return undefined;
  try {
    const merged = await isAncestor(repoPath, headSha, mainline);
    return merged ? { headSha, results } : undefined;
  } catch (error) {
    if (isAppError(error, 'NOT_FOUND')) return undefined; // not a commit of ours
    throw error;
  }
}

/** Refuses a branch that has moved on since its gates passed: it has to be integrated anew. */
async function refuseMoved(
  orders: OrderCommands,
  place: OrderPlace,
  { integration }: OrderState,
  headSha: string,
): Promise<void> {
  const passed = integration?.state === 'PASSED' ? integration.head_sha : undefined;
  if (passed === undefined || passed === headSha) return;
  const subject = `the branch of order ${place.order_id}`;
  const moved = { subject, expected: passed, actual: headSha };
  const error = new AppError('VERSION_CONFLICT', moved);
  const failure = { gate: 'merge', message: error.message, gates: [] };
  await orders.decide(place, (order) => failing(order, failure));
  throw error;
}

function promotedBefore({ order_id, integration }: OrderState): Promoted | undefined {
  if (integration?.state !== 'INTEGRATED' || integration.commit_sha === undefined) return undefined;
  return {
    order_id,
    commit_sha: integration.commit_sha,
    gates: integration.gates ?? [],
    duplicate: true,
  };
}

async function branchHead({ repoPath }: Theater, branch: string): Promise<string> {
  const [head] = await logOf(repoPath, `refs/heads/${branch}`, 1);
  if (head === undefined) throw new Error(`branch ${branch} has no commit`);
  return head.sha;
}

type Merge = Checked & { theater: Theater; branch: string };

async function mergeBranch(
  context: RoleContext,
  orders: OrderCommands,
  place: OrderPlace,
  { theater, branch, headSha, results }: Merge,
): Promise<string> {
  const { order_id } = place;
  try {
    const done = await merge({
      theater,
      orderId: order_id,
      branch,
      expectedSha: headSha,
      message: `Integrate order ${order_id}`,
      author: AUTHOR,
      timestampSec: Math.floor(context.log.defaults.now().getTime() / 1000),
      branchOnly: BRANCH_ONLY,
    });
    return done.commitSha;
  } catch (error) {
    if (!isAppError(error, 'MERGE_CONFLICT', 'MAINLINE_DIRTY')) throw error;
    const failure = { gate: 'merge', message: error.message, gates: results };
    const files = filesOf(error);
    await orders.decide(place, (order) => failing(order, { ...failure, files }));
    throw error;
  }
}

function filesOf(error: AppError): string[] {
  const files = error.details?.files;
  return Array.isArray(files) ? files.filter((file) => typeof file === 'string').slice(0, 256) : [];
}

type Failure = { gate: string; message: string; gates: GateResult[]; files?: string[] };

/** INTEGRATION_FAILED and one escalation for it; nothing where it was told before. */
function failing(order: OrderState, failure: Failure): Decision {
  const failed = failIntegration(order, failure);
  if (!failed.ok || failed.events.length === 0) return failed;
  const { gate, message } = failure;
  const raised = escalate(order, {
    severity: 'MEDIUM',
    route: 'commanding-officer',
    reason: `integration failed at ${gate}: ${message}`.slice(0, 1_000),
    cause: `integration/${order.attempt}/${gate}`,
  });
  return raised.ok ? { ok: true, events: [...failed.events, ...raised.events] } : raised;
}
