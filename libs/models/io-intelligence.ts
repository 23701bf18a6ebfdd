import { setTimeout as delay } from 'node:timers/promises';
import { AppError, isAppError } from '#libs/contracts';
import OpenAI from 'openai';
import type { Logger } from 'pino';
import { z } from 'zod';
import { modelErrorFrom } from './model-errors.ts';
import {
  DEFAULT_MAX_TOKENS,
  DEFAULT_TEMPERATURE,
  type ModelAnswer,
  type ModelProvider,
  type ModelRequest,
  type ModelToolCall,
} from './port.ts';
import { costMicroUsd, type PriceTable } from './prices.ts';
import { buildMessages, type PromptMessage } from './prompt.ts';
import { dropSecret, redactor } from './redact.ts';

/** Longest response body that is read. */
const MAX_BODY_BYTES = 8 * 1024 * 1024;

/** Models remembered as taking no tools. */
const MODELS_MAX = 1_000;

/** A 429 that asks for a longer wait than this goes to the caller, who can put the work off. */
const MAX_QUOTA_WAIT_MS = 5_000;

const toolCall = z.looseObject({
  id: z.string().min(1).max(256),
  function: z.looseObject({ name: z.string().min(1).max(128), arguments: z.string().nullish() }),
});

const completion = z.looseObject({
  choices: z
    .array(
      z.looseObject({
        finish_reason: z.string().nullish(),
        message: z.looseObject({
          content: z.string().nullish(),
          tool_calls: z.array(toolCall).max(128).nullish(),
        }),
      }),
    )
    .min(1),
  usage: z
    .looseObject({ prompt_tokens: z.int().min(0), completion_tokens: z.int().min(0) })
    .nullish(),
});

/** How to reach an OpenAI-compatible server, and what the effects are. */
export type OpenAiOptions = {
  /** Provider name in answers and reports; default `io.intelligence`. */
  name?: string;
  baseUrl: string;
  /** Absent for a server that wants no key. */
  apiKey?: string;
  prices?: PriceTable;
  /** Longest single try; default 60 000 ms. */
  tryTimeoutMs?: number;
  /** Waits between tries, so one more try than entries; default 1 000 and 2 000 ms. */
  retryWaitsMs?: readonly number[];
  logger?: Logger;
  /** Monotonic milliseconds. */
  now?: () => number;
  /** Jitter source, 0 to 1. */
  random?: () => number;
};

/**
 * A provider that speaks the OpenAI chat completions API, as io.intelligence does.
 *
 * Tries three times in all; retries what may pass (5xx, dropped connections, time-outs, answers
 * that cannot be read, short 429s) and nothing else. The key reaches no error, log or answer.
 */
export function openAiProvider(options: OpenAiOptions): ModelProvider {
  const {
    name = 'io.intelligence',
    tryTimeoutMs = 60_000,
    retryWaitsMs = [1_000, 2_000],
  } = options;
  const { now = () => performance.now(), random = Math.random, logger } = options;
  const client = makeClient(options, tryTimeoutMs);
  const redact = redactor(options.apiKey);
  const toolless = new Set<string>();
  return {
    name,
    tools: true,
    async complete(given) {
      const startedMs = now();
      const messages = buildMessages(given);
      for (let tries = 1; ; tries += 1) {
        const request = toolless.has(given.model) ? withoutTools(given) : given;
        throwIfEnded(request.signal, now() - startedMs);
        try {
          const tryStartedMs = now();
          const answer = await tryOnce(client, request, messages, tryTimeoutMs);
          return toAnswer(answer, request, options, name, now() - tryStartedMs, tries);
        } catch (cause) {
          throwIfEnded(request.signal, now() - startedMs);
          const error = isAppError(cause)
            ? cause
            : modelErrorFrom(cause, { provider: name, redact, tryTimeoutMs });
          if (request.tools !== undefined && refusesTools(error)) {
            logger?.warn({ provider: name, model: request.model }, 'the model takes no tools');
            if (toolless.size < MODELS_MAX) toolless.add(request.model);
            continue;
          }
          const waitMs = waitBefore(tries, error, retryWaitsMs, random);
          logger?.warn(
            { provider: name, model: request.model, tries, waitMs, code: error.code },
            `model call failed: ${error.message}`,
          );
          if (waitMs === undefined) throw error;
          await pause(waitMs, request.signal);
        }
      }
    },
  };
}

/** Many servers refuse a request with tools that their model does not know, and work without. */
function refusesTools({ code, details }: AppError): boolean {
  return code === 'MODEL_ERROR' && [400, 404, 422].includes(Number(details?.['status']));
}

function withoutTools(request: ModelRequest): ModelRequest {
  const { tools: _refused, ...rest } = request;
  return rest;
}

function makeClient(options: OpenAiOptions, timeout: number): OpenAI {
  return new OpenAI({
    baseURL: options.baseUrl,
    // The package insists on a key; servers that want none ignore it.
    apiKey: options.apiKey ?? 'none',
    // Explicit, as the package would else read these from the process environment.
    adminAPIKey: null,
    organization: null,
    project: null,
    webhookSecret: null,
    logLevel: 'off',
    maxRetries: 0,
    timeout,
    fetch: boundedFetch,
  });
}

async function tryOnce(
  client: OpenAI,
  request: ModelRequest,
  messages: PromptMessage[],
  tryTimeoutMs: number,
): Promise<z.output<typeof completion>> {
  const body = await client.chat.completions.create(
    {
      model: request.model,
      messages,
      temperature: request.temperature ?? DEFAULT_TEMPERATURE,
      max_tokens: request.maxTokens ?? DEFAULT_MAX_TOKENS,
      ...(request.tools && {
        tools: request.tools.map((tool) => ({ type: 'function' as const, function: tool })),
      }),
    },
    { signal: AbortSignal.any([request.signal, AbortSignal.timeout(tryTimeoutMs)]) },
  );
  const parsed = completion.safeParse(body);
  if (!parsed.success) throw unusable('the answer does not have the expected shape');
  return parsed.data;
}

function toAnswer(
  body: z.output<typeof completion>,
  request: ModelRequest,
  options: OpenAiOptions,
  provider: string,
  requestMs: number,
  tries: number,
): ModelAnswer {
  const choice = body.choices[0];
  const text = dropSecret(choice?.message.content ?? '', options.apiKey);
  const finishReason = choice?.finish_reason ?? 'stop';
  const toolCalls = (choice?.message.tool_calls ?? []).map(toToolCall);
  if (text.trim() === '' && toolCalls.length === 0)
    throw unusable(`the answer is empty (finish reason ${finishReason})`);
  const notes: string[] = [];
  if (finishReason === 'length') {
    notes.push(`The answer was cut off at ${request.maxTokens ?? DEFAULT_MAX_TOKENS} tokens.`);
  }
  if (!body.usage) notes.push('The provider reported no token usage; it is counted as 0.');
  const usage = {
    input_tokens: body.usage?.prompt_tokens ?? 0,
    output_tokens: body.usage?.completion_tokens ?? 0,
  };
  return {
    text,
    ...(toolCalls.length > 0 && { toolCalls }),
    provider,
    model: request.model,
    temperature: request.temperature ?? DEFAULT_TEMPERATURE,
    usage,
    costMicroUsd: costMicroUsd(options.prices ?? {}, request.model, usage),
    requestMs: Math.round(requestMs),
    tries,
    finishReason,
    notes,
  };
}

function toToolCall(call: z.output<typeof toolCall>): ModelToolCall {
  return { id: call.id, name: call.function.name, input: readInput(call.function.arguments) };
}

function readInput(text: string | null | undefined): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text ?? '{}');
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
      return value as Record<string, unknown>;
    }
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  // The tool itself tells the model what it wants.
  return {};
}

/** The wait before the next try, or undefined where there is none. */
function waitBefore(
  tries: number,
  error: AppError,
  waitsMs: readonly number[],
  random: () => number,
): number | undefined {
  const baseMs = waitsMs[tries - 1];
  if (baseMs === undefined || error.details?.['retryable'] !== true) return undefined;
  if (error.retryAfterMs !== undefined) {
    return error.retryAfterMs <= MAX_QUOTA_WAIT_MS ? error.retryAfterMs : undefined;
  }
  return Math.round(baseMs * (1 + random() / 4));
}

/** Sleeps; an ended signal cuts the sleep short and the next loop turn reports it. */
async function pause(waitMs: number, signal: AbortSignal): Promise<void> {
  try {
    await delay(waitMs, undefined, { signal });
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

function throwIfEnded(signal: AbortSignal, elapsedMs: number): void {
  if (!signal.aborted) return;
  const reason: unknown = signal.reason;
  if (reason instanceof DOMException && reason.name === 'TimeoutError') {
    throw new AppError(
      'TIMEOUT',
      { what: 'The model call', limit_ms: Math.round(elapsedMs) },
      { details: { stage: 'calling_model', retryable: false } },
    );
  }
  throw reason;
}

function unusable(reason: string): AppError {
  return new AppError(
    'MODEL_ERROR',
    { reason },
    { details: { stage: 'calling_model', retryable: true } },
  );
}

/** fetch whose body fails past the limit instead of filling the memory. */
async function boundedFetch(url: string | URL | Request, init?: RequestInit): Promise<Response> {
  const response = await fetch(url, init);
  if (response.body === null) return response;
  let bytes = 0;
  const limit = new TransformStream<Uint8Array, Uint8Array>({
    transform(chunk, controller) {
      bytes += chunk.byteLength;
      if (bytes > MAX_BODY_BYTES) controller.error(new Error('the answer is over its size limit'));
      else controller.enqueue(chunk);
    },
  });
  const { status, statusText, headers } = response;
  return new Response(response.body.pipeThrough(limit), { status, statusText, headers });
}
