import { type Broker, requestAnswer } from '#libs/broker';
import type { Channel, TargetSettings } from '#libs/contracts';
import type { Send } from './deliverer.ts';
import { parseRetryAfter, type Reply } from './reply.ts';
import { ingestSubject } from './subjects.ts';

/** The two headers of the contract for a body, made anew for each attempt. */
export type SignBody = (channel: Channel, body: string) => Readonly<Record<string, string>>;

/** Paths of the contract, under the target's URL. */
const PATHS: Readonly<Record<Channel, string>> = {
  milestones: '/internal/milestones/ingest',
  demand: '/internal/demand/ingest',
};
/** The status of an answer over NATS, as libs/service sends it. */
const STATUS_HEADER = 'Ironclaw-Status';
/** Of an answer that is read; the rest is not waited for. */
const ANSWER_BYTES_MAX = 64 * 1024;

/** How a target is reached. */
export function createSend(
  broker: Broker,
  settings: TargetSettings,
  sign: SignBody,
  now: () => Date,
): Send {
  const { timeout_ms: timeoutMs } = settings;
  const { url } = settings;
  return url === undefined
    ? (channel, body, signal) => sendOverNats(broker, { channel, body, sign, timeoutMs, signal })
    : (channel, body, signal) => sendOverHttp(url, { channel, body, sign, timeoutMs, signal, now });
}

type Sending = {
  channel: Channel;
  body: string;
  sign: SignBody;
  timeoutMs: number;
  signal: AbortSignal;
};

async function sendOverHttp(url: string, one: Sending & { now: () => Date }): Promise<Reply> {
  const { channel, body, sign, timeoutMs, now } = one;
  try {
    const response = await fetch(url.replace(/\/+$/, '') + PATHS[channel], {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...sign(channel, body) },
      body,
      // Whoever answers elsewhere was not meant to get this.
      redirect: 'manual',
      signal: AbortSignal.any([one.signal, AbortSignal.timeout(timeoutMs)]),
    });
    const retryAfterMs = parseRetryAfter(response.headers.get('retry-after'), now().getTime());
    return {
      kind: 'answered',
      status: response.status,
      body: await readText(response),
      ...(retryAfterMs !== undefined && { retryAfterMs }),
    };
  } catch (error) {
    return { kind: 'failed', reason: reasonOf(error, timeoutMs) };
  }
}

async function readText(response: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    chunks.push(chunk);
    bytes += chunk.byteLength;
    if (bytes > ANSWER_BYTES_MAX) break;
  }
  return Buffer.concat(chunks).subarray(0, ANSWER_BYTES_MAX).toString('utf8');
}

async function sendOverNats(broker: Broker, one: Sending): Promise<Reply> {
  const { channel, body, sign, timeoutMs, signal } = one;
  return requestAnswer<Reply>(broker, {
    subject: ingestSubject(channel),
    data: body,
    headers: sign(channel, body),
    timeoutMs,
    signal,
    read: readAnswer,
    failed: (reason) => ({ kind: 'failed', reason }),
  });
}

/** Without a status, that of its word. */
function readAnswer(body: string, header: (name: string) => string | undefined): Reply {
  const value = asObject(body);
  const status = Number(header(STATUS_HEADER) ?? (value.ok === true ? 200 : 500));
  return { kind: 'answered', status, body };
}

function asObject(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  } catch (error) {
    if (error instanceof SyntaxError) return {};
    throw error;
  }
}

/** `fetch failed` says nothing; its cause does. */
function reasonOf(error: unknown, timeoutMs: number): string {
  if (!(error instanceof Error)) return String(error);
  if (error.name === 'TimeoutError') return `no answer within ${timeoutMs} ms`;
  return error.cause instanceof Error ? error.cause.message || error.message : error.message;
}
