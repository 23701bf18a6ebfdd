// Started by lease.int.test.ts, which kills it: one worker, which says on stdout that it is there.
import { connectBroker } from '#libs/broker';
import { pino } from 'pino';
import { start } from '../role.ts';
import { workerContext } from './context.ts';

const logger = pino({ level: 'silent' });
const url = process.env.NATS_URL;
if (url === undefined) throw new Error('NATS_URL is not set');
const broker = await connectBroker({ url, name: 'worker-process', logger });
await start(workerContext(broker, process.env, logger));
process.stdout.write('ready\n');
