import {
  type AppError,
  type Constraints,
  type Governance,
  type InputRef,
  invalid,
  LIMITS,
  type OutputSpec,
  type Profile,
  type PromptSpec,
  type Routing,
} from '#libs/contracts';

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
  /** The phase of a project that it belongs to; absent: the run's. */
  governance?: Governance;
  /** A person must approve the result before it is integrated. */
  approval?: boolean;
  /** A person decides whether it is tried again where nothing else helps. */
  ask?: boolean;
  /** Who knows how to mend what blocks it. */
  remedy?: 'steps' | 'planner';
};

export type PlanMeta = {
  playbook?: string;
  playbookVersion?: number;
  /** The files, in order, that make the reply. */
  reply: readonly { step: string; path: string }[];
};

/** What a plan may not exceed. */
export type PlanCaps = {
  /** Orders of the whole run. */
  orders: number;
  /** Orders that wait for one another in a row. */
  depth: number;
  /** Profiles that may be named; undefined: any. */
  profiles?: readonly string[];
};

/** Every cap that a plan exceeds, in words; `existing` orders of the run count too. */
export function capReasons(steps: readonly PlannedStep[], caps: PlanCaps, existing = 0): string[] {
  const reasons: string[] = [];
  const count = existing + steps.length;
  const orders = Math.min(caps.orders, LIMITS.ordersPerRun);
  if (count > orders) reasons.push(`it comes to ${count} orders; ${orders} are allowed`);
  const depth = depthOf(steps);
  if (depth > caps.depth) {
    reasons.push(`${depth} orders wait for one another in a row; ${caps.depth} are allowed`);
  }
  const { profiles } = caps;
  for (const { key, profile } of steps) {
    if (profiles === undefined || profiles.includes(profile.name)) continue;
    reasons.push(`step ${key}: there is no profile ${profile.name}; known: ${profiles.join(', ')}`);
  }
  return reasons;
}

/** Length of the longest chain of steps. */
function depthOf(steps: readonly PlannedStep[]): number {
  const depths = new Map<string, number>();
  // Steps may stand in any order: after so many rounds every chain has been walked to its end.
  for (let round = 0; round < steps.length; round += 1) {
    let changed = false;
    for (const { key, depends_on } of steps) {
      const depth = 1 + Math.max(0, ...depends_on.map((one) => depths.get(one) ?? 0));
      if (depth === depths.get(key) || depth > steps.length) continue;
      depths.set(key, depth);
      changed = true;
    }
    if (!changed) break;
  }
  return Math.max(0, ...depths.values());
}

/** What is wrong with a plan: size, a repeated key, an unknown step, a cycle; null if nothing. */
export function checkPlan(steps: readonly PlannedStep[], meta: PlanMeta): AppError | null {
  if (steps.length === 0) return invalid('steps', 'must have at least one step');
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
