import { brokerAuthFromEnv, callPatiently, checkStreams, connectBroker } from '#libs/broker';
import type { Role } from '#libs/contracts';
import { openEventLog } from '#libs/eventlog';
import {
  type Config,
  createTheaterDirectory,
  type RoleContext,
  type RunningRole,
} from '#libs/runtime';
import {
  authFromEnv,
  createClient,
  type HttpServer,
  serveHttp,
  serveNats,
  type ServiceClient,
} from '#libs/service';
import { STREAMS } from '#streams';
import type { Logger } from 'pino';
import { ROLE_DOORS, START_ORDER } from './roles.ts';

export type HostOptions = {
  roles: readonly Role[];
  natsUrl: string;
  config: Config;
  env: Record<string, string | undefined>;
  logger: Logger;
  version: string;
  /** False: no HTTP; the roles are reached over NATS alone. */
  http: boolean;
};

export type Host = {
  /** Undefined without HTTP. */
  http: HttpServer | undefined;
  client: ServiceClient;
  close(): Promise<void>;
};

/** Runs roles in this process until it is closed. */
export async function startHost(options: HostOptions): Promise<Host> {
  const { config, env, logger, version } = options;
  const undo: (() => Promise<void> | void)[] = [];
  const close = async (): Promise<void> => {
    for (const step of undo.splice(0).reverse()) await step();
  };
  try {
    const roles = START_ORDER.filter((role) => options.roles.includes(role));
    const name = `ironclaw-${roles.join('-')}`;
    const auth = brokerAuthFromEnv(env);
    const broker = await connectBroker({ url: options.natsUrl, name, logger, auth });
    undo.push(() => broker.close());
    await callPatiently(broker, () => checkStreams(broker.jsm, STREAMS));
    const log = openEventLog({ broker, garrisonId: config.garrisonId });
    undo.push(() => log.close());

    // Roles call one another through the client, which knows the local ones only when all are up.
    let inner = createClient(broker, { logger });
    const client: ServiceClient = {
      call: (endpoint, input, given) => inner.call(endpoint, input, given),
      send: (endpoint, input, given) => inner.send(endpoint, input, given),
      pass: (endpoint, request, ctx) => inner.pass(endpoint, request, ctx),
    };
    const theaters = createTheaterDirectory(broker, config.garrisonId);
    const running: RunningRole[] = [];
    for (const role of roles) {
      const { start } = await ROLE_DOORS[role]();
      const roleLogger = logger.child({ role });
      const context: RoleContext = {
        broker,
        log,
        client,
        theaters,
        config,
        env,
        logger: roleLogger,
        version,
      };
      const started = await start(context);
      running.push(started);
      undo.push(() => started.close());
      inner = createClient(broker, { logger, local: running.map(({ service }) => service) });
    }
    const services = running.map(({ service }) => service);
    const nats = serveNats(broker, services, { logger });
    undo.push(() => nats.close());
    await nats.ready;
    let http: HttpServer | undefined;
    if (options.http) {
      http = await serveHttp({
        services,
        mount: roles.includes('gateway') ? 'gateway' : 'root',
        host: config.host,
        port: config.port,
        auth: await authFromEnv(env),
        logger,
        version,
        router: client,
        allowedHosts: config.allowedHosts,
        allowedOrigins: config.allowedOrigins,
      });
      const server = http;
      undo.push(() => server.close());
    }
    return { http, client, close };
  } catch (error) {
    await close();
    throw error;
  }
}
