/** What kind of work the answer is for; the local model does each one differently. */
export type ModelTask = 'draft' | 'research' | 'verify' | 'call_summary' | 'plan' | 'review';

/** A worktree file that stands before the model. Its text is data, never instructions. */
export type ModelFile = { path: string; text: string };

/** A file the answer is cut into; `section` is the heading it is cut at. */
export type ModelOutput = { path: string; section?: string };

/** A tool that the model may ask for; `parameters` is the JSON schema of its arguments. */
export type ModelTool = { name: string; description: string; parameters: Record<string, unknown> };

/** A tool that the model asks for; `input` is empty where it wrote no JSON object. */
export type ModelToolCall = { id: string; name: string; input: Record<string, unknown> };

/** What was asked for in an earlier answer, and what the tools said. */
export type ModelTurn = {
  text: string;
  calls: readonly ModelToolCall[];
  results: readonly { id: string; output: string }[];
};

/** One question to a model. `temperature` defaults to 0.2 and `maxTokens` to 800. */
export type ModelRequest = {
  model: string;
  system: string;
  files: ModelFile[];
  objective: string;
  task: ModelTask;
  outputs: ModelOutput[];
  temperature?: number;
  maxTokens?: number;
  /** Tools that it may ask for; a provider without tools ignores them. */
  tools?: readonly ModelTool[];
  /** What went on since the files were put before it. */
  turns?: readonly ModelTurn[];
  /** Ends the call: a time budget (AbortSignal.timeout) or a cancellation. */
  signal: AbortSignal;
};

/** One answer. `finishReason` is `length` where the model was cut off by `maxTokens`. */
export type ModelAnswer = {
  /** May be empty where `toolCalls` is not. */
  text: string;
  /** Tools that it wants before it goes on; absent where it has answered. */
  toolCalls?: readonly ModelToolCall[];
  provider: string;
  model: string;
  temperature: number;
  usage: { input_tokens: number; output_tokens: number };
  costMicroUsd: number;
  /** Time of the try that answered; waits and failed tries are not in it. */
  requestMs: number;
  tries: number;
  finishReason: string;
  /** Plain remarks for the report, as "the answer was cut off at 800 tokens". */
  notes: string[];
};

/**
 * A source of answers.
 *
 * @throws {MODEL_ERROR} no usable answer; `details.retryable` says if another try could help
 * @throws {MODEL_QUOTA} the provider refuses for now; `retryAfterMs` where it said how long
 * @throws {TIMEOUT} the last try, or the request's own signal, ran out of time
 */
export interface ModelProvider {
  /** `io.intelligence`, `openai` or `local`. */
  readonly name: string;
  /** True: its models may be offered tools. */
  readonly tools?: boolean;
  complete(request: ModelRequest): Promise<ModelAnswer>;
}

/** Sampling temperature where the request names none. */
export const DEFAULT_TEMPERATURE = 0.2;

/** Longest answer in tokens where the request names none. */
export const DEFAULT_MAX_TOKENS = 800;
