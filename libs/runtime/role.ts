import type { Broker } from '#libs/broker';
import type { EventLog } from '#libs/eventlog';
import type { Service, ServiceClient } from '#libs/service';
import type { Logger } from 'pino';
import type { Config } from './config.ts';
import type { TheaterDirectory } from './theaters.ts';

/** What a role is given when it starts. */
export type RoleContext = {
  broker: Broker;
  log: EventLog;
  /** Calls the endpoints of other roles, in this process or elsewhere. */
  client: ServiceClient;
  theaters: TheaterDirectory;
  config: Config;
  /** The environment, for secrets that must not lie about in a config object. */
  env: Record<string, string | undefined>;
  logger: Logger;
  version: string;
};

export type RunningRole = {
  service: Service;
  /** Stops taking work, waits for what is at work, lets go of files and consumers. */
  close(): Promise<void>;
};

/** The front door of a role: `apps/<role>/role.ts` exports one as `start`. */
export type StartRole = (context: RoleContext) => Promise<RunningRole>;

/** The handler of GET /health. */
export function healthHandler(context: RoleContext, role: string) {
  return async () => {
    const connected = context.broker.isConnected();
    return {
      role,
      status: connected ? ('ok' as const) : ('degraded' as const),
      broker: connected ? ('connected' as const) : ('disconnected' as const),
      version: context.version,
    };
  };
}
