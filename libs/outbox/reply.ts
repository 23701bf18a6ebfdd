/** What came of one attempt, as the transport saw it. */
export type Reply =
  | {
      kind: 'answered';
      /** HTTP status; over NATS the one that the same answer has over HTTP. */
      status: number;
      /** As it came, cut. */
      body: string;
      /** The receiver's Retry-After, in ms. */
      retryAfterMs?: number;
    }
  /** No answer: network, time-out, nobody listens. */
  | { kind: 'failed'; reason: string };

/** What a reply means for the delivery. */
export type Verdict =
  | { kind: 'settled'; state: 'delivered' | 'duplicate' }
  | { kind: 'refused'; error: string }
  | { kind: 'again'; error: string; retryAfterMs: number | undefined };

/** Statuses below 500 that say "not now" rather than "never". */
const NOT_NOW = new Set([408, 429]);
const ERROR_CHARS = 200;

/**
 * 2xx settles it, as duplicate where the body says so; 408, 429, 5xx and no answer are tried again;
 * everything else is final: the same bytes would be refused again.
 */
export function judge(reply: Reply): Verdict {
  if (reply.kind === 'failed') {
    return { kind: 'again', error: cut(reply.reason), retryAfterMs: undefined };
  }
  const { status, body, retryAfterMs } = reply;
  if (status >= 200 && status < 300) {
    return { kind: 'settled', state: wordOf(body) === 'duplicate' ? 'duplicate' : 'delivered' };
  }
  const error = body === '' ? `HTTP ${status}` : `HTTP ${status}: ${cut(body)}`;
  if (status >= 500 || NOT_NOW.has(status)) return { kind: 'again', error, retryAfterMs };
  return { kind: 'refused', error };
}

/**
 * Milliseconds of a Retry-After header: seconds, or a date; undefined where it is neither.
 * @param nowMs the clock that a date is compared with
 */
export function parseRetryAfter(value: string | null, nowMs: number): number | undefined {
  if (value === null) return undefined;
  const text = value.trim();
  if (/^\d{1,9}$/.test(text)) return Number(text) * 1_000;
  // Date.parse reads nearly anything; a date of HTTP begins with its weekday.
  if (!/^[A-Za-z]{3},/.test(text)) return undefined;
  const at = Date.parse(text);
  return Number.isNaN(at) ? undefined : Math.max(0, at - nowMs);
}

function wordOf(body: string): unknown {
  try {
    const value: unknown = JSON.parse(body);
    return typeof value === 'object' && value !== null
      ? (value as { status?: unknown }).status
      : '';
  } catch (error) {
    // A 2xx says that it was taken, whatever the words.
    if (error instanceof SyntaxError) return '';
    throw error;
  }
}

function cut(text: string): string {
  return text.slice(0, ERROR_CHARS);
}
