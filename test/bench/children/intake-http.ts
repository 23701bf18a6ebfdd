// The intake role as it is served, with its feeds, without rate limits.
import { connectBroker } from '#libs/broker';
import { openEventLog } from '#libs/eventlog';
import { configFromEnv, createTheaterDirectory } from '#libs/runtime';
import { createClient, serveHttp } from '#libs/service';
import { createLogger } from '#libs/telemetry';
import { start } from '../../../apps/intake/role.ts';
import { answerParent } from '../child.ts';

const { env } = process;
const logger = createLogger({ name: 'bench', level: 'silent' });
const config = configFromEnv(env);
const broker = await connectBroker({ url: env.NATS_URL ?? '', name: 'intake', logger });
const log = openEventLog({ broker, garrisonId: config.garrisonId });
const theaters = createTheaterDirectory(broker, config.garrisonId);
const client = createClient(broker, { logger });
const version = 'bench';
const { service } = await start({ broker, log, client, theaters, config, env, logger, version });
const http = await serveHttp({
  services: [service],
  mount: 'root',
  port: 0,
  auth: null,
  logger,
  version,
  rateLimits: false,
});
answerParent({ url: () => http.url, rss: () => process.memoryUsage().rss });
