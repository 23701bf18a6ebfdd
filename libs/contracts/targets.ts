import { z } from 'zod';

/** Where signed milestones and demand summaries are sent to. */
export const targetSettings = z.strictObject({
  /** Base URL of a receiver; without one it is the receiver on our own broker. */
  url: z
    .url({ protocol: /^https?$/, error: 'must be an http or https URL' })
    .max(2_048)
    .optional(),
  /** Name of the environment variable with the secret; default: MILESTONE_SIGNING_SECRET. */
  secret_env: z
    .string()
    .regex(/^[A-Z][A-Z0-9_]{0,127}$/, 'must be the name of an environment variable')
    .optional(),
  /** `bound` for receivers of ours that ask for it: time and channel are signed too. */
  signature: z.enum(['body', 'bound']).default('body'),
  /** How long one attempt waits for its answer. */
  timeout_ms: z.int().min(100).max(120_000).default(10_000),
});
export type TargetSettings = z.output<typeof targetSettings>;

/** The target that is always there: the receiver on our own broker. */
export const LOCAL_TARGET = 'local';
