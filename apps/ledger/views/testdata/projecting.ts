/**
 * A process that fills the ledger views of a folder from a history, to be killed.
 * Arguments: folder, number of events, seed, pace: a number that differs between its lives, and
 * `rebuild` if it shall build the views anew meanwhile. Says `on` once it follows the stream.
 */
import { pino } from 'pino';
import { openLedgerViews } from '../views.ts';
import { messyHistory, random } from './history.ts';
import { followEvents } from './source.ts';

const [folder = '', count = '0', seed = '0', pace = '0', rebuild] = process.argv.slice(2);
const events = [...messyHistory(Number(count), Number(seed))];
const next = random(Number(pace));
const views = await openLedgerViews({
  folder,
  logger: pino({ level: 'error' }),
  ...followEvents(
    events,
    () => 1 + Math.floor(next() * 60),
    () => Math.floor(next() * 3),
  ),
});
process.stdout.write('on\n');
if (rebuild === 'rebuild') await views.rebuild();
await views.waitFor(events.at(-1)?.seq ?? 0, { timeoutMs: 60_000 });
await views.close();
