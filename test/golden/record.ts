/**
 * Records the golden logs that are not there yet: `node test/golden/record.ts`. A log that is there
 * is never written again. To have a field that a fold has gained in what is expected, delete the
 * story's `.expected.json` alone and record: the difference is seen in review.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { parseLog, replay } from './replay.ts';
import { STORIES, tell } from './stories.ts';

for (const [name, lines] of Object.entries(STORIES)) {
  const log = new URL(`${name}.ndjson`, import.meta.url);
  const expected = new URL(`${name}.expected.json`, import.meta.url);
  if (!existsSync(log)) {
    const text = tell(lines).map((event) => `${JSON.stringify(event)}\n`);
    writeFileSync(log, text.join(''));
  }
  if (existsSync(expected)) continue;
  const state = replay(parseLog(readFileSync(log, 'utf8')));
  writeFileSync(expected, `${JSON.stringify(state, null, 2)}\n`);
  process.stdout.write(`recorded ${name}\n`);
}
