/**
 * A process that fills toy views in a folder, in transactions as small and as close together as can
 * be, to be killed. Arguments: folder, number of events, and `rebuild` if it shall build the views
 * anew meanwhile. Says `on` once it follows the stream.
 */
import { pino } from 'pino';
import { openProjection } from '../projection.ts';
import { scripted } from './scripted.ts';
import { accountsView, logView, type Toy, toys } from './toy.ts';

const [folder = '', count = '0', rebuild] = process.argv.slice(2);
const stream = scripted<Toy>(toys(1, Number(count)), () => 2);
const projection = await openProjection<Toy>({
  folder,
  name: 'toy',
  // Adding up is not idempotent: an event that counts twice, or not at all, shows for ever.
  views: [accountsView(), logView],
  logger: pino({ level: 'error' }),
  ...stream,
});
process.stdout.write('on\n');
if (rebuild === 'rebuild') await projection.rebuild();
await projection.waitFor(Number(count), { timeoutMs: 60_000 });
await projection.close();
