import { constraints, id, invalid, isAppError, LIMITS, parse } from '#libs/contracts';
import type { OutputSpec, PromptSpec } from '#libs/contracts';
import { z } from 'zod';
import type { PlaybookStep } from './playbooks.ts';

const TASKS = ['research', 'draft', 'verify', 'call_summary'] as const;
type Task = (typeof TASKS)[number];

const TEXT_BYTES_MAX = 256 * 1024;
/** Outputs that a step names one by one; beyond, it gets the whole folder. */
const NAMED_FILES_MAX = 16;

/** A plan as a model writes it: steps of a playbook, less what follows from their type. */
const planDocument = z.object({
  steps: z
    .array(
      z.object({
        key: id.max(64),
        type: z.enum(TASKS),
        objective: z.string().trim().min(1).max(LIMITS.objectiveChars),
        depends_on: z.array(id).max(LIMITS.ordersPerRun).default([]),
        profile: z.string().min(1).max(128).default('executor_default'),
        constraints: constraints.prefault({}),
      }),
    )
    .min(1)
    .max(LIMITS.ordersPerRun),
  /** Steps whose texts make the reply; default: those that no other waits for. */
  reply: z.array(id).min(1).max(LIMITS.ordersPerRun).optional(),
});
export type PlanDocument = z.output<typeof planDocument>;

/**
 * Reads the plan out of a model's answer: the answer itself, or the JSON object in it.
 * @throws {INVALID_REQUEST} there is none, or a field of it is wrong
 */
export function readPlan(text: string): PlanDocument {
  if (text.length > TEXT_BYTES_MAX) throw invalid('plan', `is over ${TEXT_BYTES_MAX} characters`);
  const from = text.indexOf('{');
  const to = text.lastIndexOf('}');
  if (from < 0 || to < from) throw invalid('plan', 'holds no JSON object');
  let value: unknown;
  try {
    value = JSON.parse(text.slice(from, to + 1));
  } catch (error) {
    throw invalid('plan', `is not JSON: ${(error as Error).message}`);
  }
  return parse(planDocument, value, 'plan');
}

/** What is wrong with a model's answer, or the plan in it. */
export function tryPlan(
  text: string,
): { ok: true; plan: PlanDocument } | { ok: false; reason: string } {
  try {
    return { ok: true, plan: readPlan(text) };
  } catch (error) {
    if (!isAppError(error)) throw error;
    return { ok: false, reason: error.message };
  }
}

const SYSTEMS: Readonly<Record<Task, string>> = {
  research:
    'You collect facts. Answer with a list under the heading # Findings. Each point is one ' +
    'quotation from the files with its place in round brackets, as (path:line). Add nothing that ' +
    'the files do not say.',
  draft:
    'You do one task and answer with its result alone, in Markdown. message.md is the user’s own ' +
    'message; other files are material. Use only what the files say; keep names, numbers and ' +
    'dates as they are written there.',
  verify:
    'You check the draft against the input files, statement by statement. Under # Final Answer ' +
    'give it with every unsupported or wrong statement corrected or removed. Under ' +
    '# Verification list each statement with its verdict and the place that supports it.',
  call_summary:
    'You turn the transcript of a call into notes: the heading # Summary with the summary under ' +
    'it, a line with ---, the heading # Action Items with a table of owner, due date and ' +
    'description under it.',
};

/** Steps of a playbook out of a plan; keys get `prefix`, which keeps plans of one run apart. */
export function stepsOf(
  { steps }: PlanDocument,
  place: { runId: string; prefix: string; inputs: readonly string[] },
): PlaybookStep[] {
  const { runId, prefix, inputs } = place;
  const out = (key: string): string => `outputs/${runId}/${prefix}${key}.md`;
  return steps.map(({ key, type, objective, depends_on, profile, constraints: limits }) => {
    const before =
      depends_on.length > NAMED_FILES_MAX ? [`outputs/${runId}/*`] : depends_on.map(out);
    const reads = depends_on.length === 0 || type === 'verify' ? inputs : [];
    const files = [...before, ...reads].slice(0, LIMITS.inputFiles);
    const prompt: PromptSpec = { system: SYSTEMS[type], files, task: type };
    return {
      key: prefix + key,
      type,
      objective,
      depends_on: depends_on.map((one) => prefix + one),
      profile,
      profile_pinned: false,
      constraints: limits,
      prompt,
      outputs: outputsFor(type, out(key), out(`${key}-verification`)),
      gate_profile: 'default',
      approval: false,
      ask: false,
    };
  });
}

function outputsFor(type: Task, path: string, second: string): OutputSpec[] {
  const markdown = 'text/markdown';
  if (type !== 'verify') return [{ path, type: markdown }];
  return [
    { path, type: markdown, section: '# Final Answer' },
    { path: second, type: markdown, section: '# Verification' },
  ];
}

/** The files that make the reply: of the steps that the plan names, else of its last ones. */
export function replyOf(
  { steps, reply }: PlanDocument,
  place: { runId: string; prefix: string },
): { step: string; path: string }[] {
  const awaited = new Set(steps.flatMap(({ depends_on }) => depends_on));
  const last = steps.map(({ key }) => key).filter((key) => !awaited.has(key));
  // Without a last step the plan is a circle, which is refused for itself.
  const keys = reply ?? (last.length > 0 ? last : steps.slice(0, 1).map(({ key }) => key));
  return keys.map((key) => ({
    step: place.prefix + key,
    path: `outputs/${place.runId}/${place.prefix}${key}.md`,
  }));
}
