import type { NormalizeContext } from './normalize.ts';
import { createPlanRegistry, type PlanProfile, type PlanRegistry } from './plans.ts';
import { CPMAI } from './plans/cpmai.ts';
import {
  createTemplateRegistry,
  type Template,
  templateFault,
  type TemplateRegistry,
} from './templates.ts';

/** What all rules look things up in: the plans there are and their templates. */
export type Engine = { readonly plans: PlanRegistry; readonly registry: TemplateRegistry };

/** Plans that are there without any configuration. */
export const BUILT_IN_PLANS: readonly PlanProfile[] = [CPMAI];

/**
 * Makes an engine of plans and further templates. Templates of a plan are in its registry; the
 * registry's version is given by who keeps it.
 * @throws {TypeError} a plan or template is none; see `planFault`, `templateFault`
 */
export function createEngine(
  profiles: readonly PlanProfile[] = BUILT_IN_PLANS,
  templates: readonly Template[] = [],
  registryVersion = '1',
): Engine {
  const plans = createPlanRegistry(profiles);
  const all = [...plans.list().flatMap((plan) => plan.templates ?? []), ...templates];
  for (const template of all) {
    const fault = templateFault(template);
    if (fault !== undefined) throw new TypeError(`template: ${fault}`);
  }
  return { plans, registry: createTemplateRegistry(registryVersion, all) };
}

/** What normalization and validation take, at one time. */
export function contextOf({ plans, registry }: Engine, now: string): NormalizeContext {
  return { now, registry, bindsByName: (id) => plans.find(id)?.bindsByName ?? false };
}
