// A process of its own that appends one event from several connections at once when it is told to.
// Arguments: broker URL, number of connections, the event as JSON. Says `ready`, waits for a line,
// then writes the outcomes as JSON.
import { once } from 'node:events';
import { connectBroker } from '#libs/broker';
import { isAppError } from '#libs/contracts';
import { pino } from 'pino';
import { openEventLog } from '../eventlog.ts';

const [url = '', connections = '1', json = ''] = process.argv.slice(2);
const event = JSON.parse(json);
const logger = pino({ level: 'silent' });
const brokers = await Promise.all(
  Array.from({ length: Number(connections) }, () =>
    connectBroker({ url, name: 'appender', logger }),
  ),
);
const logs = brokers.map((broker) => openEventLog({ broker, garrisonId: 'g' }));
process.stdout.write('ready\n');
await once(process.stdin, 'data');
const outcomes = await Promise.all(
  logs.map((log) =>
    log.append(event).catch((error: unknown) => {
      if (isAppError(error)) return { code: error.code };
      throw error;
    }),
  ),
);
process.stdout.write(`${JSON.stringify(outcomes)}\n`);
await Promise.all(brokers.map((broker) => broker.close()));
process.exit(0);
