import { isAppError } from '#libs/contracts';
import { redactText } from '#libs/telemetry';

/** What a unit is doing; told in signals and in failures. */
export type Stage =
  | 'starting'
  | 'initializing'
  | 'calling_model'
  | 'using_tools'
  | 'writing_artifacts'
  | 'committing';

/** Why an order failed, as ORDER_FAILED and the report tell it. */
export type Failure = {
  code: string;
  message: string;
  stage: string;
  /** True: another attempt could succeed. */
  retryable: boolean;
  /** When the provider takes work again, where it said so. */
  resetAt?: string;
};

/** Code of the failure of a unit that gave up and said why. */
export const BLOCKED = 'ORDER_BLOCKED';

const MESSAGE_CHARS = 1_000;

/** Makes a failure of what was thrown at `stage`. */
export function failureOf(error: unknown, stage: Stage, now: Date): Failure {
  if (!isAppError(error)) {
    const text = error instanceof Error ? error.message : String(error);
    return { code: 'INTERNAL', message: shown(text), stage, retryable: true };
  }
  const { code, details = {}, retryAfterMs } = error;
  const { stage: at, retryable } = details;
  const failure = {
    code,
    message: shown(error.message),
    stage: typeof at === 'string' ? at : stage,
    retryable: typeof retryable === 'boolean' ? retryable : error.retry !== 'never',
  };
  if (code !== 'MODEL_QUOTA' || retryAfterMs === undefined) return failure;
  const resetAt = new Date(now.getTime() + retryAfterMs).toISOString();
  return { ...failure, message: `${failure.message}; it takes work again at ${resetAt}`, resetAt };
}

function shown(text: string): string {
  return redactText(text).slice(0, MESSAGE_CHARS);
}
