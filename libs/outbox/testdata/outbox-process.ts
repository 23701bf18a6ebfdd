import { connectBroker } from '#libs/broker';
import { targetSettings } from '#libs/contracts';
import { testLogger } from '#libs/testing';
import { openOutbox } from '../outbox.ts';
import { createSend } from '../transports.ts';
import { QUICK } from './lab.ts';

// An outbox in a process of its own, to be killed. It goes when its parent does.
const [url = '', folder = '', receiver = ''] = process.argv.slice(2);
process.stdin.on('end', () => process.exit(0)).resume();
const logger = testLogger('outbox');
const broker = await connectBroker({ url, name: 'outbox', logger });
const now = (): Date => new Date();
const settings = targetSettings.parse({ url: receiver, timeout_ms: 2_000 });
await openOutbox({
  broker,
  folder,
  destinations: [{ name: 'far', send: createSend(broker, settings, () => ({}), now) }],
  policy: QUICK,
  holder: String(process.pid),
  leaseMs: 1_000,
  now,
  random: Math.random,
  logger,
});
process.stdout.write('READY\n');
