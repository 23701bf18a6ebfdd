import { type AppError, isAppError } from '#libs/contracts';
import { pinnedTo } from '#libs/learning';
import type { PlanCaps, PlannedStep, RunState } from '#libs/orders';
import type { Behaviour } from '#libs/runtime';
import { MESSAGE_ELSEWHERE } from './order-files.ts';
import {
  fillPlaybook,
  type FilledPlaybook,
  inputPath,
  playbookOf,
  type Playbooks,
  type PlaybookStep,
} from './playbooks.ts';

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
    ...(step.governance && { governance: step.governance }),
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

/** True for a refusal that a run ends with: nobody else would tell the user. */
export function isFinal(error: unknown): error is AppError {
  return isAppError(error) && error.retry === 'never';
}
