import { setTimeout as sleep } from 'node:timers/promises';
import { AppError, isAppError } from '#libs/contracts';
import { JetStreamApiError } from '@nats-io/jetstream';
import { errors } from 'nats';
import type { Broker } from './connect.ts';

const UNREACHABLE = [
  errors.TimeoutError,
  errors.NoRespondersError,
  errors.RequestError,
  errors.ConnectionError,
  errors.ClosedConnectionError,
  errors.DrainingConnectionError,
] as const;

/** The server holds as many consumers as it may; it says so with a 400, though it will pass. */
const CONSUMERS_MAX = 10_026;

/**
 * True if `error` says that the broker could not be reached or could not do it now. For a write
 * the outcome is then unknown: it may have been stored.
 */
export function isBrokerUnavailable(error: unknown): boolean {
  if (isAppError(error, 'DEPENDENCY_UNAVAILABLE')) return true;
  if (error instanceof JetStreamApiError)
    return error.status >= 500 || error.code === CONSUMERS_MAX;
  // Thrown when nobody answers for a stream; the client does not export its class.
  if (error instanceof Error && error.name === 'JetStreamNotEnabled') return true;
  return UNREACHABLE.some((kind) => error instanceof kind);
}

/** A DEPENDENCY_UNAVAILABLE about the broker. */
export function brokerUnavailable(reason: string, cause?: unknown): AppError {
  return new AppError('DEPENDENCY_UNAVAILABLE', { dependency: 'The broker', reason }, { cause });
}

/**
 * Runs `call`, at once refusing it while the connection is lost (a request would be held back and
 * time out).
 *
 * @throws {DEPENDENCY_UNAVAILABLE} not connected, no answer, or JetStream cannot do it now
 */
export async function callBroker<T>(
  broker: Pick<Broker, 'isConnected'>,
  call: () => Promise<T>,
): Promise<T> {
  if (!broker.isConnected()) throw brokerUnavailable('there is no connection');
  try {
    return await call();
  } catch (error) {
    if (isAppError(error) || !isBrokerUnavailable(error)) throw error;
    throw brokerUnavailable((error as Error).message, error);
  }
}

const PATIENCE_MS = 60_000;
const RETRY_MS = 250;

/**
 * As `callBroker`, asking again for up to a minute: a role that starts while the broker stalls waits
 * for it, and does not give up at once. `call` must be harmless to repeat.
 */
export async function callPatiently<T>(
  broker: Pick<Broker, 'isConnected'>,
  call: () => Promise<T>,
): Promise<T> {
  const deadline = performance.now() + PATIENCE_MS;
  for (;;) {
    try {
      return await callBroker(broker, call);
    } catch (error) {
      if (!isAppError(error, 'DEPENDENCY_UNAVAILABLE') || performance.now() > deadline) throw error;
      await sleep(RETRY_MS);
    }
  }
}
