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
import type { OrderCommands, OrderPlace, RoleContext } from '#libs/runtime';
import {
  assertWorktree,
  integrate as merge,
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
const NOTHING: Decision = { ok: true, events: [] };

/**
 * Checks one order and merges its branch into the mainline. Every step can be repeated: once the
 * gates have passed it is that very commit which is merged, the merge finds itself on the mainline,
 * and the events are decided on the order's state.
 * @throws {GATE_FAILED} {MERGE_CONFLICT} {MAINLINE_DIRTY} INTEGRATION_FAILED is told, the mainline
 *   is as it was · {THEATER_NOT_FOUND} {WORKTREE_NOT_FOUND} {PATH_OUTSIDE_THEATER}
 *   {UNKNOWN_GATE_PROFILE} nothing was begun
 */
export async function integrateOrder(
  context: RoleContext,
  orders: OrderCommands,
  gates: Gates,
  input: IntegrateInput,
  signal?: AbortSignal,
): Promise<Promoted> {
  const { theater_id, order_id } = input;
  const theater = await context.theaters.get(theater_id);
  const profile = gates.profile(input.gate_profile);
  const place = { theater_id, order_id };
  const known = await orders.load(place);
  const before = promotedBefore(known);
  if (before !== undefined) return before;
  const { worktreePath, branch } = await assertWorktree(
    theater,
    input.worktree_path ?? worktreePathOf(theater, order_id),
    order_id,
  );
  let checked = passedBefore(known);
  if (checked === undefined) {
    await orders.decide(place, (order) => startIntegration(order, { gateProfile: profile.name }));
    const headSha = await branchHead(theater, branch);
    const candidate = { theater, orderId: order_id, worktreePath, commitSha: headSha };
    checked = { headSha, results: await gates.run(profile, candidate, signal) };
    await judge(orders, place, checked);
    // Another process may have been faster, with another commit even: what is told counts.
    const now = await orders.load(place);
    const told = promotedBefore(now);
    if (told !== undefined) return told;
    checked = passedBefore(now) ?? checked;
  }
  const { headSha, results } = checked;
  const merged = await mergeBranch(context, orders, place, { theater, branch, headSha, results });
  await orders.decide(place, (order) =>
    integrated(order, { commitSha: merged, mainline: theater.mainline }),
  );
  return { order_id, commit_sha: merged, gates: results, duplicate: false };
}

/** Tells that an order cannot be promoted as no gates of its profile's name are there. */
export async function refuseOrder(
  orders: OrderCommands,
  place: OrderPlace,
  message: string,
): Promise<void> {
  await orders.decide(place, (order) =>
    startIntegration(order, { gateProfile: order.gate_profile ?? 'default' }),
  );
  await orders.decide(place, (order) => failing(order, { gate: 'profile', message, gates: [] }));
}

/** A commit and what the gates said about it. */
type Checked = { headSha: string; results: GateResult[] };

/**
 * Tells the outcome of the gates, unless it was told before.
 * @throws {GATE_FAILED} one refuses, and nobody else had told that they pass
 */
async function judge(orders: OrderCommands, place: OrderPlace, checked: Checked): Promise<void> {
  const { headSha, results } = checked;
  const refusing = results.find(({ passed }) => !passed);
  if (refusing === undefined) {
    await orders.decide(place, (order) => passIntegration(order, { headSha, gates: results }));
    return;
  }
  const { gate, message } = refusing;
  let other = false;
  await orders.decide(place, (order) => {
    other = passedBefore(order) !== undefined || promotedBefore(order) !== undefined;
    return other ? NOTHING : failing(order, { gate, message, gates: results });
  });
  if (other) return;
  // What a command wrote stands in the event alone: an answer is no place for others' texts.
  const gates = results.map((one) => ({
    gate: one.gate,
    passed: one.passed,
    message: one.message,
  }));
  throw new AppError('GATE_FAILED', { gate, reason: message }, { details: { gate, gates } });
}

/** The gates have passed already, and which commit they let through. */
function passedBefore({ integration }: OrderState): Checked | undefined {
  const { state, head_sha: headSha, gates: results = [] } = integration ?? {};
  return state === 'PASSED' && headSha !== undefined ? { headSha, results } : undefined;
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
    const moved =
      isAppError(error, 'VERSION_CONFLICT') && (await branchHead(theater, branch)) !== headSha;
    if (!moved && !isAppError(error, 'MERGE_CONFLICT', 'MAINLINE_DIRTY')) throw error;
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
