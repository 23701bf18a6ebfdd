import { putObject } from '#libs/broker';
import { API, AppError, LIMITS, type OutputSpec } from '#libs/contracts';
import {
  capReasons,
  checkPlan,
  failRun,
  type OrderState,
  PLAN_TYPE,
  type PlannedStep,
  replanRun,
  requiredOrders,
  type RunAggregate,
  type RunState,
} from '#libs/orders';
import type { Behaviour, RoleContext } from '#libs/runtime';
import { type PlanDocument, replyOf, stepsOf, tryPlan } from './plan-document.ts';
import { capsOf, filledFor, plannedStep } from './planning.ts';
import { inputPath, type Playbooks } from './playbooks.ts';
import type { RunPlace, Runs } from './runs.ts';

/** A plan that was refused is asked for once more, under this key. */
const AGAIN = '-again';
const REASONS_CHARS_MAX = 2_000;
/** Of an order's id, in keys of steps that follow from it. */
const ID_CHARS = 12;
const REFUSED_FILE = 'plan-refused.md';
const BLOCKED_FILE = 'blocked.md';

type Tools = { context: RoleContext; runs: Runs; playbooks: Playbooks };
type Subject = { run: RunState; order: OrderState; behaviour: Behaviour };

/** Changes of the plan of a run under way. */
export function createReplanning(tools: Tools) {
  const { runs } = tools;
  const subjectOf = ({ run, orders }: RunAggregate, orderId: string): Subject | undefined => {
    const order = orders.get(orderId);
    if (run === undefined || order === undefined) return undefined;
    return { run, order, behaviour: runs.behaviour(run) };
  };
  return {
    /** Turns the plan that an order wrote into orders; one that is refused is asked for once more. */
    extend: async (place: RunPlace, agg: RunAggregate, orderId: string): Promise<void> => {
      const subject = subjectOf(agg, orderId);
      if (subject !== undefined) await extend(tools, place, agg, subject);
    },
    /** Makes orders that mend what is in the way of one: the playbook's own, or planned ones. */
    replan: async (
      place: RunPlace,
      agg: RunAggregate,
      { orderId, reason }: { orderId: string; reason: string },
    ): Promise<void> => {
      const subject = subjectOf(agg, orderId);
      if (subject === undefined) return;
      const { run, order, behaviour } = subject;
      const steps = await runs.route(run, await remedyFor(tools, agg, subject, reason));
      const command = { reason, blocked: { orderId, attempt: order.attempt } };
      await runs.decide(place, (now) => replanRun(now, steps, command, capsOf(behaviour)));
    },
  };
}

async function extend(
  tools: Tools,
  place: RunPlace,
  agg: RunAggregate,
  subject: Subject,
): Promise<void> {
  const { runs } = tools;
  const { run, order, behaviour } = subject;
  const { order_id: planOrderId } = order;
  const blocked = blockedBehind(run, order);
  const read = tryPlan(await planText(tools, place, order));
  const drafted = read.ok ? draftedFrom(subject, read.plan) : undefined;
  const fault = read.ok ? faultIn(tools, agg, subject, read.plan) : read.reason;
  if (drafted !== undefined && fault === null) {
    const steps = await runs.route(run, drafted.steps);
    const target = blocked === null ? { reply: drafted.reply } : { blocked };
    const command = { reason: 'planned', planOrderId, ...target };
    await runs.decide(place, (now) => replanRun(now, steps, command, capsOf(behaviour)));
    return;
  }
  const { code, message } = new AppError('PLAN_REFUSED', { reason: fault ?? '' });
  if (order.step?.endsWith(AGAIN)) {
    const failure = { reason: message, code, stage: 'planning', orderId: planOrderId };
    await runs.decide(place, (now) => failRun(now, failure));
    return;
  }
  const [output] = order.outputs;
  const step = await planStep(tools, run, order, {
    key: `${order.step}${AGAIN}`,
    note: REFUSED_FILE,
    text: `The plan in ${output?.path} is refused. Make another one.\n\n${message}\n`,
    files: output === undefined ? [] : [output.path],
  });
  const command = { reason: `${code}: ${fault}`, planOrderId, ...(blocked && { blocked }) };
  await runs.decide(place, (now) => replanRun(now, [step], command));
}

/** The text of the plan that an order has brought to the mainline. */
async function planText({ context }: Tools, place: RunPlace, order: OrderState): Promise<string> {
  const commit_sha = order.integration?.commit_sha;
  const { text } = await context.client.call(API.vault.readFile, {
    theater_id: place.theater_id,
    path: order.outputs[0]?.path ?? '',
    ...(commit_sha !== undefined && { commit_sha }),
  });
  return text;
}

/** Everything that is wrong with a plan for this run, in words; null: nothing. */
function faultIn(
  { context }: Tools,
  agg: RunAggregate,
  subject: Subject,
  plan: PlanDocument,
): string | null {
  const { steps, reply } = draftedFrom(subject, plan);
  const fault = checkPlan(steps, { reply });
  const profiles = Object.keys(context.config.profiles);
  const caps = { ...capsOf(subject.behaviour), profiles };
  const reasons = capReasons(steps, caps, requiredOrders(agg).length);
  const taken = new Set([...agg.orders.values()].map(({ step }) => step));
  for (const { key } of steps) {
    if (taken.has(key)) reasons.push(`step ${key}: the run has a step of this key`);
  }
  if (fault !== null) reasons.unshift(fault.message);
  return reasons.length === 0 ? null : reasons.join('; ').slice(0, REASONS_CHARS_MAX);
}

/** The orders that a plan asks for, and the files that answer. */
function draftedFrom({ run, order, behaviour }: Subject, plan: PlanDocument) {
  const first = (order.step ?? '').replace(AGAIN, '');
  const place = { runId: run.run_id, prefix: first === 'plan' ? '' : `${first}-` };
  const inputs = order.prompt?.files.filter((file) => !isOurs(file)) ?? [];
  const steps = stepsOf(plan, { ...place, inputs }).map((step) => ({
    ...plannedStep(step, run, behaviour),
    remedy: 'planner' as const,
  }));
  return { steps, reply: replyOf(plan, place) };
}

async function remedyFor(
  tools: Tools,
  agg: RunAggregate,
  { run, order, behaviour }: Subject,
  reason: string,
): Promise<PlannedStep[]> {
  if (order.remedy === 'steps') {
    const profiles = Object.keys(tools.context.config.profiles);
    const book = filledFor(run, tools.playbooks, behaviour, profiles);
    const step = book.steps.find(({ key }) => key === order.step);
    return (step?.on_blocked ?? []).map((one) => plannedStep(one, run, behaviour));
  }
  const planner = requiredOrders(agg).find(({ type }) => type === PLAN_TYPE);
  if (planner === undefined) throw new Error(`run ${run.run_id} has no planner to ask`);
  // Of the order alone: several may be blocked at once.
  const key = `mend-${order.order_id.slice(0, ID_CHARS)}-${order.attempt}`;
  const text =
    `Step ${order.step} cannot go on: ${order.objective}\n\nReason: ${reason}\n\n` +
    'Plan only what removes this; the step is tried again afterwards.\n';
  const what = { key, note: `${key}/${BLOCKED_FILE}`, text, files: [] };
  return [await planStep(tools, run, planner, what)];
}

/** An order like a planner's, with a further file that says what is special about it. */
async function planStep(
  { context }: Tools,
  run: RunState,
  like: OrderState,
  what: { key: string; note: string; text: string; files: readonly string[] },
): Promise<PlannedStep> {
  const { profile, constraints, prompt, objective, type, gate_profile } = like;
  if (profile === null || constraints === null || prompt === null || type === null) {
    throw new Error(`order ${like.order_id} is not one that a plan was asked of`);
  }
  const path = inputPath(run.run_id, what.note);
  const { sha256, bytes } = await putObject(context.broker, new TextEncoder().encode(what.text));
  // What was added last is what matters, where there is no room for all.
  const files = [...prompt.files, ...what.files, path].slice(-LIMITS.inputFiles);
  const output: OutputSpec = {
    path: `outputs/${run.run_id}/${what.key}.json`,
    type: 'application/json',
  };
  return {
    key: what.key,
    type,
    objective: objective ?? '',
    constraints,
    depends_on: [],
    prompt: { ...prompt, files },
    outputs: [output],
    gate_profile: gate_profile ?? 'default',
    profile,
    inputs: [...like.inputs, { name: path, sha256, bytes }].slice(-LIMITS.inputFiles),
  };
}

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
