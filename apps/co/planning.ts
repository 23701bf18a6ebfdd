import { putObject } from '#libs/broker';
import { API, AppError, type InputRef, isAppError, type PromptSpec } from '#libs/contracts';
import { pinnedTo } from '#libs/learning';
import {
  capReasons,
  checkPlan,
  failRun,
  type OrderState,
  type PlanCaps,
  type PlannedStep,
  replanRun,
  requiredOrders,
  type RunAggregate,
  type RunState,
} from '#libs/orders';
import type { Behaviour, RoleContext } from '#libs/runtime';
import { MESSAGE_ELSEWHERE } from './order-files.ts';
import { type PlanDocument, replyOf, stepsOf, tryPlan } from './plan-document.ts';
import {
  fillPlaybook,
  type FilledPlaybook,
  inputPath,
  playbookOf,
  type Playbooks,
  type PlaybookStep,
} from './playbooks.ts';
import type { RunPlace, Runs } from './runs.ts';

/** A plan that was refused is asked for once more, under this key. */
const AGAIN = '-again';
const REASONS_CHARS_MAX = 2_000;
/** Of an order's id, in keys of steps that follow from it. */
const ID_CHARS = 12;

/** The caps that settings set to the plan of a run. */
export function capsOf(behaviour: Behaviour): PlanCaps {
  return { orders: behaviour.max_orders, depth: behaviour.max_depth };
}

/** The playbook of a run with all its variables filled in. @throws {UNKNOWN_PLAYBOOK} */
export function filledFor(
  run: RunState,
  playbooks: Playbooks,
  behaviour: Behaviour,
  profiles: readonly string[],
): FilledPlaybook {
  const book = playbookOf(run, playbooks);
  const told: Record<string, string> = {
    max_orders: String(behaviour.max_orders - 1),
    max_depth: String(behaviour.max_depth),
    profiles: profiles.join(', '),
  };
  const wanted = Object.entries(told).filter(([name]) => Object.hasOwn(book.variables, name));
  return fillPlaybook(
    book,
    {
      ...Object.fromEntries(wanted),
      ...run.variables,
      objective: run.objective ?? '',
      run_id: run.run_id,
      message: MESSAGE_ELSEWHERE,
    },
    run.inputs.map(({ name }) => name),
  );
}

/** The order that a step of a playbook becomes in a run, within the run's settings. */
export function plannedStep(step: PlaybookStep, run: RunState, behaviour: Behaviour): PlannedStep {
  const { key, type, objective, constraints, depends_on, prompt, outputs, approval, ask } = step;
  const { max_retries, budget_seconds, gate_profile, model } = behaviour;
  return {
    key,
    type,
    objective,
    constraints: {
      ...constraints,
      max_retries: Math.min(constraints.max_retries, max_retries),
      budget_seconds: Math.min(constraints.budget_seconds, budget_seconds),
    },
    depends_on,
    prompt,
    outputs,
    gate_profile: step.gate_profile === 'default' ? gate_profile : step.gate_profile,
    profile: { name: step.profile, model },
    ...(step.profile_pinned && { routing: pinnedTo(step.profile) }),
    inputs: run.inputs.map(({ name, ...ref }) => ({ name: inputPath(run.run_id, name), ...ref })),
    ...(approval && { approval }),
    ...(ask && { ask }),
  };
}

/** The orders of a run's playbook. */
export function plannedSteps(
  book: FilledPlaybook,
  run: RunState,
  behaviour: Behaviour,
): PlannedStep[] {
  return book.steps.map(({ on_blocked, ...step }) => ({
    ...plannedStep(step, run, behaviour),
    ...(on_blocked.length > 0 && { remedy: 'steps' as const }),
  }));
}

export type Planning = ReturnType<typeof createPlanning>;

/** Changes of the plan of a run under way. */
export function createPlanning(context: RoleContext, runs: Runs, playbooks: Playbooks) {
  const { broker, client, config } = context;
  const profiles = Object.keys(config.profiles);

  /** The text of the plan that an order has brought to the mainline. */
  const planText = async (place: RunPlace, order: OrderState): Promise<string> => {
    const path = order.outputs[0]?.path ?? '';
    const commit_sha = order.integration?.commit_sha;
    const { text } = await client.call(API.vault.readFile, {
      theater_id: place.theater_id,
      path,
      ...(commit_sha !== undefined && { commit_sha }),
    });
    return text;
  };

  /** Turns the plan that an order wrote into orders; one that is refused is asked for once more. */
  const extend = async (place: RunPlace, agg: RunAggregate, orderId: string): Promise<void> => {
    const { run } = agg;
    const order = agg.orders.get(orderId);
    if (run === undefined || order === undefined) return;
    const behaviour = runs.behaviour(run);
    const read = tryPlan(await planText(place, order));
    const fault = read.ok ? faultIn(agg, order, read.plan, behaviour) : read.reason;
    const reason = fault === null ? 'planned' : `PLAN_REFUSED: ${fault}`;
    if (read.ok && fault === null) {
      const { steps, reply, blocked } = drafted(run, order, read.plan, behaviour);
      const command = { reason, planOrderId: orderId, ...(blocked ? { blocked } : { reply }) };
      const routed = await runs.route(run, steps);
      await runs.decide(place, (now) => replanRun(now, routed, command, capsOf(behaviour)));
      return;
    }
    const message = new AppError('PLAN_REFUSED', { reason: fault ?? '' }).message;
    if ((order.step ?? '').endsWith(AGAIN)) {
      const failure = { reason: message, code: 'PLAN_REFUSED', stage: 'planning', orderId };
      await runs.decide(place, (now) => failRun(now, failure));
      return;
    }
    const step = await planAgain(run, order, message);
    const blocked = blockedBehind(run, order);
    const command = { reason, planOrderId: orderId, ...(blocked && { blocked }) };
    await runs.decide(place, (now) => replanRun(now, [step], command));
  };

  /** Everything that is wrong with a plan for this run, in words; null: nothing. */
  const faultIn = (
    agg: RunAggregate,
    order: OrderState,
    plan: PlanDocument,
    behaviour: Behaviour,
  ): string | null => {
    if (agg.run === undefined) return null;
    const { steps, reply } = drafted(agg.run, order, plan, behaviour);
    const fault = checkPlan(steps, { reply });
    const caps = { ...capsOf(behaviour), profiles };
    const reasons = capReasons(steps, caps, requiredOrders(agg).length);
    const taken = new Set([...agg.orders.values()].map((one) => one.step));
    for (const { key } of steps) {
      if (taken.has(key)) reasons.push(`step ${key}: the run has a step of this key`);
    }
    if (fault !== null) reasons.unshift(fault.message);
    return reasons.length === 0 ? null : reasons.join('; ').slice(0, REASONS_CHARS_MAX);
  };

  const drafted = (run: RunState, order: OrderState, plan: PlanDocument, behaviour: Behaviour) => {
    const first = (order.step ?? '').replace(AGAIN, '');
    const prefix = first === 'plan' ? '' : `${first}-`;
    const inputs = order.prompt?.files.filter((file) => !isOurs(file)) ?? [];
    const steps = stepsOf(plan, { runId: run.run_id, prefix, inputs }).map((step) => ({
      ...plannedStep(step, run, behaviour),
      remedy: 'planner' as const,
    }));
    const reply = replyOf(plan, { runId: run.run_id, prefix });
    return { steps, reply, blocked: blockedBehind(run, order) };
  };

  /** The same question, with what was wrong with the answer. */
  const planAgain = async (run: RunState, order: OrderState, reasons: string) => {
    const [output] = order.outputs;
    return planStep(run, order, {
      key: `${order.step}${AGAIN}`,
      name: REFUSED_FILE,
      text: `The plan in ${output?.path} is refused. Make another one.\n\n${reasons}\n`,
      files: output === undefined ? [] : [output.path],
    });
  };

  /** An order of the planner's kind, with a further file that says what is special about it. */
  const planStep = async (
    run: RunState,
    like: OrderState,
    what: { key: string; name: string; text: string; files: string[] },
  ): Promise<PlannedStep> => {
    const path = inputPath(run.run_id, what.name);
    const note: InputRef = { name: path, ...(await putText(what.text)) };
    const { profile, constraints, prompt, objective, type, gate_profile } = like;
    if (profile === null || constraints === null || prompt === null || type === null) {
      throw new Error(`order ${like.order_id} is not one that a plan was asked of`);
    }
    const asked: PromptSpec = { ...prompt, files: [...prompt.files, ...what.files, path] };
    return {
      key: what.key,
      type,
      objective: objective ?? '',
      constraints,
      depends_on: [],
      prompt: asked,
      outputs: [...like.outputs],
      gate_profile: gate_profile ?? 'default',
      profile,
      inputs: [...like.inputs, note],
    };
  };

  const putText = async (text: string) => {
    const { sha256, bytes } = await putObject(broker, new TextEncoder().encode(text));
    return { sha256, bytes };
  };

  /** Makes orders that mend what is in the way of one: the playbook's own, or planned ones. */
  const replan = async (
    place: RunPlace,
    agg: RunAggregate,
    cause: { orderId: string; reason: string },
  ): Promise<void> => {
    const { run } = agg;
    const order = agg.orders.get(cause.orderId);
    if (run === undefined || order === undefined) return;
    const behaviour = runs.behaviour(run);
    const steps = await runs.route(run, await remedyFor(run, agg, order, cause.reason, behaviour));
    const blocked = { orderId: order.order_id, attempt: order.attempt };
    const command = { reason: cause.reason, blocked };
    await runs.decide(place, (now) => replanRun(now, steps, command, capsOf(behaviour)));
  };

  const remedyFor = async (
    run: RunState,
    agg: RunAggregate,
    order: OrderState,
    reason: string,
    behaviour: Behaviour,
  ): Promise<PlannedStep[]> => {
    if (order.remedy === 'steps') {
      const book = filledFor(run, playbooks, behaviour, profiles);
      const step = book.steps.find(({ key }) => key === order.step);
      return (step?.on_blocked ?? []).map((one) => plannedStep(one, run, behaviour));
    }
    const planner = requiredOrders(agg).find(({ type }) => type === 'plan');
    if (planner === undefined) throw new Error(`run ${run.run_id} has no planner to ask`);
    const text =
      `Step ${order.step} cannot go on: ${order.objective}\n\nReason: ${reason}\n\n` +
      'Plan only what removes this; the step is tried again afterwards.\n';
    // Of the order alone: several may be blocked at once.
    const key = `mend-${order.order_id.slice(0, ID_CHARS)}-${order.attempt}`;
    return [await planStep(run, planner, { key, name: `${key}/${BLOCKED_FILE}`, text, files: [] })];
  };

  return { extend, replan };
}

const REFUSED_FILE = 'plan-refused.md';
const BLOCKED_FILE = 'blocked.md';

/** Files that only the planner is to see. */
function isOurs(file: string): boolean {
  return (
    file.startsWith('outputs/') || [REFUSED_FILE, BLOCKED_FILE].some((one) => file.endsWith(one))
  );
}

/** What the orders of a plan are to unblock, where it was asked for for that. */
function blockedBehind(run: RunState, { order_id }: OrderState) {
  const asked = run.replans.find(({ order_ids }) => order_ids.includes(order_id));
  if (asked === undefined || asked.blocked_order_id === null || asked.attempt === null) return null;
  return { orderId: asked.blocked_order_id, attempt: asked.attempt };
}

/** True for a refusal that a run ends with: nobody else would tell the user. */
export function isFinal(error: unknown): error is AppError {
  return isAppError(error) && error.retry === 'never';
}
