// Started by server.int.test.ts, which kills it: a broker, one more message, and then it waits.
import { pino } from 'pino';
import { connectBroker } from '../connect.ts';
import { startBroker } from '../server.ts';

const logger = pino({ level: 'silent' });
const dataDir = process.argv[2];
if (dataDir === undefined) throw new Error('usage: parent.ts DATA_DIR');
const server = await startBroker({ dataDir, logger });
const { js, jsm } = await connectBroker({ url: server.url, name: 'parent', logger });
await jsm.streams.add({ name: 'S', subjects: ['s.>'] });
await js.publish('s.1', 'one');
const { state } = await jsm.streams.info('S');
process.stdout.write(`${JSON.stringify({ serverPid: server.pid, messages: state.messages })}\n`);
setInterval(() => undefined, 60_000);
