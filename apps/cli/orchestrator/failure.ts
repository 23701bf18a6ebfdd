import { type AppError, isAppError, type OrchestratorRefusal, refusal } from '#libs/contracts';

/** Errors that say that the log cannot be reached now; the same call may work later. */
const AWAY: ReadonlySet<string> = new Set([
  'DEPENDENCY_UNAVAILABLE',
  'BROKER_MISSING',
  'BROKER_TOO_OLD',
  'STREAM_DRIFT',
  'TIMEOUT',
  'VIEW_BEHIND',
  'ALREADY_RUNNING',
  'CONTRACT_SHAPE_UNUSABLE',
]);

/** Any error as a refusal of the contract. */
export function toRefusal(error: unknown): OrchestratorRefusal {
  if (!isAppError(error)) {
    const reason = error instanceof Error ? error.message : String(error);
    return refusal('INTERNAL_ERROR', { reason });
  }
  const data = { reason: error.message, cause_code: error.code, ...fieldOf(error) };
  if (AWAY.has(error.code)) return refusal('HOST_UNAVAILABLE', data);
  if (['PAYLOAD_TOO_LARGE', 'INVALID_REQUEST'].includes(error.code))
    return refusal('USAGE_ERROR', data);
  return refusal('INTERNAL_ERROR', data);
}

function fieldOf({ field }: AppError): { field?: string } {
  return field === undefined ? {} : { field };
}
