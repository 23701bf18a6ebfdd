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
import { gatesOf, runGates } from './gates.ts';

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
/** Control files of an order: they stay on its branch, so that orders do not collide in them. */
const BRANCH_ONLY = ['order.json', 'task.md', 'aar.json', 'state.json'];

/**
 * Checks one order and merges its branch into the mainline. Every step can be repeated: the merge
 * finds itself on the mainline, and the events are decided on the order's state.
 * @throws {GATE_FAILED} {MERGE_CONFLICT} {MAINLINE_DIRTY} INTEGRATION_FAILED is told, the mainline
 *   is as it was · {THEATER_NOT_FOUND} {WORKTREE_NOT_FOUND} {PATH_OUTSIDE_THEATER}
 *   {UNKNOWN_GATE_PROFILE} nothing was begun
 */
export async function integrateOrder(
  context: RoleContext,
  orders: OrderCommands,
  input: IntegrateInput,
): Promise<Promoted> {
  const { theater_id, order_id } = input;
  const theater = await context.theaters.get(theater_id);
  const gates = gatesOf(input.gate_profile);
  const place = { theater_id, order_id };
  const known = await orders.load(place);
  const before = promotedBefore(known);
  if (before !== undefined) return before;
  const { worktreePath, branch } = await assertWorktree(
    theater,
    input.worktree_path ?? worktreePathOf(theater, order_id),
    order_id,
  );
  await orders.decide(place, (order) =>
    startIntegration(order, { gateProfile: input.gate_profile }),
  );
  const commitSha = await branchHead(theater, branch);
  const results = await runGates(gates, { theater, orderId: order_id, worktreePath, commitSha });
  const refusing = results.find(({ passed }) => !passed);
  if (refusing !== undefined) {
    const { gate, message } = refusing;
    await tellFailure(orders, place, { gate, message, gates: results });
    throw new AppError(
      'GATE_FAILED',
      { gate, reason: message },
      { details: { gate, gates: results } },
    );
  }
  await orders.decide(place, (order) => passIntegration(order, { gates: results }));
  const merged = await mergeBranch(context, orders, place, { theater, branch, commitSha, results });
  await orders.decide(place, (order) =>
    integrated(order, { commitSha: merged, mainline: theater.mainline }),
  );
  return { order_id, commit_sha: merged, gates: results, duplicate: false };
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

type Merge = { theater: Theater; branch: string; commitSha: string; results: GateResult[] };

async function mergeBranch(
  context: RoleContext,
  orders: OrderCommands,
  place: OrderPlace,
  { theater, branch, commitSha, results }: Merge,
): Promise<string> {
  const { order_id } = place;
  try {
    const done = await merge({
      theater,
      orderId: order_id,
      branch,
      expectedSha: commitSha,
      message: `Integrate order ${order_id}`,
      author: AUTHOR,
      timestampSec: Math.floor(context.log.defaults.now().getTime() / 1000),
      branchOnly: BRANCH_ONLY,
    });
    return done.commitSha;
  } catch (error) {
    if (!isAppError(error, 'MERGE_CONFLICT', 'MAINLINE_DIRTY')) throw error;
    const files = filesOf(error);
    await tellFailure(orders, place, {
      gate: 'merge',
      message: error.message,
      gates: results,
      files,
    });
    throw error;
  }
}

function filesOf(error: AppError): string[] {
  const files = error.details?.files;
  return Array.isArray(files) ? files.filter((file) => typeof file === 'string').slice(0, 256) : [];
}

type Failure = { gate: string; message: string; gates: GateResult[]; files?: string[] };

/** INTEGRATION_FAILED and one escalation for it. */
async function tellFailure(
  orders: OrderCommands,
  place: OrderPlace,
  failure: Failure,
): Promise<void> {
  await orders.decide(place, (order) =>
    withEscalation(order, failIntegration(order, failure), failure),
  );
}

function withEscalation(
  order: OrderState,
  decision: Decision,
  { gate, message }: Failure,
): Decision {
  if (!decision.ok || decision.events.length === 0) return decision;
  const raised = escalate(order, {
    severity: 'MEDIUM',
    route: 'commanding-officer',
    reason: `integration failed at ${gate}: ${message}`.slice(0, 1_000),
    cause: `integration/${order.attempt}/${gate}`,
  });
  return raised.ok ? { ok: true, events: [...decision.events, ...raised.events] } : raised;
}
