import { jobMessage, type OrderFile, orderFile } from '#libs/contracts';
import { describe, expect, test } from 'vitest';
import { parseOrder } from './order-file.ts';
import { buildRequest, filesWanted, modelOutputs, textInputs } from './prompt.ts';

const order = (more: object = {}): OrderFile =>
  orderFile.parse({ order_id: 'o1', type: 'draft', objective: 'Summarize', ...more });
const job = (more: object = {}) =>
  jobMessage.parse({ order_id: 'o1', theater_id: 'demo', worktree_path: '/w', ...more });

describe('the request that an order makes', () => {
  test('has sane defaults', () => {
    const request = buildRequest(order(), [], 'm');
    expect(request).toMatchObject({
      model: 'm',
      objective: 'Summarize',
      task: 'draft',
      outputs: [{ path: 'outputs/model_output.txt' }],
      maxTokens: 2_000,
    });
    expect(request.system).toContain('one work order');
    expect(request).not.toHaveProperty('temperature');
  });

  test('takes instructions, task and sections from the order', () => {
    const given = order({
      prompt: { system: 'Be brief', task: 'verify' },
      outputs: [{ path: 'outputs/a.md', section: '# A' }, { path: 'outputs/b.md' }],
    });
    expect(buildRequest(given, [], 'm')).toMatchObject({ system: 'Be brief', task: 'verify' });
    expect(modelOutputs(given)).toEqual([
      { path: 'outputs/a.md', section: '# A' },
      { path: 'outputs/b.md' },
    ]);
  });

  test.each([
    [{ temperature: 0.7, max_tokens: 50 }, 0.7, 50],
    [{ temperature: 3, max_tokens: -1 }, undefined, 2_000],
    [{ temperature: 'hot', max_tokens: '50' }, undefined, 2_000],
  ])('takes settings of the profile where they make sense: %j', (more, temperature, maxTokens) => {
    const request = buildRequest(order({ profile: { name: 'p', model: 'm', ...more } }), [], 'm');
    expect(request.temperature).toBe(temperature);
    expect(request.maxTokens).toBe(maxTokens);
  });

  test('reads the files of its prompt, else its input files, never one outside', () => {
    const inputs = { files: [{ path: 'inputs/a.md' }, 'inputs/b.md', '../x', '/etc/passwd', 7] };
    expect(filesWanted(order({ inputs }))).toEqual(['inputs/a.md', 'inputs/b.md']);
    const prompt = { system: 's', files: ['notes.md'] };
    expect(filesWanted(order({ inputs, prompt }))).toEqual(['notes.md']);
    expect(filesWanted(order({ inputs: { files: 'all' } }))).toEqual([]);
  });

  test('takes texts out of order.json itself', () => {
    const inputs = { text: 'Pears', empty: ' ', files: [], count: 3 };
    expect(textInputs(order({ inputs }))).toEqual([{ path: 'order.json#text', text: 'Pears' }]);
  });
});

describe('order.json', () => {
  const base = { order_id: 'o1', type: 'draft', objective: 'x' };
  const parsed = (value: unknown, more: object = {}) =>
    parseOrder(typeof value === 'string' ? value : JSON.stringify(value), job(more));

  test('is filled up by the job, and wins over it', () => {
    const profile = { name: 'p', model: 'of job' };
    const constraints = { budget_seconds: 5, max_retries: 3 };
    const tool_policy = { network: false, fs_allowlist: ['./*'] };
    expect(parsed(base, { profile, constraints, tool_policy })).toMatchObject({
      profile,
      constraints: { ...constraints, tool_policy },
    });
    const own = { ...base, profile: { name: 'q', model: 'own' }, constraints: { max_retries: 0 } };
    expect(parsed(own, { profile, constraints })).toMatchObject({
      profile: { model: 'own' },
      constraints: { budget_seconds: 5, max_retries: 0 },
    });
  });

  test.each([
    ['{', 'order.json'],
    ['[]', 'order.json'],
    ['null', 'order.json'],
    [{ ...base, order_id: 'o2' }, 'order.json: order_id'],
    [{ ...base, objective: '' }, 'order.json: objective'],
    [{ ...base, constraints: 'none' }, 'order.json: constraints'],
    [{ ...base, profile: { name: 'p' } }, 'order.json: profile.model'],
    [{ ...base, outputs: [{ path: 'elsewhere/x' }] }, 'order.json: outputs[0].path'],
  ])('is refused with its field: %j', (value, field) => {
    expect(() => parsed(value)).toThrow(
      expect.objectContaining({ code: 'INVALID_REQUEST', field }),
    );
  });
});
