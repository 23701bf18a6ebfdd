import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { parseEvent } from '#libs/contracts';
import { parseLog, replay } from './replay.ts';
import { STORIES } from './stories.ts';

const read = (file: string): string => readFileSync(new URL(file, import.meta.url), 'utf8');
const names = readdirSync(new URL('.', import.meta.url))
  .filter((file) => file.endsWith('.ndjson'))
  .map((file) => file.slice(0, -'.ndjson'.length));
const defaults = {
  garrisonId: 'none',
  newId: () => {
    throw new Error('a stored event has its id');
  },
  now: () => {
    throw new Error('a stored event has its time');
  },
};

describe('golden logs replay for ever', () => {
  test('every story is recorded', () => {
    expect(names).toEqual(expect.arrayContaining(Object.keys(STORIES)));
  });

  test.each(names)('%s', (name) => {
    // A field that a fold gains is no difference; one that it loses or changes is.
    expect(replay(parseLog(read(`${name}.ndjson`)))).toMatchObject(
      JSON.parse(read(`${name}.expected.json`)),
    );
  });

  test.each(names)('%s: every event still passes its schema, unchanged', (name) => {
    for (const { seq, ...event } of parseLog(read(`${name}.ndjson`))) {
      expect({ seq, ...parseEvent(event, defaults).event }).toEqual({ seq, ...event });
    }
  });
});
