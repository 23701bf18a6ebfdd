// A process of its own in which several actors claim WP01 at once, or add a history entry each.
// Arguments: broker URL, folder for clocks, `claim` or `history`, first number, number of actors.
// Says `ready`, waits for a line, then writes each actor's answer as JSON.
import { once } from 'node:events';
import { connectBroker } from '#libs/broker';
import { appendHistory, startImplementation } from '#libs/missions';
import { pino } from 'pino';
import { BOARD, openLab, POLICY } from './lab.ts';

const [url = '', folder = '', what = 'claim', first = '0', count = '1'] = process.argv.slice(2);
const logger = pino({ level: 'silent' });
const actors = Array.from({ length: Number(count) }, (_, i) => `actor-${Number(first) + i}`);
const brokers = await Promise.all(actors.map((name) => connectBroker({ url, name, logger })));
const logs = brokers.map((broker, i) => openLab(broker, folder, actors[i]));
process.stdout.write('ready\n');
await once(process.stdin, 'data');
const answers = await Promise.all(
  logs.map(async (log, i) => {
    const actor = actors[i] ?? '';
    const result =
      what === 'claim'
        ? await log.decide(BOARD.identity, (state) =>
            startImplementation(BOARD, state, { wpId: 'WP01', actor, policy: POLICY }),
          )
        : await log.decide(BOARD.identity, (state) => {
            const entryId = `hist-${actor.padStart(32, '0')}`;
            return appendHistory(BOARD, state, { wpId: 'WP01', actor, note: actor, entryId });
          });
    return result.ok ? 'won' : result.error.code;
  }),
);
process.stdout.write(`${JSON.stringify(answers)}\n`);
await Promise.all(brokers.map((broker) => broker.close()));
process.exit(0);
