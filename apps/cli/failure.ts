import { AppError, ERRORS, errorBody, isAppError } from '#libs/contracts';
import { COMMAND_FIXES } from './fixes.ts';

/** What a command's exit code tells. */
export const EXIT = { ok: 0, failed: 1, usage: 2, unreachable: 3 } as const;
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** An error that a command ends with: what went wrong, what to do, and the exit code. */
export class Failure extends Error {
  readonly error: AppError;
  readonly exitCode: ExitCode;
  readonly fix: string;

  constructor(error: AppError, exitCode: ExitCode, fix?: string) {
    super(error.message, { cause: error });
    this.error = error;
    this.exitCode = exitCode;
    this.fix = fix ?? COMMAND_FIXES[error.code] ?? ERRORS[error.code].fix;
  }
}

/** The system, or its broker, does not answer. */
export function unreachable(what: string, reason: string, cause?: unknown): Failure {
  const error = new AppError('DEPENDENCY_UNAVAILABLE', { dependency: what, reason }, { cause });
  return new Failure(
    error,
    EXIT.unreachable,
    'Start it with: ironclaw up (or name it: --url URL).',
  );
}

/** The command line says something that cannot be meant. */
export function usage(reason: string, fix: string): Failure {
  return new Failure(new AppError('INVALID_REQUEST', { reason }), EXIT.usage, fix);
}

/** Any error as the failure it is for the user; undefined for a defect of ours. */
export function toFailure(error: unknown): Failure | undefined {
  if (error instanceof Failure) return error;
  if (!isAppError(error)) return undefined;
  const isUsage = error.code === 'INVALID_REQUEST' || error.code === 'INVALID_JSON';
  return new Failure(error, isUsage ? EXIT.usage : EXIT.failed);
}

/** The failure as text for people, or as the envelope for programs. */
export function describeFailure(failure: Failure, json: boolean): string {
  const { error, fix } = failure;
  if (json) {
    const body = errorBody(error);
    return JSON.stringify(body.ok ? body : { ...body, error: { ...body.error, fix } });
  }
  return `error: ${error.message}\n${fix}`;
}
