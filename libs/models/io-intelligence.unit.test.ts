import { Writable } from 'node:stream';
import { AppError } from '#libs/contracts';
import { type ModelMode, startModelServer } from '#libs/testing';
import { pino } from 'pino';
import { describe, expect, test } from 'vitest';
import { type OpenAiOptions, openAiProvider } from './io-intelligence.ts';
import type { ModelRequest } from './port.ts';

const KEY = 'io-v2-S3cretS3cretS3cretS3cret';

function request(more: Partial<ModelRequest> = {}): ModelRequest {
  return {
    model: 'test/model',
    system: 'You summarise.',
    files: [{ path: 'inputs/r/message.md', text: 'The launch moved to May.' }],
    objective: 'Summarise the message',
    task: 'draft',
    outputs: [{ path: 'outputs/r/model_output.txt' }],
    signal: AbortSignal.timeout(20_000),
    ...more,
  };
}

async function setUp(mode: ModelMode, options: Partial<OpenAiOptions> = {}) {
  const server = await startModelServer({ mode });
  const lines: string[] = [];
  const logger = pino(
    new Writable({
      write(chunk, _encoding, done) {
        lines.push(String(chunk));
        done();
      },
    }),
  );
  const provider = openAiProvider({
    baseUrl: server.url,
    apiKey: KEY,
    retryWaitsMs: [1, 2],
    random: () => 0,
    logger,
    ...options,
  });
  return { server, provider, lines, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() };
}

async function failure(promise: Promise<unknown>): Promise<AppError> {
  const error = await promise.then(
    () => undefined,
    (cause: unknown) => cause,
  );
  if (!(error instanceof AppError)) throw new Error(`no AppError: ${String(error)}`);
  return error;
}

describe('an answer', () => {
  test('carries text, usage, cost and what was asked', async () => {
    await using context = await setUp(
      { kind: 'ok' },
      { prices: { 'test/model': { input: 1_000_000, output: 3_000_000 } } },
    );
    const answer = await context.provider.complete(request());
    expect(answer).toMatchObject({
      provider: 'io.intelligence',
      model: 'test/model',
      temperature: 0.2,
      tries: 1,
      finishReason: 'stop',
      notes: [],
    });
    expect(answer.text).toContain('Summarise the message');
    const { input_tokens, output_tokens } = answer.usage;
    expect(input_tokens).toBeGreaterThan(10);
    expect(answer.costMicroUsd).toBe(input_tokens + 3 * output_tokens);
    const [sent] = context.server.requests();
    expect(sent?.authorization).toBe(`Bearer ${KEY}`);
    expect(sent?.body).toMatchObject({ model: 'test/model', temperature: 0.2, max_tokens: 800 });
  });

  test('that was cut off says so', async () => {
    await using context = await setUp({ kind: 'truncated' });
    const answer = await context.provider.complete(request({ maxTokens: 7 }));
    expect(answer.finishReason).toBe('length');
    expect(answer.notes).toEqual(['The answer was cut off at 7 tokens.']);
    expect(context.server.requests()[0]?.body.max_tokens).toBe(7);
  });

  test('that quotes the key comes without it', async () => {
    await using context = await setUp({ kind: 'ok', text: `your key is ${KEY}!` });
    const answer = await context.provider.complete(request());
    expect(answer.text).toBe('your key is [redacted]!');
  });
});

describe('tools', () => {
  const tools = [{ name: 'ls', description: 'Lists.', parameters: { type: 'object' } }];

  test('are offered, asked for, and their results put before the model', async () => {
    const toolCalls = [
      { id: 'c1', name: 'ls', arguments: '{"args":["docs"]}' },
      { id: 'c2', name: 'ls', arguments: 'not JSON' },
    ];
    await using context = await setUp({
      kind: 'script',
      modes: [{ kind: 'ok', toolCalls }, { kind: 'ok' }],
    });
    const asked = await context.provider.complete(request({ tools }));
    expect(asked.toolCalls).toEqual([
      { id: 'c1', name: 'ls', input: { args: ['docs'] } },
      { id: 'c2', name: 'ls', input: {} },
    ]);
    const results = [
      { id: 'c1', output: 'a.md' },
      { id: 'c2', output: 'ls: args' },
    ];
    const turns = [{ text: asked.text, calls: asked.toolCalls ?? [], results }];
    const answer = await context.provider.complete(request({ tools, turns }));
    expect(answer.toolCalls).toBeUndefined();
    expect(answer.text).toContain('Summarise the message');
    const [first, second] = context.server.requests();
    expect(first?.body.tools).toMatchObject([{ type: 'function', function: { name: 'ls' } }]);
    expect(second?.body.messages?.slice(2)).toMatchObject([
      { role: 'assistant', tool_calls: [{ id: 'c1' }, { id: 'c2' }] },
      { role: 'tool', tool_call_id: 'c1', content: 'a.md' },
      { role: 'tool', tool_call_id: 'c2' },
    ]);
  });

  test('a model that takes none is asked without, once and for good', async () => {
    await using context = await setUp({ kind: 'no_tools' });
    await context.provider.complete(request({ tools }));
    await context.provider.complete(request({ tools }));
    expect(context.server.requests().map(({ body }) => body.tools !== undefined)).toEqual([
      true,
      false,
      false,
    ]);
  });
});

describe('a failure', () => {
  test.each<[string, ModelMode, string, Record<string, unknown>, number]>([
    ['500', { kind: 'status', status: 500 }, 'MODEL_ERROR', { status: 500, retryable: true }, 3],
    ['401', { kind: 'status', status: 401 }, 'MODEL_ERROR', { status: 401, retryable: false }, 1],
    ['400', { kind: 'status', status: 400 }, 'MODEL_ERROR', { status: 400, retryable: false }, 1],
    ['402', { kind: 'status', status: 402 }, 'MODEL_QUOTA', { status: 402, retryable: false }, 1],
    ['malformed', { kind: 'malformed' }, 'MODEL_ERROR', { retryable: true }, 3],
    ['wrong shape', { kind: 'wrong_shape' }, 'MODEL_ERROR', { retryable: true }, 3],
    ['empty', { kind: 'empty' }, 'MODEL_ERROR', { retryable: true }, 3],
    ['disconnect', { kind: 'disconnect' }, 'MODEL_ERROR', { retryable: true }, 3],
    ['no quota left', { kind: 'quota' }, 'MODEL_QUOTA', { retryable: false }, 1],
    ['429', { kind: 'rate_limited' }, 'MODEL_QUOTA', { status: 429, retryable: true }, 3],
  ])('%s ends in its code after its tries', async (_name, mode, code, details, calls) => {
    await using context = await setUp(mode);
    const error = await failure(context.provider.complete(request()));
    expect(error.code).toBe(code);
    expect(error.details).toMatchObject({ stage: 'calling_model', ...details });
    expect(context.server.calls()).toBe(calls);
  });

  test('429 with a long Retry-After goes to the caller at once, with the wait', async () => {
    await using context = await setUp({ kind: 'rate_limited', retryAfterSeconds: 120 });
    const error = await failure(context.provider.complete(request()));
    expect(error).toMatchObject({ code: 'MODEL_QUOTA', retryAfterMs: 120_000 });
    expect(context.server.calls()).toBe(1);
  });

  test('429 with a short Retry-After is waited for', async () => {
    const modes: ModelMode[] = [{ kind: 'rate_limited', retryAfterSeconds: 0.05 }, { kind: 'ok' }];
    await using context = await setUp({ kind: 'script', modes });
    const startedMs = performance.now();
    expect((await context.provider.complete(request())).tries).toBe(2);
    expect(performance.now() - startedMs).toBeGreaterThanOrEqual(45);
  });

  test('that passes is retried, and the tries are counted', async () => {
    const modes: ModelMode[] = [
      { kind: 'status', status: 503 },
      { kind: 'disconnect' },
      { kind: 'ok' },
    ];
    await using context = await setUp({ kind: 'script', modes });
    expect((await context.provider.complete(request())).tries).toBe(3);
  });

  test('to connect is a MODEL_ERROR that names the reason', async () => {
    const server = await startModelServer();
    await server[Symbol.asyncDispose]();
    const provider = openAiProvider({ baseUrl: server.url, apiKey: KEY, retryWaitsMs: [] });
    const error = await failure(provider.complete(request()));
    expect(error.message).toContain('ECONNREFUSED');
  });

  test.each<ModelMode>([{ kind: 'hang' }, { kind: 'slow', ms: 5_000 }])(
    '$kind past the try limit is a TIMEOUT after three tries',
    async (mode) => {
      await using context = await setUp(mode, { tryTimeoutMs: 60 });
      const error = await failure(context.provider.complete(request()));
      expect(error.code).toBe('TIMEOUT');
      expect(error.message).toContain('60 ms');
      expect(context.server.calls()).toBe(3);
    },
  );

  test('by the time budget is a TIMEOUT without another try', async () => {
    await using context = await setUp({ kind: 'hang' });
    const signal = AbortSignal.timeout(80);
    const error = await failure(context.provider.complete(request({ signal })));
    expect(error).toMatchObject({ code: 'TIMEOUT', details: { retryable: false } });
    expect(context.server.calls()).toBe(1);
  });

  test('by the time budget also ends a wait between tries', async () => {
    await using context = await setUp(
      { kind: 'status', status: 500 },
      { retryWaitsMs: [60_000, 60_000] },
    );
    const signal = AbortSignal.timeout(80);
    expect((await failure(context.provider.complete(request({ signal })))).code).toBe('TIMEOUT');
  });

  test('by cancellation throws the reason it was cancelled with', async () => {
    await using context = await setUp({ kind: 'hang' });
    const controller = new AbortController();
    const pending = context.provider.complete(request({ signal: controller.signal }));
    const reason = new Error('the run was cancelled');
    setTimeout(() => controller.abort(reason), 20);
    await expect(pending).rejects.toBe(reason);
  });
});

test('the key reaches no error and no log line, whole or in part', async () => {
  const quotes = [
    undefined,
    `Incorrect API key provided: ${KEY.slice(0, 10)}`,
    `Incorrect API key provided: ${KEY.slice(0, 5)}****${KEY.slice(-4)}`,
  ];
  for (const message of quotes) {
    for (const status of [401, 500]) {
      await using context = await setUp({ kind: 'status', status, ...(message && { message }) });
      const error = await failure(context.provider.complete(request()));
      const seen = [error.message, error.stack, JSON.stringify(error), ...context.lines].join(' ');
      expect(seen).toContain('[redacted]');
      for (let at = 0; at + 8 <= KEY.length; at += 1) {
        expect(seen).not.toContain(KEY.slice(at, at + 8));
      }
      expect(error.cause).toBeUndefined();
    }
  }
});

test('a mix of failures is the same for the same seed', async () => {
  const outcomes: string[] = [];
  for (let round = 0; round < 2; round += 1) {
    await using context = await setUp(
      {
        kind: 'mix',
        seed: 7,
        percent: [
          { mode: { kind: 'status', status: 500 }, percent: 30 },
          { mode: { kind: 'truncated' }, percent: 20 },
        ],
      },
      { retryWaitsMs: [] },
    );
    let outcome = '';
    for (let call = 0; call < 40; call += 1) {
      outcome += await context.provider.complete(request()).then(
        ({ finishReason }) => (finishReason === 'length' ? 't' : '.'),
        () => 'x',
      );
    }
    outcomes.push(outcome);
  }
  expect(outcomes[0]).toBe(outcomes[1]);
  expect(new Set(outcomes[0])).toEqual(new Set(['x', 't', '.']));
});

test('the test server serves tool calls as a model asks for them', async () => {
  await using server = await startModelServer({
    mode: { kind: 'ok', toolCalls: [{ id: 'call_1', name: 'ls', arguments: '{"path":"."}' }] },
  });
  const response = await fetch(`${server.url}/chat/completions`, {
    method: 'POST',
    body: JSON.stringify({ model: 'm', messages: [] }),
  });
  const body = await response.json();
  expect(body).toMatchObject({
    choices: [
      {
        finish_reason: 'tool_calls',
        message: { tool_calls: [{ id: 'call_1', function: { name: 'ls' } }] },
      },
    ],
  });
});
