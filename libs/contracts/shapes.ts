import { z } from 'zod';
import { id, relativePath, timestamp } from './ids.ts';
import { LIMITS } from './limits.ts';

/** What tools a unit may use. `./` and `./*` both mean: anything under the worktree root. */
export const toolPolicy = z.looseObject({
  network: z.boolean().default(false),
  fs_allowlist: z.array(z.string().min(1).max(1024)).max(64).default(['./']),
});
export type ToolPolicy = z.output<typeof toolPolicy>;

export const constraints = z.looseObject({
  budget_seconds: z
    .number()
    .positive()
    .max(LIMITS.budgetSecondsMax)
    .default(LIMITS.budgetSecondsDefault),
  max_retries: z.int().min(0).max(LIMITS.retriesMax).default(LIMITS.retriesDefault),
  tool_policy: toolPolicy.optional(),
  /** Tool calls that the model may make. */
  max_tool_calls: z.int().min(0).max(LIMITS.toolCallsMax).optional(),
  /** Tokens of all its answers together. */
  max_tokens: z.int().min(1).max(LIMITS.orderTokensMax).optional(),
});
export type Constraints = z.output<typeof constraints>;

export const profile = z.looseObject({
  name: z.string().min(1).max(128),
  model: z.string().min(1).max(256),
});
export type Profile = z.output<typeof profile>;

/** Settings of one profile, as configured: which model answers, and how. */
export const profileSettings = z.strictObject({
  model: z.string().min(1).max(256).default('default'),
  temperature: z.number().min(0).max(2).optional(),
  max_tokens: z.int().min(1).max(1_000_000).optional(),
  /** Types of task for which this profile may be tried in place of the one a plan names. */
  task_types: z.array(z.string().min(1).max(128)).max(64).default([]),
});
export type ProfileSettings = z.output<typeof profileSettings>;

/** Why an order got its profile. */
export const routing = z.looseObject({
  profile: z.string().min(1).max(128),
  reason: z.string().max(500),
  /** The policy that was in force; null: there was none. */
  policy_version: z.int().nullable(),
  /** True: chosen to keep measuring, not because it is the best. */
  explored: z.boolean(),
});
export type Routing = z.output<typeof routing>;

/** A pointer to bytes in the object store, named by their digest. */
export const objectRef = z.object({
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
  bytes: z.int().min(0),
});
export type ObjectRef = z.output<typeof objectRef>;

/** An input file of a run: the name it gets in the worktree, and where its bytes are. */
export const inputRef = z.object({ name: relativePath, ...objectRef.shape });
export type InputRef = z.output<typeof inputRef>;

export const artifact = z.looseObject({
  path: relativePath,
  type: z.string().max(128).default('application/octet-stream'),
});

/** One output that a unit writes; `section` cuts it out of the model's answer by its heading. */
export const outputSpec = z.strictObject({
  path: relativePath.refine((path) => path.startsWith('outputs/'), 'must be under outputs/'),
  type: z.string().max(128).default('text/markdown'),
  section: z.string().min(1).max(200).optional(),
});
export type OutputSpec = z.output<typeof outputSpec>;

/** What a unit asks the model: instructions, and the worktree files it puts before it. */
export const promptSpec = z.strictObject({
  system: z.string().max(20_000),
  files: z.array(relativePath).max(LIMITS.inputFiles).default([]),
  /** What the local model does with the text; other providers ignore it. */
  task: z.enum(['draft', 'research', 'verify', 'call_summary', 'plan', 'review']).default('draft'),
});
export type PromptSpec = z.output<typeof promptSpec>;

/** order.json at the root of a worktree (service contracts, section 2). */
export const orderFile = z.looseObject({
  order_id: id,
  run_id: id.nullish(),
  theater_id: id.nullish(),
  type: z.string().min(1).max(128),
  objective: z.string().min(1).max(LIMITS.objectiveChars),
  inputs: z.record(z.string(), z.unknown()).default({}),
  constraints: constraints.prefault({}),
  profile: profile.optional(),
  prompt: promptSpec.optional(),
  outputs: z.array(outputSpec).max(64).optional(),
});
export type OrderFile = z.output<typeof orderFile>;

/** aar.json at the root of a worktree. Unknown keys are kept. */
export const aarFile = z.looseObject({
  order_id: id,
  status: z.enum(['completed', 'failed']),
  completed_at: timestamp,
  summary: z.string(),
  artifacts: z.array(artifact).max(LIMITS.artifactsPerOrder),
  model: z.looseObject({
    provider: z.string().min(1),
    name: z.string().min(1),
    temperature: z.number().optional(),
  }),
  notes: z.array(z.unknown()).default([]),
  next_recommendations: z.array(z.unknown()).default([]),
});
export type AarFile = z.output<typeof aarFile>;

/** The message on the job queue (service contracts, section 4): a pointer, the truth is in events. */
export const jobMessage = z.looseObject({
  job_type: z.literal('EXECUTE_ORDER').default('EXECUTE_ORDER'),
  order_id: id,
  run_id: id.nullish(),
  theater_id: id,
  unit_id: id.nullish(),
  worktree_path: z.string().min(1).max(4096),
  attempt: z.int().min(1).max(1000).default(1),
  profile: profile.optional(),
  constraints: constraints.optional(),
  tool_policy: toolPolicy.optional(),
});
export type JobMessage = z.output<typeof jobMessage>;

/**
 * The phase of a governed project that work belongs to. `artifacts`: which of the project's artifacts
 * a file proposes content for, by path, once it is on the mainline; `{{run_id}}` is filled in.
 */
export const governance = z.strictObject({
  project_id: id,
  phase_id: z.string().min(1).max(256),
  artifacts: z
    .record(relativePath, z.string().min(1).max(256))
    .refine((map) => Object.keys(map).length <= 64, 'must be at most 64')
    .optional(),
});
export type Governance = z.output<typeof governance>;

/** One order to be of a playbook. */
const playbookStep = z.strictObject({
  key: id,
  /** `plan`: its output `plan.json` is the plan of the rest of the run. */
  type: z.string().min(1).max(128),
  objective: z.string().min(1).max(LIMITS.objectiveChars),
  profile: z.string().default('executor_default'),
  /** True: no policy gives this step another profile. */
  profile_pinned: z.boolean().default(false),
  depends_on: z.array(id).default([]),
  constraints: constraints.prefault({}),
  prompt: promptSpec,
  outputs: z.array(outputSpec).min(1).max(64),
  gate_profile: z.string().default('default'),
  /** True: a person must approve the result before it is integrated. */
  approval: z.boolean().default(false),
  /** True: where it fails for good or is blocked, a person decides whether it is tried again. */
  ask: z.boolean().default(false),
  /** Default: the run's. */
  governance: governance.optional(),
});

/** A pre-made plan, kept as a data file; several versions of one name may exist. */
export const playbook = z
  .strictObject({
    name: z.string().regex(/^[a-z0-9][a-z0-9._-]{0,127}$/),
    version: z.int().min(1),
    description: z.string().max(1_000),
    /** Input files every run of this playbook gets; `{{objective}}` and variables are filled in. */
    files: z
      .array(z.strictObject({ path: relativePath, text: z.string().max(100_000) }))
      .default([]),
    variables: z.record(z.string(), z.string()).default({}),
    steps: z
      .array(
        playbookStep.extend({
          /** Orders that mend what it is blocked by; once they are done it is tried again. */
          on_blocked: z.array(playbookStep).max(16).default([]),
        }),
      )
      .min(1)
      .max(LIMITS.ordersPerRun),
    /** The files, in order, that make the reply. */
    reply: z.array(z.strictObject({ step: id, path: relativePath })).min(1),
  })
  .superRefine((book, ctx) => {
    const keys = new Set<string>();
    for (const [index, step] of book.steps.entries()) {
      const bad = step.depends_on.find((key) => !keys.has(key));
      if (bad !== undefined) {
        ctx.addIssue({
          code: 'custom',
          path: ['steps', index, 'depends_on'],
          message: `${bad} does not name an earlier step`,
        });
      }
      if (keys.has(step.key)) {
        ctx.addIssue({ code: 'custom', path: ['steps', index, 'key'], message: 'is used twice' });
      }
      keys.add(step.key);
    }
    for (const [index, step] of book.steps.entries()) {
      const known = new Set<string>();
      for (const [at, remedy] of step.on_blocked.entries()) {
        const path = ['steps', index, 'on_blocked', at];
        if (keys.has(remedy.key)) {
          ctx.addIssue({ code: 'custom', path: [...path, 'key'], message: 'is used twice' });
        }
        const bad = remedy.depends_on.find((key) => !known.has(key));
        if (bad !== undefined) {
          const message = `${bad} does not name an earlier step of on_blocked`;
          ctx.addIssue({ code: 'custom', path: [...path, 'depends_on'], message });
        }
        known.add(remedy.key);
        keys.add(remedy.key);
      }
    }
    const steps = new Set(book.steps.map(({ key }) => key));
    for (const [index, part] of book.reply.entries()) {
      if (!steps.has(part.step)) {
        ctx.addIssue({ code: 'custom', path: ['reply', index, 'step'], message: 'names no step' });
      }
    }
  });
export type Playbook = z.output<typeof playbook>;

export const gateResult = z.object({
  gate: z.string(),
  passed: z.boolean(),
  message: z.string(),
  details: z.record(z.string(), z.unknown()).optional(),
});
export type GateResult = z.output<typeof gateResult>;

export const usage = z.object({
  input_tokens: z.int().min(0),
  output_tokens: z.int().min(0),
});
export type Usage = z.output<typeof usage>;
