import { AppError } from '#libs/contracts';
import { APIConnectionError, APIConnectionTimeoutError, APIError, APIUserAbortError } from 'openai';

const MAX_REASON_CHARS = 300;

type Context = { provider: string; redact: (text: string) => string; tryTimeoutMs: number };

/**
 * Turns a failure of one try into the error a caller sees: TIMEOUT, MODEL_QUOTA or MODEL_ERROR.
 *
 * The original is not attached as `cause`: it holds headers and the server's words unredacted.
 */
export function modelErrorFrom(cause: unknown, context: Context): AppError {
  const details = { provider: context.provider, stage: 'calling_model' };
  if (cause instanceof APIError && cause.status !== undefined) {
    return cause.status === 429 || cause.status === 402
      ? quota(cause, cause.status, context)
      : statusError(cause, cause.status, context);
  }
  // Our own signal ended this try; the caller has checked that the request's signal did not.
  if (isTimeout(cause)) {
    return new AppError(
      'TIMEOUT',
      { what: 'The model call', limit_ms: context.tryTimeoutMs },
      { details: { ...details, retryable: true } },
    );
  }
  return new AppError(
    'MODEL_ERROR',
    { reason: clip(context.redact(connectionReason(cause))) },
    { details: { ...details, retryable: true } },
  );
}

function statusError(error: APIError, status: number, context: Context): AppError {
  const retryable = status >= 500 || status === 408 || status === 409;
  return new AppError(
    'MODEL_ERROR',
    { reason: clip(context.redact(`status ${status}, ${bodyMessage(error)}`)) },
    { details: { provider: context.provider, stage: 'calling_model', status, retryable } },
  );
}

function quota(error: APIError, status: number, context: Context): AppError {
  // An exhausted account does not refill while we wait; a rate limit does.
  const exhausted =
    status === 402 || error.code === 'insufficient_quota' || error.type === 'insufficient_quota';
  const retryAfterMs = readRetryAfter(error.headers);
  return new AppError(
    'MODEL_QUOTA',
    { reason: clip(context.redact(bodyMessage(error))) },
    {
      details: {
        provider: context.provider,
        stage: 'calling_model',
        status,
        retryable: !exhausted,
      },
      ...(retryAfterMs !== undefined && { retryAfterMs }),
    },
  );
}

/** Retry-After in milliseconds: seconds, or an HTTP date measured against the server's own Date. */
export function readRetryAfter(headers: Headers | undefined): number | undefined {
  const value = headers?.get('retry-after');
  if (value === null || value === undefined || value.trim() === '') return undefined;
  const seconds = Number(value);
  if (Number.isFinite(seconds)) return seconds < 0 ? undefined : Math.round(seconds * 1000);
  const waitMs = Date.parse(value) - Date.parse(headers?.get('date') ?? '');
  return Number.isFinite(waitMs) ? Math.max(0, waitMs) : undefined;
}

function bodyMessage(error: APIError): string {
  const body: unknown = error.error;
  if (typeof body === 'object' && body !== null && 'message' in body) return String(body.message);
  return typeof body === 'string' ? body : 'without a reason';
}

function connectionReason(cause: unknown): string {
  if (cause instanceof SyntaxError) return 'the answer is not JSON';
  if (cause instanceof APIConnectionError) {
    return `no connection (${innermostMessage(cause)})`;
  }
  return `the connection ended inside the answer (${innermostMessage(cause)})`;
}

function innermostMessage(error: unknown): string {
  let at = error;
  for (let depth = 0; depth < 5; depth += 1) {
    if (!(at instanceof Error) || at.cause === undefined) break;
    at = at.cause;
  }
  if (!(at instanceof Error)) return 'unknown';
  return 'code' in at && typeof at.code === 'string' ? `${at.code} ${at.message}` : at.message;
}

function isTimeout(error: unknown): boolean {
  return (
    error instanceof APIUserAbortError ||
    error instanceof APIConnectionTimeoutError ||
    (error instanceof Error && (error.name === 'AbortError' || error.name === 'TimeoutError'))
  );
}

function clip(text: string): string {
  const line = text.replace(/\s+/g, ' ').trim();
  return line.length > MAX_REASON_CHARS ? `${line.slice(0, MAX_REASON_CHARS)}…` : line;
}
