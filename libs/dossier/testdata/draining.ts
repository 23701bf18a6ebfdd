/**
 * A process that drains a queue, to be killed. Arguments: the queue file and the server. Says
 * `busy` if another drains it, else what became of the rows.
 */
import { drainQueue, lockDrain } from '../drain.ts';
import { pushBody } from '../push.ts';
import { openQueue } from '../queue.ts';

const [file = '', server = ''] = process.argv.slice(2);
const lock = lockDrain(file);
if (lock === undefined) {
  process.stdout.write('busy\n');
} else {
  const nowMs = (): number => Date.now();
  const queue = openQueue(file, { nowMs });
  const drained = await drainQueue({
    queue,
    nowMs,
    gate: () => undefined,
    push: (upload) => pushBody(upload, { server, token: 'secret-of-the-test' }),
  });
  process.stdout.write(`${JSON.stringify(drained)}\n`);
  queue.close();
  lock.release();
}
