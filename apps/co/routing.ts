import type { PolicyDocument } from '#libs/contracts';
import { routeOrder } from '#libs/learning';
import { orderIdFor, type PlannedStep, type RunState } from '#libs/orders';
import { createPolicies, type RoleContext } from '#libs/runtime';

export type Routing = {
  /** The policy in force in a theater; null: there is none. */
  policyOf(theaterId: string): Promise<PolicyDocument | null>;
  /** Gives each step the settings of its profile: the policy's, unless its plan pins one. */
  apply(policy: PolicyDocument | null, run: RunState, steps: readonly PlannedStep[]): PlannedStep[];
};

/** Which profile does an order: what was learned has a say where the plan does not pin it. */
export function createRouting({ broker, config }: RoleContext): Routing {
  const { garrisonId, profiles, exploration } = config;
  const policies = createPolicies(broker, garrisonId);
  return {
    policyOf: (theaterId) => policies.inForce(theaterId),
    apply: (policy, run, steps) =>
      steps.map((step) => {
        const { profile, routing } = routeOrder({
          orderId: orderIdFor(run.run_id, step.key, run.garrison_id),
          taskType: step.type,
          wanted: step.profile.name,
          pinned: step.routing !== undefined,
          policy,
          profiles,
          exploration,
        });
        // `default` is whichever model the settings of the run name.
        const model = profile.model === 'default' ? step.profile.model : profile.model;
        return { ...step, profile: { ...profile, model }, routing };
      }),
  };
}
