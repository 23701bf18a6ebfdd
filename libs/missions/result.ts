import { type OrchestratorCode, type OrchestratorRefusal, refusal } from '#libs/contracts';

/** What a rule answers: a value, or a no with the contract's code. */
export type Result<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly error: OrchestratorRefusal };

export function accept<T>(value: T): Result<T> {
  return { ok: true, value };
}

export function refuse(
  code: OrchestratorCode,
  data: Readonly<Record<string, unknown>> = {},
): Result<never> {
  return { ok: false, error: refusal(code, data) };
}

/** A TRANSITION_REJECTED with its reason. */
export function rejected(reason: string, data: Record<string, unknown> = {}): Result<never> {
  return refuse('TRANSITION_REJECTED', { reason, ...data });
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** True for a string that holds more than white space. */
export function isFilled(value: unknown): value is string {
  return typeof value === 'string' && value.trim() !== '';
}
