// POST /events of the ledger role as it is served, without rate limits. VIEWS=off leaves out the
// views (and with them the memory of ids older than the broker's), to see the endpoint alone.
import { connectBroker } from '#libs/broker';
import { API } from '#libs/contracts';
import { openEventLog } from '#libs/eventlog';
import { configFromEnv, createTheaterDirectory } from '#libs/runtime';
import { createClient, defineService, reply, serveHttp, type Service } from '#libs/service';
import { createLogger } from '#libs/telemetry';
import { recordOne } from '../../../apps/ledger/record.ts';
import { start } from '../../../apps/ledger/role.ts';
import { answerParent } from '../child.ts';

const { env } = process;
const logger = createLogger({ name: 'bench', level: 'silent' });
const config = configFromEnv(env);
const broker = await connectBroker({ url: env.NATS_URL ?? '', name: 'ledger', logger });
const log = openEventLog({ broker, garrisonId: config.garrisonId });

async function wholeRole(): Promise<Service> {
  const theaters = createTheaterDirectory(broker, config.garrisonId);
  const client = createClient(broker, { logger });
  const context = { broker, log, client, theaters, config, env, logger, version: 'bench' };
  return (await start(context)).service;
}

function endpointAlone(): Service {
  const append = async (input: unknown) => {
    const done = await recordOne(log, input);
    return reply(done, { status: done.duplicate ? 200 : 201 });
  };
  return defineService({ append: API.ledger.append }, { append });
}

const service = env.VIEWS === 'off' ? endpointAlone() : await wholeRole();
const http = await serveHttp({
  services: [service],
  mount: 'root',
  port: 0,
  auth: null,
  logger,
  version: 'bench',
  rateLimits: false,
});
answerParent({
  url: () => http.url,
  cpu: () => process.cpuUsage(),
});
