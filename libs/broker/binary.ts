import { AppError } from '#libs/contracts';
import type { Logger } from 'pino';
import {
  findNatsServer,
  isUsableVersion,
  NEEDED,
  NatsServerError,
} from '../../deploy/bootstrap/nats-server.mjs';

export { isUsableVersion as isSupportedVersion, NEEDED as SUPPORTED_VERSIONS };

/** JetStream API level of the oldest supported server. */
export const MIN_API_LEVEL = 3;

/**
 * The nats-server to start, fetched if the machine has none.
 *
 * @throws {BROKER_MISSING} there is none, or only one that is too old
 */
export async function findServerBinary(
  env: NodeJS.ProcessEnv,
  logger: Logger,
): Promise<{ path: string; version: string }> {
  try {
    return await findNatsServer({ env, log: (line) => logger.info(line), fetch: true });
  } catch (cause) {
    if (!(cause instanceof NatsServerError)) throw cause;
    throw new AppError('BROKER_MISSING', { reason: cause.message }, { cause });
  }
}
