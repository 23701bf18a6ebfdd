import type { Broker } from '#libs/broker';
import { openEventLog } from '#libs/eventlog';
import { configFromEnv, createTheaterDirectory, type RoleContext } from '#libs/runtime';
import { createClient } from '#libs/service';
import type { Logger } from 'pino';

/** What a worker is started with in tests, in this process or in a child. */
export function workerContext(
  broker: Broker,
  env: Record<string, string | undefined>,
  logger: Logger,
): RoleContext {
  const config = configFromEnv(env);
  return {
    broker,
    log: openEventLog({ broker, garrisonId: config.garrisonId }),
    client: createClient(broker, { logger }),
    theaters: createTheaterDirectory(broker, config.garrisonId),
    config,
    env,
    logger,
    version: 'test',
  };
}
