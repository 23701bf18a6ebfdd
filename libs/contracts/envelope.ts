import { z } from 'zod';
import { AppError, type ErrorCode, ERRORS } from './errors.ts';

/** `{ok, data, error}`: the answer of every IronClaw endpoint (service contracts, section O). */
export type ErrorBody = {
  code: ErrorCode;
  message: string;
  field?: string;
  fix?: string;
  retry_after_ms?: number;
  details?: Record<string, unknown>;
};
export type Envelope<T> =
  | { ok: true; data: T; error: null }
  | { ok: false; data: null; error: ErrorBody };

export function okBody<T>(data: T): Envelope<T> {
  return { ok: true, data, error: null };
}

export function errorBody(error: AppError): Envelope<never> {
  const body: ErrorBody = { code: error.code, message: error.message, fix: ERRORS[error.code].fix };
  if (error.field !== undefined) body.field = error.field;
  if (error.retryAfterMs !== undefined) body.retry_after_ms = error.retryAfterMs;
  if (error.details !== undefined) body.details = error.details;
  return { ok: false, data: null, error: body };
}

/** Turns a received error body back into the error it was; unknown codes become INTERNAL. */
export function fromErrorBody(body: Partial<ErrorBody>): AppError {
  const known = body.code !== undefined && Object.hasOwn(ERRORS, body.code);
  const code = known ? (body.code as ErrorCode) : 'INTERNAL';
  const error = new AppError(
    code,
    {},
    {
      ...(body.field !== undefined && { field: body.field }),
      ...(body.details !== undefined && { details: body.details }),
      ...(body.retry_after_ms !== undefined && { retryAfterMs: body.retry_after_ms }),
    },
  );
  if (body.message !== undefined) error.message = body.message;
  return error;
}

export const errorBodySchema = z.object({
  code: z.enum(Object.keys(ERRORS) as [ErrorCode, ...ErrorCode[]]),
  message: z.string(),
  field: z.string().optional(),
  fix: z.string().optional(),
  retry_after_ms: z.number().optional(),
  details: z.record(z.string(), z.unknown()).optional(),
});

/** Parses `value` with `schema`; a failure is an INVALID_REQUEST that names the first bad field. */
export function parse<S extends z.ZodType>(schema: S, value: unknown, at = ''): z.output<S> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  if (issue === undefined) throw new AppError('INVALID_REQUEST', { reason: 'invalid' });
  const path =
    issue.code === 'unrecognized_keys' ? [...issue.path, issue.keys[0] ?? ''] : issue.path;
  const field = fieldName(at, path);
  const isNoNumber = issue.code === 'invalid_type' && issue.message.endsWith('received NaN');
  const message = isNoNumber ? 'must be a number' : issue.message;
  throw new AppError(
    'INVALID_REQUEST',
    { reason: field === '' ? message : `${field}: ${message}` },
    { field: field === '' ? 'body' : field },
  );
}

function fieldName(at: string, path: readonly PropertyKey[]): string {
  return path.reduce<string>((name, part) => {
    if (typeof part === 'number') return `${name}[${part}]`;
    return name === '' ? String(part) : `${name}.${String(part)}`;
  }, at);
}
