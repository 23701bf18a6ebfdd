import { LIMITS, LOCAL_TARGET } from '#libs/contracts';
import { z } from 'zod';

const count = (value: number, min: number, max: number) =>
  z.coerce.number().int().min(min).max(max).default(value);
const MONTH_SECONDS = 2_592_000;

/** Settings that a theater may have for itself, and of those the ones that a single run may. */
export const BEHAVIOUR = {
  IRONCLAW_RUN_SECONDS: count(3_600, 1, MONTH_SECONDS).describe(
    'a run that takes longer fails; pauses and waiting for people do not count',
  ),
  IRONCLAW_MAX_ORDERS: count(32, 1, LIMITS.ordersPerRun).describe('orders of one run'),
  IRONCLAW_MAX_DEPTH: count(16, 1, LIMITS.ordersPerRun).describe(
    'orders of a plan that wait for one another in a row',
  ),
  IRONCLAW_MAX_RETRIES: count(LIMITS.retriesMax, 0, LIMITS.retriesMax).describe(
    'retries of one order, where its playbook allows more',
  ),
  IRONCLAW_RUN_RETRIES: count(20, 0, 1_000).describe('retries of all orders of a run together'),
  IRONCLAW_BUDGET_SECONDS: count(LIMITS.budgetSecondsMax, 1, LIMITS.budgetSecondsMax).describe(
    'time budget of one order, where its playbook allows more',
  ),
  IRONCLAW_REPLANS: count(1, 0, 10).describe('times that a plan is changed to unblock an order'),
  IRONCLAW_ASK: z
    .stringbool()
    .default(false)
    .describe('whether a person decides about orders that fail for good or are blocked'),
  IRONCLAW_DECISION_SECONDS: count(86_400, 1, MONTH_SECONDS).describe(
    "a person's decision is waited for so long",
  ),
  IRONCLAW_MODEL: z
    .string()
    .min(1)
    .max(256)
    .default('default')
    .describe("model of profiles that name none; default: the provider's usual one"),
  IRONCLAW_PLAYBOOK: z
    .string()
    .regex(/^[a-z0-9][a-z0-9._-]{0,127}(@[1-9]\d{0,8})?$/)
    .default('default')
    .describe('playbook of a run that names none'),
  IRONCLAW_GATE_PROFILE: z
    .string()
    .min(1)
    .max(128)
    .default('default')
    .describe('gates of orders whose playbook names none'),
  IRONCLAW_MILESTONES: z
    .string()
    .regex(/^(none|(run|integration|escalation)(,(run|integration|escalation))*)$/)
    .default('run,integration,escalation')
    .describe('what becomes a milestone: any of run, integration, escalation; or none'),
  IRONCLAW_MILESTONE_TARGETS: z
    .string()
    .regex(/^[\w-]{1,128}(,[\w-]{1,128}){0,63}$/)
    .default(LOCAL_TARGET)
    .describe('targets that milestones go to: local, or of IRONCLAW_TARGETS'),
};

/** The lowest level at which a setting may be given; those that are not here: the garrison alone. */
export const LEVELS: { readonly [N in keyof typeof BEHAVIOUR]: 'theater' | 'run' } = {
  IRONCLAW_RUN_SECONDS: 'run',
  IRONCLAW_MAX_ORDERS: 'run',
  IRONCLAW_MAX_DEPTH: 'run',
  IRONCLAW_MAX_RETRIES: 'run',
  IRONCLAW_RUN_RETRIES: 'run',
  IRONCLAW_BUDGET_SECONDS: 'run',
  IRONCLAW_REPLANS: 'run',
  IRONCLAW_ASK: 'run',
  IRONCLAW_DECISION_SECONDS: 'run',
  IRONCLAW_MODEL: 'run',
  IRONCLAW_PLAYBOOK: 'theater',
  IRONCLAW_GATE_PROFILE: 'theater',
  IRONCLAW_MILESTONES: 'theater',
  IRONCLAW_MILESTONE_TARGETS: 'theater',
};
