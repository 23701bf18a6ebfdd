import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';

/** A tool call the server makes the model ask for. */
export type ServedToolCall = { id: string; name: string; arguments: string };

/** How one request is answered. `text` is derived from the request unless given. */
export type ModelMode =
  | { kind: 'ok'; text?: string; toolCalls?: ServedToolCall[] }
  | { kind: 'slow'; ms: number; text?: string }
  | { kind: 'status'; status: number; message?: string }
  | { kind: 'rate_limited'; retryAfterSeconds?: number }
  | { kind: 'quota' }
  | { kind: 'truncated' }
  | { kind: 'malformed' }
  | { kind: 'wrong_shape' }
  | { kind: 'empty' }
  | { kind: 'hang' }
  | { kind: 'disconnect' }
  /** 400 for a request that offers tools, ok for one that does not. */
  | { kind: 'no_tools' }
  /** Percent of requests per mode, drawn from a seeded generator; the rest are ok. */
  | { kind: 'mix'; seed: number; percent: { mode: ModelMode; percent: number }[] }
  /** One mode per request in turn, then the last one for good. */
  | { kind: 'script'; modes: ModelMode[] };

/** A chat completion request as it arrived. */
export type ServedRequest = {
  path: string;
  authorization: string | undefined;
  body: {
    model?: string;
    messages?: { role: string; content: string; tool_call_id?: string }[];
    [key: string]: unknown;
  };
};

/** A running test model server on a random loopback port. */
export type ModelServer = AsyncDisposable & {
  /** Base URL for a provider, ending in `/v1`. */
  readonly url: string;
  /** How many completions were asked for. */
  calls(): number;
  /** How many of them were answered otherwise than by `ok`, by the kind of mode. */
  faults(): Readonly<Record<string, number>>;
  requests(): readonly ServedRequest[];
  setMode(mode: ModelMode): void;
};

const MAX_KEPT_REQUESTS = 10_000;
const MAX_BODY_BYTES = 16 * 1024 * 1024;

/** Starts an OpenAI-compatible server for tests; the mode defaults to `ok`. */
export async function startModelServer(options: { mode?: ModelMode } = {}): Promise<ModelServer> {
  let next = modeSource(options.mode ?? { kind: 'ok' });
  let calls = 0;
  const faults: Record<string, number> = {};
  const requests: ServedRequest[] = [];
  const closing = new AbortController();

  const server = createServer((request, response) => {
    handle(request, response).catch((error: unknown) => {
      if (closing.signal.aborted || response.destroyed) return;
      response.writeHead(500).end(String(error));
    });
  });

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const text = await readBody(request);
    if (request.method !== 'POST' || !request.url?.endsWith('/chat/completions')) {
      sendJson(response, 404, { error: { message: 'not found', type: 'invalid_request_error' } });
      return;
    }
    const served: ServedRequest = {
      path: request.url,
      authorization: request.headers.authorization,
      body: JSON.parse(text) as ServedRequest['body'],
    };
    calls += 1;
    requests.push(served);
    if (requests.length > MAX_KEPT_REQUESTS) requests.shift();
    const mode = next();
    if (mode.kind !== 'ok') faults[mode.kind] = (faults[mode.kind] ?? 0) + 1;
    await respond(mode, served, response, closing.signal);
  }

  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return {
    url: `http://127.0.0.1:${address.port}/v1`,
    calls: () => calls,
    faults: () => faults,
    requests: () => requests,
    setMode(mode) {
      next = modeSource(mode);
    },
    async [Symbol.asyncDispose]() {
      closing.abort();
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

type Leaf = Exclude<ModelMode, { kind: 'mix' } | { kind: 'script' }>;

function modeSource(mode: ModelMode): () => Leaf {
  if (mode.kind === 'script') {
    if (mode.modes.length === 0) throw new Error('a script needs at least one mode');
    const sources = mode.modes.map(modeSource);
    let at = 0;
    return () => {
      const source = sources[Math.min(at, sources.length - 1)]!;
      at += 1;
      return source();
    };
  }
  if (mode.kind !== 'mix') return () => mode;
  const random = seededRandom(mode.seed);
  const sources = mode.percent.map((entry) => ({ ...entry, source: modeSource(entry.mode) }));
  return () => {
    let left = random() * 100;
    for (const { percent, source } of sources) {
      left -= percent;
      if (left < 0) return source();
    }
    return { kind: 'ok' };
  };
}

async function respond(
  mode: Leaf,
  request: ServedRequest,
  response: ServerResponse,
  closing: AbortSignal,
): Promise<void> {
  switch (mode.kind) {
    case 'slow':
      await delay(mode.ms, undefined, { signal: closing });
      return sendJson(response, 200, completionOf(request, mode.text ?? answerTo(request)));
    case 'ok':
      return sendJson(
        response,
        200,
        completionOf(request, mode.text ?? answerTo(request), mode.toolCalls),
      );
    case 'truncated': {
      const answer = answerTo(request);
      const half = answer.slice(0, Math.ceil(answer.length / 2));
      return sendJson(response, 200, completionOf(request, half, undefined, 'length'));
    }
    case 'empty':
      return sendJson(response, 200, completionOf(request, ''));
    case 'wrong_shape':
      return sendJson(response, 200, { object: 'chat.completion', choices: 'none' });
    case 'malformed':
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end('{"choices": [{"message": ');
      return;
    case 'no_tools':
      return request.body.tools === undefined
        ? sendJson(response, 200, completionOf(request, answerTo(request)))
        : sendFailure({ kind: 'status', status: 400, message: 'no tools' }, request, response);
    case 'hang':
      // Left open until the client gives up or the server closes.
      return;
    case 'disconnect':
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': '1000' });
      response.write('{"choices": [');
      await delay(10, undefined, { signal: closing });
      response.destroy();
      return;
    default:
      return sendFailure(mode, request, response);
  }
}

function sendFailure(
  mode: Extract<Leaf, { kind: 'status' | 'rate_limited' | 'quota' }>,
  request: ServedRequest,
  response: ServerResponse,
): void {
  if (mode.kind === 'status') {
    // Real servers quote the key they were given; the client has to take it out again.
    const message = mode.message ?? `refused for ${request.authorization ?? 'nobody'}`;
    return sendJson(response, mode.status, { error: { message, type: 'server_error' } });
  }
  if (mode.kind === 'quota') {
    const code = 'insufficient_quota';
    return sendJson(response, 429, { error: { message: 'quota is used up', type: code, code } });
  }
  if (mode.retryAfterSeconds !== undefined) {
    response.setHeader('retry-after', String(mode.retryAfterSeconds));
  }
  const error = { message: 'rate limit reached', type: 'requests', code: 'rate_limit_exceeded' };
  return sendJson(response, 429, { error });
}

/** Text that depends on the request and carries the headings the request asks for. */
function answerTo(request: ServedRequest): string {
  const messages = request.body.messages ?? [];
  const asked = messages.findLast((message) => message.role === 'user')?.content ?? '';
  const system = messages.find((message) => message.role === 'system')?.content ?? '';
  const listed = /each on a line of its own: (.*)/.exec(system)?.[1];
  const gist = asked.replace(/\s+/g, ' ').slice(0, 200);
  if (listed === undefined) return `Test answer to: ${gist}`;
  return listed
    .split(' ; ')
    .map((heading) => `${heading}\n\nTest answer to: ${gist}\n`)
    .join('\n---\n\n');
}

function completionOf(
  request: ServedRequest,
  text: string,
  toolCalls?: ServedToolCall[],
  finishReason = toolCalls === undefined ? 'stop' : 'tool_calls',
): object {
  const promptChars = JSON.stringify(request.body.messages ?? []).length;
  return {
    id: 'chatcmpl-test',
    object: 'chat.completion',
    created: 0,
    model: request.body.model ?? 'test',
    choices: [
      {
        index: 0,
        finish_reason: finishReason,
        message: {
          role: 'assistant',
          content: toolCalls === undefined ? text : null,
          ...(toolCalls !== undefined && {
            tool_calls: toolCalls.map(({ id, name, arguments: args }) => ({
              id,
              type: 'function',
              function: { name, arguments: args },
            })),
          }),
        },
      },
    ],
    usage: {
      prompt_tokens: Math.ceil(promptChars / 4),
      completion_tokens: Math.ceil(text.length / 4),
      total_tokens: Math.ceil(promptChars / 4) + Math.ceil(text.length / 4),
    },
  };
}

function sendJson(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}

async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request) {
    bytes += (chunk as Buffer).byteLength;
    if (bytes > MAX_BODY_BYTES) throw new Error('the request is too large');
    chunks.push(chunk as Buffer);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** mulberry32: small, seeded, the same on every machine. */
function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
