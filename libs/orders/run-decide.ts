import {
  AppError,
  type Governance,
  type InputRef,
  invalid,
  LIMITS,
  type MissionRef,
  type ObjectRef,
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
import {
  capReasons,
  checkPlan,
  type PlanCaps,
  type PlanMeta,
  type PlannedStep,
} from './plan-check.ts';
import { escalate } from './recovery.ts';
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
  playbookVersion?: number;
  variables?: Record<string, string>;
  settings?: Record<string, string | number | boolean>;
  inputs?: InputRef[];
  governance?: Governance;
  mission?: MissionRef;
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
  const { requestId, requestDigest, playbook, playbookVersion, variables, settings, inputs } =
    command;
  const { governance, mission } = command;
  const payload = {
    user_id: command.userId,
    objective: command.objective,
    autopilot: command.autopilot,
    ...(requestId !== undefined && { request_id: requestId }),
    ...(requestDigest !== undefined && { request_digest: requestDigest }),
    ...(playbook !== undefined && { playbook }),
    ...(playbookVersion !== undefined && { playbook_version: playbookVersion }),
    ...(variables && { variables }),
    ...(settings && { settings }),
    ...(inputs && { inputs }),
    ...(governance && { governance }),
    ...(mission && { mission }),
  };
  return decided(runEvent(place, 'RUN_CREATED', payload));
}

/**
 * Turns steps into orders: ORDER_CREATED for each, then RUN_PLANNED. A run is planned once; the ids
 * of its orders follow from run and step key, so asking again changes nothing.
 */
export function planRun(
  agg: RunAggregate,
  steps: readonly PlannedStep[],
  meta: PlanMeta,
  caps?: PlanCaps,
): Decision {
  const { run } = agg;
  if (run?.planned) return decided();
  if (run === undefined) return noRun();
  if (run.status !== 'OPEN') return notOpen(run);
  const fault = faultOf(agg, steps, meta, caps);
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
  const { mission } = run;
  const payload = {
    ...fields,
    step,
    depends_on: depends_on.map(idOf),
    ...(mission && { mission }),
  };
  return [orderEvent(order, 'ORDER_CREATED', payload)];
}

export type ReplanRun = {
  reason: string;
  /** What the new orders are to unblock. */
  blocked?: { orderId: string; attempt: number };
  /** The order whose plan this follows from, or that is planned anew. */
  planOrderId?: string;
  /** Replaces the files that make the reply. */
  reply?: PlanMeta['reply'];
};

/**
 * Adds orders to a planned run: ORDER_CREATED for each, then RUN_REPLANNED. Done once for each
 * plan order, else once for each blocked attempt.
 */
export function replanRun(
  agg: RunAggregate,
  steps: readonly PlannedStep[],
  command: ReplanRun,
  caps?: PlanCaps,
): Decision {
  const { run } = agg;
  if (run === undefined) return noRun();
  const { blocked, planOrderId } = command;
  const same = run.replans.some(({ plan_order_id, blocked_order_id, attempt }) =>
    planOrderId === undefined
      ? blocked_order_id === blocked?.orderId && attempt === blocked?.attempt
      : plan_order_id === planOrderId,
  );
  if (same) return decided();
  if (run.status !== 'OPEN') return notOpen(run);
  const idOf = (key: string): string => orderIdFor(run.run_id, key, run.garrison_id);
  const fault = faultOf(agg, steps, { reply: command.reply ?? [] }, caps);
  if (fault !== null) return refused(fault);
  const taken = steps.find(({ key }) => agg.orders.has(idOf(key)));
  if (taken !== undefined) {
    return refuse('PLAN_REFUSED', { reason: `step ${taken.key}: the run has a step of this key` });
  }
  const payload = {
    order_ids: steps.map(({ key }) => idOf(key)),
    reason: clip(command.reason),
    ...(blocked && { blocked_order_id: blocked.orderId, attempt: blocked.attempt }),
    ...(planOrderId !== undefined && { plan_order_id: planOrderId }),
    ...(command.reply && {
      reply: command.reply.map(({ step, path }) => ({ order_id: idOf(step), path })),
    }),
  };
  const created = steps.flatMap((step) => orderOf(agg, run, step, idOf));
  const key = [planOrderId ?? '', blocked?.orderId ?? '', blocked?.attempt ?? 0];
  return decided(...created, runEvent(run, 'RUN_REPLANNED', payload, key));
}

/** What is wrong with steps that are to join a run; null: nothing. */
function faultOf(
  agg: RunAggregate,
  steps: readonly PlannedStep[],
  meta: PlanMeta,
  caps: PlanCaps | undefined,
): AppError | null {
  if (steps.length > LIMITS.ordersPerRun) {
    const params = { what: 'number of orders', limit: LIMITS.ordersPerRun };
    return new AppError('PAYLOAD_TOO_LARGE', params, { field: 'steps' });
  }
  const fault = checkPlan(steps, meta);
  if (fault !== null || caps === undefined) return fault;
  const reasons = capReasons(steps, caps, requiredOrders(agg).length);
  if (reasons.length === 0) return null;
  return new AppError('PLAN_REFUSED', { reason: clip(reasons.join('; ')) });
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
  command: {
    reason: string;
    code?: string;
    stage?: string;
    orderId?: string;
    /** True: an operator is told of the order too. */
    escalate?: boolean;
  },
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
  const order = command.escalate && orderId !== undefined ? agg.orders.get(orderId) : undefined;
  const cause = `failed/${order?.attempt}`;
  const raised = order && escalate(order, { severity: 'MEDIUM', route: 'operator', reason, cause });
  return decided(
    failed,
    ...cancellations(agg, `the run failed: ${reason}`),
    ...(raised?.ok ? raised.events : []),
  );
}

/** Begins nothing new for the run until it goes on; what is at work may finish. */
export function pauseRun(agg: RunAggregate, command: { by?: string; reason?: string }): Decision {
  return setPaused(agg, true, command);
}

/** Lets a paused run go on. */
export function resumeRun(agg: RunAggregate, command: { by?: string; reason?: string }): Decision {
  return setPaused(agg, false, command);
}

function setPaused(
  { run }: RunAggregate,
  paused: boolean,
  { by, reason }: { by?: string; reason?: string },
): Decision {
  if (run === undefined) return noRun();
  if (run.status !== 'OPEN') return notOpen(run);
  if (run.paused === paused) return decided();
  const payload = {
    ...(by !== undefined && { by }),
    ...(reason !== undefined && { reason: clip(reason) }),
  };
  const type = paused ? 'RUN_PAUSED' : 'RUN_RESUMED';
  return decided(runEvent(run, type, payload, [run.subject_seq]));
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
