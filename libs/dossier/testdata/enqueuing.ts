/**
 * A process that puts uploads into a queue one after the other, to be killed. Arguments: the queue
 * file, the first and the last number. Says the number of each once it is told to be queued.
 */
import { writeSync } from 'node:fs';
import { openQueue } from '../queue.ts';
import { body } from './bodies.ts';

const [file = '', first = '0', last = '0'] = process.argv.slice(2);
const queue = openQueue(file, { nowMs: () => Date.now() });
for (let n = Number(first); n <= Number(last); n += 1) {
  const told = queue.enqueue(body(`research/${n}.md`));
  writeSync(1, `${told} ${n}\n`);
}
queue.close();
