import { AppError } from '#libs/contracts';

export type Json = { readonly [key: string]: unknown };

/** An answer of the tracker, its body read. */
export type TrackerAnswer = { status: number; body: Json | undefined };

/** What the tracker says with an error (reference §4); a field it leaves out is null. */
export type TrackerFault = {
  status: number;
  error_code: string | null;
  category: string | null;
  message: string;
  retryable: boolean;
  user_action_required: boolean;
  source: string | null;
  retry_after_seconds: number | null;
};

const TEXT_CHARS = 1_000;

export function faultOf({ status, body }: TrackerAnswer): TrackerFault {
  const text = (key: string): string | null => {
    const value = body?.[key];
    return typeof value === 'string' && value !== '' ? value.slice(0, TEXT_CHARS) : null;
  };
  const seconds = body?.retry_after_seconds;
  return {
    status,
    error_code: text('error_code'),
    category: text('category'),
    message: text('message') ?? text('detail') ?? `it answered ${status}`,
    retryable: body?.retryable === true,
    user_action_required: body?.user_action_required === true,
    source: text('source'),
    retry_after_seconds: typeof seconds === 'number' && seconds >= 0 ? seconds : null,
  };
}

/** The error of a fault; `details` has all its fields. */
export function refused(fault: TrackerFault): AppError {
  const action = fault.user_action_required ? ' (this needs an action of yours there)' : '';
  const reason = `${fault.message}${action}`;
  return new AppError('TRACKER_REFUSED', { reason }, { details: { ...fault } });
}

/** True for a TRACKER_REFUSED with this `error_code`. */
export function isRefusal(error: unknown, code: string): boolean {
  return (
    error instanceof AppError &&
    error.code === 'TRACKER_REFUSED' &&
    error.details?.error_code === code
  );
}

/** The session is over, or there never was one. */
export function loginNeeded(reason: string, code: 'unauthenticated' | 'session_expired'): AppError {
  const details = { error_code: code, user_action_required: true };
  return new AppError('TRACKER_LOGIN', { reason }, { details });
}

/** @throws {TRACKER_REFUSED} the answer has not this text */
export function textOf(body: Json, key: string): string {
  const value = body[key];
  if (typeof value === 'string' && value.trim() !== '') return value;
  throw refused(faultOf({ status: 200, body: { message: `its answer has no ${key}` } }));
}
