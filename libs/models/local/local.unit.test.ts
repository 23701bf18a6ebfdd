import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { ModelFile, ModelRequest, ModelTask } from '../port.ts';
import { findDue, resolveDate } from './dates.ts';
import { localProvider } from './provider.ts';
import { splitSentences } from './text.ts';

const demo = new URL('../../../apps/cli/demo/', import.meta.url);
const callFiles: ModelFile[] = [
  { path: 'inputs/r/call.md', text: readFileSync(new URL('call-transcript.md', demo), 'utf8') },
  { path: 'context/r/account.json', text: readFileSync(new URL('account.json', demo), 'utf8') },
];
const TASKS: ModelTask[] = ['draft', 'research', 'verify', 'call_summary'];

function ask(task: ModelTask, files: ModelFile[], more: Partial<ModelRequest> = {}) {
  return localProvider({ now: () => 0 }).complete({
    model: 'ignored',
    system: '',
    files,
    objective: 'Summarise the call',
    task,
    outputs: [],
    signal: new AbortController().signal,
    ...more,
  });
}

const one = (text: string, path = 'inputs/r/notes.md'): ModelFile[] => [{ path, text }];
const bulletsOf = (text: string) => text.split('\n').filter((line) => line.startsWith('- '));

/** Letters and digits alone: what is left when layout is taken away. */
const bare = (text: string) => text.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, '');

describe('the demo call', () => {
  test.each(TASKS.filter((task) => task !== 'verify'))('%s is as reviewed', async (task) => {
    const { text } = await ask(task, callFiles);
    await expect(text).toMatchFileSnapshot(`./golden/${task}.md`);
  });

  test('owners and days are right', async () => {
    const { text } = await ask('call_summary', callFiles);
    for (const row of [
      '| Marcus Webb | 2026-03-12 (by Thursday, March 12) | Send you the written root cause report',
      '| Tomás Lindqvist | 2026-03-18 (by next Wednesday) | Send me a sample file',
      '| Tomás Lindqvist | for the first week of April | Set up the meeting with the works council',
      '| Dana Reyes |  | Show the price per vehicle and the price per depot separately | Grace',
    ]) {
      expect(text).toContain(row);
    }
    expect(text).not.toMatch(/weekend\?|Bruno|football/);
    expect(new Set(bulletsOf(text)).size).toBe(bulletsOf(text).length);
  });

  test('without account notes the call itself tells whom it was with', async () => {
    const { text } = await ask('call_summary', callFiles.slice(0, 1));
    expect(text).toContain('Call with Meridian Freight on 2026-03-10 between Dana Reyes, Priya');
  });

  test.each([
    ['Summarize the input into 5 bullets', 5],
    ['three key points, please', 3],
    ['Give me 12 short bullet points', 12],
  ])('%s', async (objective, count) => {
    const { text } = await ask('draft', callFiles, { objective });
    expect(bulletsOf(text)).toHaveLength(count);
  });
});

describe('on any text', () => {
  const piece = fc.constantFrom(
    'Ana: ',
    '[00:01] Bo Li: ',
    '- ',
    '# ',
    '> ',
    '| a | b |',
    '```',
    '\n',
    '\n\n',
    'I will send it by Friday. ',
    'Please call me. ',
    'Yes. ',
    'the budget of 5,000 euros ',
    'is a risk',
    '? ',
    '. ',
    '{"a":',
    '(x.md:3)',
    '“',
    '\u0000',
    '会議。',
  );
  const anyText = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.array(piece).map((parts) => parts.join('')),
  );

  test('no task throws, and the same request gives the same answer', async () => {
    await fc.assert(
      fc.asyncProperty(anyText, anyText, fc.constantFrom(...TASKS), async (a, b, task) => {
        const files = [...one(a), { path: 'context/r/account.json', text: b }];
        const first = await ask(task, files);
        expect(first.text.trim()).not.toBe('');
        expect((await ask(task, files)).text).toBe(first.text);
      }),
      { numRuns: 150 },
    );
  });

  test('every point of a draft is a piece of the source', async () => {
    await fc.assert(
      fc.asyncProperty(anyText, async (text) => {
        const answer = await ask('draft', one(text), { objective: 'x' });
        const source = bare(text);
        for (const bullet of bulletsOf(answer.text)) {
          const said = bullet.replace(/^- (?:[^“]{1,60}: “)?/, '').replace(/\([^()\s]+:\d+\)$/, '');
          expect(source).toContain(bare(said));
        }
      }),
      { numRuns: 150 },
    );
  });
});

// Anything worse than linear would not end within the time that a hung test is given.
describe('2 MB of anything get an answer', () => {
  const call = callFiles[0]?.text ?? '';
  test.each([
    ['a long call', call],
    ['no sentence ends', 'word '],
    ['promises', 'I will '],
    ['names', 'Ab Cd '],
    ['labels', 'Ab: cd\n'],
    ['stops', '.'],
    ['blanks', ' '],
    ['marks', '> - | * # '],
    ['brackets', '(['],
    ['dashes', '-'],
    ['digits', '1'],
  ])(
    '%s',
    async (_name, unit) => {
      const text = `${unit.repeat(Math.ceil(2_000_000 / unit.length))}x`;
      expect((await ask('call_summary', one(text))).text).toContain('# Action Items');
      const draft = { path: 'outputs/r/draft.md', text };
      expect((await ask('verify', [...one(text), draft])).text).toContain('# Verification');
    },
    120_000,
  );
});

test('verify keeps what the sources support and names what they do not', async () => {
  const source = 'The launch moved to May 4. The budget is 20,000 euros. Ana leads the team.';
  const draft =
    '# Plan\n\n- The launch moved to May 4.\n- The budget is 90,000 euros.\n' +
    '- Bob sold the company to Mars.\n';
  const { text } = await ask('verify', [
    ...one(source),
    { path: 'outputs/r/draft.md', text: draft },
  ]);
  const [final = '', verification = ''] = text.split('# Verification');
  expect(final).toContain('launch moved to May 4');
  expect(final).not.toContain('90,000');
  expect(final).not.toContain('Mars');
  expect(verification).toContain('1 of 3 statements of outputs/r/draft.md');
  expect(verification).toContain('unknown numbers 90,000');
});

test('review approves what the work package supports, and only where something is stated', async () => {
  const asked = 'Say that the launch moved to May 4. The budget is 20,000 euros.';
  const files = (text: string): ModelFile[] => [
    { path: 'inputs/r/message.md', text: 'Review what Bob says of Mars.' },
    { path: 'inputs/r/work-package.md', text: asked },
    { path: 'inputs/r/result/outputs/s/out.txt', text },
  ];
  const verdictOn = async (text: string) => (await ask('review', files(text))).text.split('\n')[0];
  expect(await verdictOn('# News\n\n- The launch moved to May 4.\n')).toBe('VERDICT: approved');
  for (const bad of ['', '# News\n', '- The budget is 90,000 euros.', '- Bob says Mars.']) {
    expect(await verdictOn(bad)).toBe('VERDICT: changes_requested');
  }
  const { text } = await ask('review', files('The launch moved to May 4.\nBob bought Mars.'));
  expect(text).toContain('1 of 2 statements of inputs/r/result/outputs/s/out.txt');
  expect(text).toMatch(/not supported:\n\n- Bob bought Mars/);
});

test('plain notes give action items without a transcript', async () => {
  const notes =
    '# Weekly\n\n- Action: Maria to send the contract by Friday\n- Next step: book the room\n' +
    '- The server will be slow.\n';
  const { text } = await ask('call_summary', one(notes));
  expect(text).toContain('| Maria | by Friday | Send the contract by Friday |');
  expect(text).toContain('| not named |  | Book the room |');
  expect(text).not.toContain('| The server');
});

test('a message that is only the request is answered plainly', async () => {
  const { text } = await ask('draft', one('Build me a summary', 'inputs/r/message.md'), {
    objective: 'Build me a summary',
  });
  expect(text).toContain('no text to work on besides the request itself');
});

test('a section that no task writes is filled from the text', async () => {
  const outputs = [{ path: 'outputs/r/x.md', section: '# Renewal' }];
  const { text } = await ask('draft', callFiles, { outputs });
  expect(text).toMatch(/\n# Renewal\n\n- .*renewal/i);
});

test('the answer says what made it, and an ended signal stops it', async () => {
  const answer = await ask('draft', callFiles);
  expect(answer).toMatchObject({ provider: 'local', model: 'local-extractive-1', costMicroUsd: 0 });
  await expect(ask('draft', callFiles, { signal: AbortSignal.abort() })).rejects.toThrow('aborted');
});

describe('dates', () => {
  // 2026-03-10 is a Tuesday.
  test.each([
    ['send it by Thursday, March 12', 'by Thursday, March 12', '2026-03-12'],
    ['send it by Friday', 'by Friday', '2026-03-13'],
    ['send it on Tuesday', 'on Tuesday', '2026-03-17'],
    ['by next Wednesday', 'by next Wednesday', '2026-03-18'],
    ['the replay of March 3 on Friday', 'on Friday', '2026-03-13'],
    ['by the 9th', 'by the 9th', '2026-04-09'],
    ['by the end of the month', 'by the end of the month', '2026-03-31'],
    ['by end of June', 'by end of June', '2026-06-30'],
    ['by 2026-05-01', 'by 2026-05-01', '2026-05-01'],
    ['by January 5', 'by January 5', '2027-01-05'],
    ['within 48 hours', 'within 48 hours', '2026-03-12'],
    ['in two weeks', 'in two weeks', '2026-03-24'],
    ['tomorrow', 'tomorrow', '2026-03-11'],
    ['by February 30', 'by February 30', undefined],
  ])('%s', (text, words, date) => {
    expect(findDue(text, '2026-03-10')).toEqual({ text: words, ...(date && { date }) });
  });

  test.each(['since March 3', 'the invitation', 'we may go'])('%s is no due date', (text) => {
    expect(findDue(text, '2026-03-10')).toBeUndefined();
  });

  test('a named weekday is 1 to 7 days ahead, and on that weekday', () => {
    const names = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday'];
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 40_000 }), fc.nat(6), (day, weekday) => {
        const today = new Date(day * 86_400_000).toISOString().slice(0, 10);
        const found = Date.parse(resolveDate(`by ${names[weekday]}`, today) ?? '');
        const ahead = (found - Date.parse(today)) / 86_400_000;
        expect(ahead).toBeGreaterThanOrEqual(1);
        expect(ahead).toBeLessThanOrEqual(7);
        expect(new Date(found).getUTCDay()).toBe(weekday);
      }),
    );
  });
});

test('sentences end at stops, not at abbreviations or numbers', () => {
  expect(splitSentences('Dr. Lee paid 3.5 million, e.g. in May. Why? "Ok." He left.')).toEqual([
    'Dr. Lee paid 3.5 million, e.g. in May.',
    'Why?',
    '"Ok."',
    'He left.',
  ]);
});
