import { AppError } from '#libs/contracts';
import type { Json, TrackerAnswer } from './answers.ts';

const TIMEOUT_MS = 30_000;
const ANSWER_BYTES_MAX = 1024 * 1024;

export type Exchange = {
  url: string;
  method: 'GET' | 'POST';
  headers?: Record<string, string>;
  body: object | undefined;
  /** Default 30 000 ms. */
  timeoutMs: number | undefined;
};

/** @param server as https://tracker.example.com */
export function addressOf(server: string, path: string): string {
  return server.replace(/\/+$/, '') + path;
}

/** Asks once. @throws {DEPENDENCY_UNAVAILABLE} no answer */
export async function exchange(asked: Exchange): Promise<TrackerAnswer> {
  const { url, method, headers, body, timeoutMs = TIMEOUT_MS } = asked;
  try {
    const response = await fetch(url, {
      method,
      headers: { ...headers, ...(body !== undefined && { 'content-type': 'application/json' }) },
      ...(body !== undefined && { body: JSON.stringify(body) }),
      // A redirect would carry the token to another place.
      redirect: 'manual',
      signal: AbortSignal.timeout(timeoutMs),
    });
    return { status: response.status, body: await readJson(response) };
  } catch (error) {
    const { name, message, cause } = error as Error & { cause?: NodeJS.ErrnoException };
    const timedOut = name === 'TimeoutError' ? `no answer within ${timeoutMs} ms` : undefined;
    const reason = timedOut ?? cause?.code ?? cause?.message ?? message;
    throw new AppError(
      'DEPENDENCY_UNAVAILABLE',
      { dependency: 'The tracker', reason },
      { cause: error },
    );
  }
}

/** Undefined where the answer is no JSON object, or far too long. */
async function readJson(response: Response): Promise<Json | undefined> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    bytes += chunk.length;
    if (bytes > ANSWER_BYTES_MAX) return undefined;
    chunks.push(chunk);
  }
  try {
    const value: unknown = JSON.parse(Buffer.concat(chunks).toString('utf8'));
    const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
    return isObject ? (value as Json) : undefined;
  } catch {
    return undefined;
  }
}
