import { isRelativePath, type OrderFile, type OutputSpec } from '#libs/contracts';
import type { ModelFile, ModelOutput, ModelRequest } from '#libs/models';

/** A model request before the worker adds the signal that can end it. */
export type UnitRequest = Omit<ModelRequest, 'signal'>;

/** Limits of what is put before a model. */
export const PROMPT_LIMITS = {
  /** Bytes of one file; a larger one is left out. */
  fileBytes: 4 * 1024 * 1024,
  /** Bytes of all files; those that no longer fit are left out. */
  totalBytes: 8 * 1024 * 1024,
  /** Files in all. */
  files: 128,
} as const;

const DEFAULT_SYSTEM =
  'You carry out one work order and answer with its result alone, in Markdown. Use only what the ' +
  'objective and the files say; keep names, numbers and dates as they are written there.';

/** Longest answer in tokens where the profile names none: room for several sections. */
const ANSWER_TOKENS = 2_000;

const DEFAULT_OUTPUT: OutputSpec = { path: 'outputs/model_output.txt', type: 'text/plain' };

/** The files that the order is to write; one with the whole answer where it names none. */
export function outputsOf(order: OrderFile): readonly OutputSpec[] {
  return order.outputs?.length ? order.outputs : [DEFAULT_OUTPUT];
}

/** The same for the model: where its answer is cut. */
export function modelOutputs(order: OrderFile): ModelOutput[] {
  return outputsOf(order).map(({ path, section }) => ({
    path,
    ...(section !== undefined && { section }),
  }));
}

/**
 * The files that the order puts before the model, as paths or as `folder/*`: those of its prompt,
 * else its input files.
 */
export function filesWanted(order: OrderFile): readonly string[] {
  const named = order.prompt?.files ?? [];
  return named.length > 0 ? named : inputPaths(order);
}

function inputPaths(order: OrderFile): string[] {
  const listed: unknown = order.inputs.files;
  if (!Array.isArray(listed)) return [];
  return listed.flatMap((entry: unknown) => {
    const path =
      typeof entry === 'object' && entry !== null && 'path' in entry ? entry.path : entry;
    return typeof path === 'string' && path !== '' && isRelativePath(path) ? [path] : [];
  });
}

/** Texts that stand in order.json itself, as `inputs.text`. */
export function textInputs(order: OrderFile): ModelFile[] {
  return Object.entries(order.inputs).flatMap(([name, text]) =>
    typeof text === 'string' && text.trim() !== '' ? [{ path: `order.json#${name}`, text }] : [],
  );
}

/** The question that the order asks of the model called `model`. */
export function buildRequest(order: OrderFile, files: ModelFile[], model: string): UnitRequest {
  const { prompt, profile, objective } = order;
  const temperature = profile?.temperature;
  const maxTokens = profile?.max_tokens;
  return {
    model,
    system: prompt?.system ?? DEFAULT_SYSTEM,
    files,
    objective,
    task: prompt?.task ?? 'draft',
    outputs: modelOutputs(order),
    ...(typeof temperature === 'number' && temperature >= 0 && temperature <= 2 && { temperature }),
    maxTokens:
      Number.isSafeInteger(maxTokens) && Number(maxTokens) > 0 ? Number(maxTokens) : ANSWER_TOKENS,
  };
}
