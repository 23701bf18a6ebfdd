import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { isAppError, isRelativePath, LIMITS } from '#libs/contracts';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  BUILT_IN_PLAYBOOKS,
  choosePlaybook,
  fillPlaybook,
  inputPath,
  loadPlaybooks,
  playbookOf,
} from './playbooks.ts';

const books = await loadPlaybooks();
const values = { run_id: 'run_1', objective: 'Summarise', message: 'Hello {{objective}}' };

function book(name: string) {
  return choosePlaybook(name, books);
}

describe('the built-in playbooks', () => {
  test('are these', () => {
    expect([...books.keys()]).toEqual([
      'default@1',
      'fan-out-summary@1',
      'filesystem_agent.call_summary@1',
      'mission-review@1',
      'planned@1',
      'research-draft-verify@1',
    ]);
  });

  test('default gives the message and every input to one order', () => {
    const filled = fillPlaybook(book('default'), values, ['notes.md']);
    expect(filled.files).toEqual([
      { path: 'inputs/run_1/message.md', text: 'Hello {{objective}}\n' },
    ]);
    expect(filled.steps).toHaveLength(1);
    expect(filled.steps[0]).toMatchObject({
      type: 'draft',
      objective: 'Summarise',
      prompt: { files: ['inputs/run_1/message.md', 'inputs/run_1/notes.md'] },
      outputs: [{ path: 'outputs/run_1/model_output.txt', type: 'text/plain' }],
      constraints: { budget_seconds: 60, max_retries: 1 },
    });
    expect(filled.reply).toEqual([{ step: 'draft', path: 'outputs/run_1/model_output.txt' }]);
  });

  test('mission-review gives the work package and its result to one order', () => {
    const names = ['work-package.md', 'result/outputs/run_0/text.md'];
    const { steps, reply } = fillPlaybook(book('mission-review'), values, names);
    expect(steps.map(({ prompt }) => prompt?.files)).toEqual([
      ['inputs/run_1/message.md', ...names.map((name) => `inputs/run_1/${name}`)],
    ]);
    expect(reply).toEqual([{ step: 'review', path: 'outputs/run_1/review.md' }]);
  });

  test('research, draft and verify follow each other through their outputs', () => {
    const { steps } = fillPlaybook(book('research-draft-verify'), values);
    expect(steps.map(({ key, depends_on }) => [key, depends_on])).toEqual([
      ['research', []],
      ['draft', ['research']],
      ['verify', ['draft']],
    ]);
    expect(steps[1]?.prompt.files).toContain(steps[0]?.outputs[0]?.path);
    expect(steps[2]?.prompt.files).toContain(steps[1]?.outputs[0]?.path);
  });

  test('call_summary takes the transcript from the message, or from call.md if given', () => {
    const summary = book('filesystem_agent.call_summary');
    const paths = (inputs: string[]) =>
      fillPlaybook(summary, values, inputs).files.map((f) => f.path);
    expect(paths([])).toEqual([
      'inputs/run_1/call.md',
      'inputs/run_1/mission.json',
      'context/run_1/account.json',
      'context/run_1/playbook.md',
    ]);
    expect(paths(['call.md', 'context/account.json'])).toEqual([
      'inputs/run_1/mission.json',
      'context/run_1/playbook.md',
    ]);
    const [step] = fillPlaybook(summary, values).steps;
    expect(step?.outputs.map(({ path: out, section }) => [out, section])).toEqual([
      ['outputs/run_1/model_output.txt', undefined],
      ['outputs/run_1/summary.md', '# Summary'],
      ['outputs/run_1/action_items.md', '# Action Items'],
    ]);
  });

  test('two runs share no path that is written', () => {
    for (const one of books.values()) {
      const written = ['run_1', 'run_2'].map((run_id) => {
        const { files, steps } = fillPlaybook(one, { ...values, run_id });
        return [...files, ...steps.flatMap(({ outputs }) => outputs)].map((file) => file.path);
      });
      expect(written[0]?.filter((file) => written[1]?.includes(file))).toEqual([]);
    }
  });
});

describe('filling in', () => {
  const summary = book('filesystem_agent.call_summary');

  test('a variable has its default, and may be set', () => {
    expect(fillPlaybook(summary, values).steps[0]?.prompt.system).toContain(
      'for the account team.',
    );
    const filled = fillPlaybook(summary, { ...values, audience: 'the board' });
    expect(filled.steps[0]?.prompt.system).toContain('for the board.');
  });

  test.each([
    [{ ...values, colour: 'red' }, 'variables.colour'],
    [{ ...values, run_id: '../x' }, 'run_id'],
    [{ run_id: 'run_1', message: 'm' } as typeof values, 'variables.objective'],
    [{ ...values, message: 'x'.repeat(LIMITS.messageChars + 1) }, 'variables.message'],
    [{ ...values, objective: '' }, 'playbook.steps[0].objective'],
  ])('refuses %#', (bad, field) => {
    expect(() => fillPlaybook(summary, bad)).toThrow(
      expect.objectContaining({ code: 'INVALID_REQUEST', field }),
    );
  });

  test('a message of full length and an objective past its limit both fit', () => {
    const message = 'x'.repeat(LIMITS.messageChars);
    const objective = 'y'.repeat(LIMITS.objectiveChars);
    const filled = fillPlaybook(book('research-draft-verify'), { ...values, message, objective });
    expect(filled.files[0]?.text).toBe(`${message}\n`);
    expect(filled.steps[0]?.objective).toHaveLength(LIMITS.objectiveChars);
  });

  test('text from users is inserted as it is, in no path, and valid in JSON', () => {
    const hostile = fc.oneof(
      fc.string({ minLength: 1, unit: 'binary' }),
      fc.constantFrom('{{run_id}}', '{{objective}}', '"}{{message}}', '$&$1', '../../etc'),
    );
    fc.assert(
      fc.property(hostile, hostile, (objective, message) => {
        const filled = fillPlaybook(summary, { ...values, objective, message });
        const mission = filled.files.find((file) => file.path.endsWith('mission.json'));
        expect(JSON.parse(mission?.text ?? '')).toMatchObject({ objective });
        expect(filled.files[0]?.text).toBe(`${message}\n`);
        expect(filled.steps[0]?.objective).toBe(objective);
        for (const file of filled.files) expect(isRelativePath(file.path)).toBe(true);
        expect(filled.files.map((file) => file.path.split('/')[1])).toEqual(
          filled.files.map(() => 'run_1'),
        );
      }),
    );
  });

  test.each([
    ['notes.md', 'inputs/r/notes.md'],
    ['inputs/notes.md', 'inputs/r/notes.md'],
    ['context/account.json', 'context/r/account.json'],
    ['a/b.md', 'inputs/r/a/b.md'],
  ])('input %s stands at %s', (name, place) => {
    expect(inputPath('r', name)).toBe(place);
  });
});

test('an unknown playbook is refused, none means default', () => {
  expect(playbookOf({ playbook: null, playbook_version: null }, books).name).toBe('default');
  expect(() => book('default@2')).toThrow(expect.objectContaining({ code: 'UNKNOWN_PLAYBOOK' }));
  expect(() => book('nope')).toThrow(
    expect.objectContaining({ code: 'UNKNOWN_PLAYBOOK', field: 'playbook' }),
  );
});

describe('loading', () => {
  const good = {
    name: 'mine',
    version: 1,
    description: '',
    steps: [
      {
        key: 'a',
        type: 'draft',
        objective: '{{objective}}',
        prompt: { system: 's' },
        outputs: [{ path: 'outputs/{{run_id}}/a.md' }],
      },
    ],
    reply: [{ step: 'a', path: 'outputs/{{run_id}}/a.md' }],
  };
  const [step] = good.steps;

  async function load(files: Record<string, string>) {
    const dir = await mkdtemp(path.join(tmpdir(), 'ironclaw-playbooks-'));
    try {
      for (const [name, text] of Object.entries(files)) await writeFile(path.join(dir, name), text);
      return await loadPlaybooks([BUILT_IN_PLAYBOOKS, dir]);
    } finally {
      await rm(dir, { recursive: true });
    }
  }

  test('adds the playbooks of further folders and skips other files', async () => {
    const loaded = await load({ 'mine.json': JSON.stringify(good), 'readme.md': 'x' });
    expect([...loaded.keys()]).toContain('mine@1');
  });

  test('several versions of one name: the newest is meant, a run keeps its own', async () => {
    const loaded = await load({
      'a.json': JSON.stringify({ ...good, version: 10 }),
      'b.json': JSON.stringify({ ...good, version: 9 }),
    });
    expect(choosePlaybook('mine', loaded).version).toBe(10);
    expect(choosePlaybook('mine@9', loaded).version).toBe(9);
    expect(playbookOf({ playbook: 'mine', playbook_version: 9 }, loaded).version).toBe(9);
    const gone = { playbook: 'mine', playbook_version: 8 };
    expect(() => playbookOf(gone, loaded)).toThrow(
      expect.objectContaining({ code: 'UNKNOWN_PLAYBOOK' }),
    );
  });

  test('what mends a step is filled in too', async () => {
    const remedy = { ...step, key: 'ask', objective: 'Find out: {{objective}}' };
    const mine = { ...good, steps: [{ ...step, on_blocked: [remedy] }] };
    const loaded = await load({ 'mine.json': JSON.stringify(mine) });
    const [filled] = fillPlaybook(choosePlaybook('mine', loaded), values).steps;
    expect(filled?.on_blocked[0]?.objective).toBe('Find out: Summarise');
    expect(filled?.on_blocked[0]?.outputs[0]?.path).toBe('outputs/run_1/a.md');
  });

  test.each([
    ['not JSON', '{', 'mine.json'],
    ['a missing field', JSON.stringify({ ...good, steps: undefined }), 'mine.json: steps'],
    ['an unknown field', JSON.stringify({ ...good, stepz: 1 }), 'mine.json: stepz'],
    [
      'an undeclared variable',
      JSON.stringify({ ...good, steps: [{ ...step, objective: '{{objectiv}}' }] }),
      'mine.json: steps[0].objective',
    ],
    [
      'user text in a path',
      JSON.stringify({ ...good, steps: [{ ...step, outputs: [{ path: 'outputs/{{message}}' }] }] }),
      'mine.json: steps[0].outputs[0].path',
    ],
    [
      'a step that waits for a later one',
      JSON.stringify({
        ...good,
        steps: [
          { ...step, depends_on: ['b'] },
          { ...step, key: 'b' },
        ],
      }),
      'mine.json: steps[0].depends_on',
    ],
    [
      'a key used twice, once by what mends',
      JSON.stringify({ ...good, steps: [{ ...step, on_blocked: [step] }] }),
      'mine.json: steps[0].on_blocked[0].key',
    ],
    [
      'an undeclared variable in what mends',
      JSON.stringify({
        ...good,
        steps: [{ ...step, on_blocked: [{ ...step, key: 'b', objective: '{{x}}' }] }],
      }),
      'mine.json: steps[0].on_blocked[0].objective',
    ],
    ['a name that is taken', JSON.stringify({ ...good, name: 'default' }), 'mine.json: name'],
  ])('names file and field for %s', async (_name, text, field) => {
    const error: unknown = await load({ 'mine.json': text }).catch((cause: unknown) => cause);
    expect(isAppError(error, 'INVALID_REQUEST') && error.field?.endsWith(field)).toBe(true);
  });
});
