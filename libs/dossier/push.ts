import type { BodyUpload } from '#libs/contracts';
import { type Answer, classify, noAnswer } from './answers.ts';

/** Where bodies go, below the server's address. */
export const PUSH_PATH = '/api/dossier/push-content/';
const TIMEOUT_MS = 30_000;
const ANSWER_BYTES_MAX = 64 * 1024;

export type PushOptions = {
  /** As https://missions.example.com */
  server: string;
  /** Bearer token; undefined where the server asks for none. */
  token: string | undefined;
  /** Default 30 000 ms. */
  timeoutMs?: number;
  /** Gives up the request. */
  abort?: AbortSignal | undefined;
};

/** Sends one body. Never throws: every failure is an answer. */
export async function pushBody(upload: BodyUpload, options: PushOptions): Promise<Answer> {
  const { server, token, timeoutMs = TIMEOUT_MS, abort } = options;
  try {
    const response = await fetch(server.replace(/\/+$/, '') + PUSH_PATH, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        ...(token !== undefined && { authorization: `Bearer ${token}` }),
      },
      body: JSON.stringify(upload),
      // A redirect would carry the token and the content to another place.
      redirect: 'manual',
      signal: within(timeoutMs, abort),
    });
    return classify(response.status, await readJson(response));
  } catch (error) {
    return noAnswer(reasonOf(error, timeoutMs));
  }
}

/** Aborted after the time, or with another signal. */
export function within(ms: number, abort: AbortSignal | undefined): AbortSignal {
  const late = AbortSignal.timeout(ms);
  return abort === undefined ? late : AbortSignal.any([late, abort]);
}

/** Undefined where the answer is no JSON, or far too long. */
async function readJson(response: Response): Promise<unknown> {
  const decoder = new TextDecoder();
  let text = '';
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    bytes += chunk.length;
    if (bytes > ANSWER_BYTES_MAX) return undefined;
    text += decoder.decode(chunk, { stream: true });
  }
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function reasonOf(error: unknown, timeoutMs: number): string {
  const { name, message, cause } = error as Error & { cause?: NodeJS.ErrnoException };
  if (name === 'TimeoutError') return `no answer within ${timeoutMs} ms`;
  return cause?.code ?? cause?.message ?? message;
}
