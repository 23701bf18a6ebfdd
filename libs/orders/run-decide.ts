import {
  AppError,
  type Constraints,
  type InputRef,
  invalid,
  LIMITS,
  type ObjectRef,
  type OutputSpec,
  type Profile,
  type PromptSpec,
  type Routing,
} from '#libs/contracts';
import { artifactsOf, type RunAggregate, totalCost } from './aggregate.ts';
import {
  clip,
  type Decision,
  decided,
  type EventDraft,
  fitting,
  notPossible,
  orderEvent,
  refuse,
  refused,
  runEvent,
} from './draft.ts';
import { orderIdFor } from './ids.ts';
import { cancelOrder } from './order-decide.ts';
import { type OrderState, unknownOrder } from './order-state.ts';
import type { RunState } from './run.ts';
import { isTerminal } from './tables.ts';

export type CreateRun = {
  runId: string;
  theaterId: string;
  garrisonId: string;
  userId: string;
  objective: string;
  requestId?: string;
  /** Digest of the whole request: tells a resent request from another one of the same id. */
  requestDigest?: string;
  playbook?: string;
  variables?: Record<string, string>;
  inputs?: InputRef[];
  autopilot: boolean;
};

/** Opens a run; the same request again is done already, another one of its id is refused. */
export function createRun(agg: RunAggregate, command: CreateRun): Decision {
  const { run } = agg;
  if (run?.created) {
    const same = run.request_digest === (command.requestDigest ?? null);
    if (same) return decided();
    return refuse('REQUEST_ID_CONFLICT', { id: command.requestId ?? run.run_id });
  }
  if (command.objective.trim() === '') return refused(invalid('objective', 'must not be blank'));
  if (run !== undefined && run.status !== 'OPEN') return notOpen(run);
  const place = run ?? {
    garrison_id: command.garrisonId,
    theater_id: command.theaterId,
    run_id: command.runId,
    subject_seq: 0,
  };
  const { requestId, requestDigest, playbook, variables, inputs } = command;
  const payload = {
    user_id: command.userId,
    objective: command.objective,
    autopilot: command.autopilot,
    ...(requestId !== undefined && { request_id: requestId }),
    ...(requestDigest !== undefined && { request_digest: requestDigest }),
    ...(playbook !== undefined && { playbook }),
    ...(variables && { variables }),
    ...(inputs && { inputs }),
  };
  return decided(runEvent(place, 'RUN_CREATED', payload));
}

/** One order to be: a step of a playbook, with everything filled in. */
export type PlannedStep = {
  /** Unique in the plan; what `depends_on` and the reply name. */
  key: string;
  type: string;
  objective: string;
  profile: Profile;
  /** Why it got this profile, where a policy had a say. */
  routing?: Routing;
  constraints: Constraints;
  depends_on: readonly string[];
  prompt: PromptSpec;
  outputs: OutputSpec[];
  inputs: InputRef[];
  gate_profile: string;
};

export type PlanMeta = {
  playbook?: string;
  playbookVersion?: number;
  /** The files, in order, that make the reply. */
  reply: readonly { step: string; path: string }[];
};

/**
 * Turns steps into orders: ORDER_CREATED for each, then RUN_PLANNED. A run is planned once; the ids
 * of its orders follow from run and step key, so asking again changes nothing.
 */
export function planRun(
  agg: RunAggregate,
  steps: readonly PlannedStep[],
  meta: PlanMeta,
): Decision {
  const { run } = agg;
  if (run?.planned) return decided();
  if (run === undefined) return noRun();
  if (run.status !== 'OPEN') return notOpen(run);
  const fault = checkPlan(steps, meta);
  if (fault !== null) return refused(fault);
  const idOf = (key: string): string => orderIdFor(run.run_id, key, run.garrison_id);
  const created = steps.flatMap((step) => orderOf(agg, run, step, idOf));
  const { playbook, playbookVersion } = meta;
  const payload = {
    order_ids: steps.map(({ key }) => idOf(key)),
    reply: meta.reply.map(({ step, path }) => ({ order_id: idOf(step), path })),
    ...(playbook !== undefined && { playbook }),
    ...(playbookVersion !== undefined && { playbook_version: playbookVersion }),
  };
  return decided(...created, runEvent(run, 'RUN_PLANNED', payload));
}

function orderOf(
  agg: RunAggregate,
  run: RunState,
  { key: step, depends_on, ...fields }: PlannedStep,
  idOf: (key: string) => string,
): EventDraft[] {
  const { run_id, theater_id, garrison_id } = run;
  const order_id = idOf(step);
  const order =
    agg.orders.get(order_id) ?? unknownOrder({ order_id, run_id, theater_id, garrison_id });
  if (order.created) return [];
  const payload = { ...fields, step, depends_on: depends_on.map(idOf) };
  return [orderEvent(order, 'ORDER_CREATED', payload)];
}

/** What is wrong with a plan: size, a repeated key, an unknown step, a cycle; null if nothing. */
export function checkPlan(steps: readonly PlannedStep[], meta: PlanMeta): AppError | null {
  if (steps.length === 0) return invalid('steps', 'must have at least one step');
  if (steps.length > LIMITS.ordersPerRun) {
    return new AppError(
      'PAYLOAD_TOO_LARGE',
      { what: 'number of orders', limit: LIMITS.ordersPerRun },
      { field: 'steps' },
    );
  }
  const keys = new Set<string>();
  for (const [index, { key }] of steps.entries()) {
    if (keys.has(key)) return invalid(`steps[${index}].key`, `${key} is used twice`);
    keys.add(key);
  }
  for (const [index, { depends_on }] of steps.entries()) {
    const unknown = depends_on.find((key) => !keys.has(key));
    if (unknown !== undefined) {
      return invalid(`steps[${index}].depends_on`, `${unknown} does not name a step`);
    }
  }
  for (const [index, { step }] of meta.reply.entries()) {
    if (!keys.has(step)) return invalid(`reply[${index}].step`, `${step} does not name a step`);
  }
  const stuck = cycleOf(steps);
  return stuck.length === 0
    ? null
    : invalid('steps', `depend on each other in a circle: ${stuck.join(', ')}`);
}

/** Keys of the steps that can never begin as they wait for one another. */
function cycleOf(steps: readonly PlannedStep[]): string[] {
  const done = new Set<string>();
  let waiting = [...steps];
  for (;;) {
    const blocked = waiting.filter(({ depends_on }) => depends_on.some((key) => !done.has(key)));
    if (blocked.length === waiting.length) return blocked.map(({ key }) => key);
    for (const step of waiting) if (!blocked.includes(step)) done.add(step.key);
    waiting = blocked;
  }
}

/** Lets the orders of a planned run go. */
export function dispatchRun(agg: RunAggregate): Decision {
  const { run } = agg;
  if (run === undefined) return noRun();
  if (run.dispatched) return decided();
  if (run.status !== 'OPEN') return notOpen(run);
  if (requiredOrders(agg).length === 0) return refuse('PLAN_MISSING', { id: run.run_id });
  return decided(runEvent(run, 'RUN_DISPATCHED', {}));
}

/** The orders that a run is for: all that were created, those of the plan and others. */
export function requiredOrders(agg: RunAggregate): OrderState[] {
  return [...agg.orders.values()].filter(({ created }) => created);
}

/** Answers the user: every required order must be on the mainline. */
export function completeRun(
  agg: RunAggregate,
  command: { reply: ObjectRef; durationMs?: number },
): Decision {
  const { run } = agg;
  if (run === undefined) return noRun();
  if (run.status === 'COMPLETE') return decided();
  if (run.status !== 'OPEN') return notOpen(run);
  const orders = requiredOrders(agg);
  if (orders.length === 0) return refuse('PLAN_MISSING', { id: run.run_id });
  const pending = orders.filter(({ integration }) => integration?.state !== 'INTEGRATED');
  if (pending.length > 0) return refuse('RUN_PENDING', { id: run.run_id, count: pending.length });
  const { micro_usd, input_tokens, output_tokens } = totalCost(agg);
  const payload = {
    reply: command.reply,
    artifacts: fitting(artifactsOf(agg)),
    cost_micro_usd: micro_usd,
    usage: { input_tokens, output_tokens },
    ...(command.durationMs !== undefined && { duration_ms: command.durationMs }),
  };
  return decided(runEvent(run, 'RUN_COMPLETED', payload));
}

/** Gives the run up; its live orders are cancelled with it. */
export function failRun(
  agg: RunAggregate,
  command: { reason: string; code?: string; stage?: string; orderId?: string },
): Decision {
  const { run } = agg;
  if (run === undefined) return noRun();
  if (run.status === 'FAILED') return decided();
  if (run.status !== 'OPEN') return notOpen(run);
  const { code, stage, orderId } = command;
  const reason = clip(command.reason);
  const payload = {
    reason,
    message: reason,
    ...(code !== undefined && { code }),
    ...(stage !== undefined && { stage }),
    ...(orderId !== undefined && { order_id: orderId }),
  };
  const failed = runEvent(run, 'RUN_FAILED', payload);
  return decided(failed, ...cancellations(agg, `the run failed: ${reason}`));
}

/** Ends the run at the user's wish; its live orders are cancelled with it. */
export function cancelRun(agg: RunAggregate, command: { reason: string }): Decision {
  const { run } = agg;
  if (run === undefined) return noRun();
  if (run.status === 'CANCELLED') return decided();
  if (run.status !== 'OPEN') return notOpen(run);
  const reason = clip(command.reason);
  const cancelled = runEvent(run, 'RUN_CANCELLED', { reason });
  return decided(cancelled, ...cancellations(agg, `the run was cancelled: ${reason}`));
}

/** Cancels the orders that are still live although their run has ended. */
export function cancelLiveOrders(agg: RunAggregate, command: { reason: string }): Decision {
  const { run } = agg;
  if (run === undefined) return noRun();
  if (run.status === 'OPEN') return notPossible('Cancelling all orders', 'the run is OPEN');
  return decided(...cancellations(agg, command.reason));
}

function cancellations(agg: RunAggregate, reason: string): EventDraft[] {
  const live = [...agg.orders.values()].filter(({ status }) => !isTerminal(status));
  return live.flatMap((order) => {
    const decision = cancelOrder(order, { reason });
    return decision.ok ? decision.events : [];
  });
}

function notOpen({ run_id, status }: RunState): Decision {
  return refuse('RUN_NOT_OPEN', { id: run_id, status });
}

/** An aggregate without events does not know its own id; the caller does. */
function noRun(): Decision {
  return refuse('RUN_NOT_FOUND', { id: 'of that id' });
}
