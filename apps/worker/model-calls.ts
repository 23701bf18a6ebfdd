import { createHash } from 'node:crypto';
import type { PayloadOf } from '#libs/contracts';
import {
  buildMessages,
  DEFAULT_TEMPERATURE,
  type ModelAnswer,
  type ModelProvider,
} from '#libs/models';
import type { ModelUsed, Spent } from './aar.ts';
import { failureOf } from './failure.ts';
import type { UnitRequest } from './prompt.ts';
import type { ProviderGate } from './provider-gate.ts';

type CallType = 'MODEL_CALL_STARTED' | 'MODEL_CALL_COMPLETED' | 'MODEL_CALL_FAILED';

export type ModelCallsOptions = {
  provider: ModelProvider;
  /** The name that the report is to give: the profile's, where it names a model. */
  profileModel: string | undefined;
  attempt: number;
  /** Ends the calls. */
  signal: AbortSignal;
  gate: ProviderGate;
  /** Before and after each call: what it may cost. */
  budget: { demand: () => Promise<void>; note: () => Promise<void> };
  now: () => Date;
  /** Appends an event of the order; `index` tells the calls of one attempt apart. */
  emit: (type: CallType, payload: PayloadOf<CallType>, index: number) => Promise<void>;
};

/** The calls of one attempt: each is told by events, never with its text, and adds to `spent`. */
export type ModelCalls = {
  call: (request: UnitRequest) => Promise<ModelAnswer>;
  spent: () => Spent;
  used: () => ModelUsed;
};

export function createModelCalls(options: ModelCallsOptions): ModelCalls {
  const { provider, attempt, signal, now, emit, gate, budget } = options;
  let calls = 0;
  let spent: Spent = { usage: { input_tokens: 0, output_tokens: 0 }, costMicroUsd: 0 };
  let used: ModelUsed = { provider: provider.name, name: options.profileModel ?? 'default' };

  const call = async (request: UnitRequest): Promise<ModelAnswer> => {
    signal.throwIfAborted();
    gate.assertOpen();
    await budget.demand();
    const index = calls;
    calls += 1;
    const name = options.profileModel ?? request.model;
    const prompt = JSON.stringify(buildMessages(request));
    const about = {
      attempt,
      index,
      provider: provider.name,
      model: name,
      prompt_sha256: sha256(prompt),
      prompt_bytes: Buffer.byteLength(prompt),
    };
    spent = { ...spent, promptSha256: about.prompt_sha256 };
    used = { ...used, name, temperature: request.temperature ?? DEFAULT_TEMPERATURE };
    await emit('MODEL_CALL_STARTED', about, index);
    const startedAt = now();
    const duration = () => Math.max(0, now().getTime() - startedAt.getTime());
    let answer: ModelAnswer;
    try {
      answer = await orAborted(provider.complete({ ...request, signal }), signal);
    } catch (error) {
      const { code, message } = failureOf(error, 'calling_model', now());
      const ended = { ...about, duration_ms: duration(), code, message };
      await emit('MODEL_CALL_FAILED', ended, index);
      throw error;
    }
    spent = add(spent, answer);
    const other = answer.model !== name;
    used = { ...answered(answer), name: options.profileModel ?? answer.model };
    if (options.profileModel !== undefined && other) used.answered_by = answer.model;
    await emit(
      'MODEL_CALL_COMPLETED',
      { ...about, ...told(answer), duration_ms: duration() },
      index,
    );
    gate.answered();
    await budget.note();
    return answer;
  };
  return { call, spent: () => spent, used: () => used };
}

function answered({ provider, temperature }: ModelAnswer) {
  return { provider, temperature };
}

function told(answer: ModelAnswer) {
  const said = saidIn(answer);
  return {
    model: answer.model,
    response_sha256: sha256(said),
    response_bytes: Buffer.byteLength(said),
    tries: answer.tries,
    usage: answer.usage,
    cost_micro_usd: answer.costMicroUsd,
  };
}

/** Its text, and the tools that it asks for where it does. */
function saidIn({ text, toolCalls }: ModelAnswer): string {
  return toolCalls === undefined ? text : JSON.stringify({ text, toolCalls });
}

function add(spent: Spent, answer: ModelAnswer): Spent {
  const { usage, costMicroUsd } = answer;
  return {
    ...spent,
    usage: {
      input_tokens: spent.usage.input_tokens + usage.input_tokens,
      output_tokens: spent.usage.output_tokens + usage.output_tokens,
    },
    costMicroUsd: spent.costMicroUsd + costMicroUsd,
    responseSha256: sha256(saidIn(answer)),
  };
}

/** A provider that does not listen to the signal must not hold the order up. */
async function orAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  const aborted = Promise.withResolvers<never>();
  const onAbort = () => aborted.reject(signal.reason as Error);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([promise, aborted.promise]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
