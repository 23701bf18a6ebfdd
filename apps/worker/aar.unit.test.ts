import { AppError } from '#libs/contracts';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { aarOf, type Report, reportFrom, summaryOf } from './aar.ts';
import { failureOf } from './failure.ts';

const base = {
  order: { order_id: 'o1', run_id: 'r1', theater_id: 'demo' },
  attempt: 2,
  unitId: 'assault_1',
  startedAt: new Date('2026-01-14T16:21:00.000Z'),
  endedAt: new Date('2026-01-14T16:21:02.500Z'),
  model: { provider: 'local', name: 'm', temperature: 0, answered_by: 'n' },
  spent: { usage: { input_tokens: 3, output_tokens: 4 }, costMicroUsd: 5, promptSha256: 'a' },
  notes: ['one'],
  toolCalls: [
    {
      index: 0,
      command: 'cat',
      line: 'cat a.md',
      exit: 0,
      bytes_in: 17,
      bytes_out: 3,
      duration_ms: 1,
    },
  ],
};
const artifact = { path: 'outputs/a.md', type: 'text/markdown', sha256: 'f', bytes: 3 };
const completed: Report = { ...base, status: 'completed', summary: 's', artifacts: [artifact] };
const failure = { code: 'TIMEOUT', message: 'late', stage: 'calling_model', retryable: true };
const failed: Report = { ...base, status: 'failed', failure: { ...failure, resetAt: 'then' } };

describe('the report', () => {
  test('has the fields of the contract, and what the attempt has cost', () => {
    expect(aarOf(completed)).toMatchObject({
      order_id: 'o1',
      status: 'completed',
      completed_at: '2026-01-14T16:21:02.500Z',
      summary: 's',
      artifacts: [artifact],
      model: base.model,
      notes: ['one'],
      tool_calls: [{ command: 'cat', line: 'cat a.md' }],
      next_recommendations: [],
      duration_ms: 2_500,
      cost_micro_usd: 5,
    });
  });

  test('of a failure says where and why', () => {
    expect(aarOf(failed)).toMatchObject({
      status: 'failed',
      summary: 'Failed while calling model: late',
      artifacts: [],
      error: { ...failure, reset_at: 'then' },
    });
  });

  test.each([completed, failed])('is read back as it was: $status', (report) => {
    expect(reportFrom(JSON.parse(JSON.stringify(aarOf(report))))).toEqual(report);
  });

  test.each([undefined, null, 'x', {}, { ...aarOf(completed), unit_id: 7 }])(
    'of somebody else is none of ours',
    (value) => expect(reportFrom(value)).toBeUndefined(),
  );
});

const parts = fc.constantFrom(
  'word ',
  'end. ',
  'no! ',
  'why? ',
  '\u{1F600}',
  '\n# ',
  '\n---\n',
  'x'.repeat(90),
);

describe('the summary', () => {
  test('is the first sentences, without headings, rules and fences', () => {
    expect(summaryOf('# Title\n\nOne. Two.\n---\n```\nThree.')).toBe('One. Two. Three.');
    const long = `First sentence. ${'word '.repeat(95)}end. ${'tail '.repeat(20)}`;
    expect(summaryOf(long)).toMatch(/^First sentence\. .*end\.$/);
  });

  test('is never longer than 500 characters, and well formed', () => {
    fc.assert(
      fc.property(fc.array(parts, { maxLength: 200 }), (texts) => {
        const summary = summaryOf(texts.join(''));
        expect(summary.length).toBeLessThanOrEqual(500);
        expect(summary.isWellFormed()).toBe(true);
      }),
    );
  });
});

describe('a failure', () => {
  const now = new Date('2026-01-14T16:00:00.000Z');
  const shown = (error: unknown) => failureOf(error, 'calling_model', now);

  test('takes stage and retry advice from the error, else from its code', () => {
    const details = { stage: 'writing_artifacts', retryable: false };
    const own = new AppError('MODEL_ERROR', { reason: 'x' }, { details });
    expect(shown(own)).toMatchObject({ code: 'MODEL_ERROR', ...details });
    expect(shown(new AppError('MODEL_ERROR', { reason: 'x' })).retryable).toBe(true);
    expect(shown(new AppError('INVALID_REQUEST', { reason: 'x' }))).toMatchObject({
      retryable: false,
      stage: 'calling_model',
    });
  });

  test('tells when a provider takes work again', () => {
    const error = new AppError('MODEL_QUOTA', { reason: 'used up' }, { retryAfterMs: 60_000 });
    expect(shown(error)).toMatchObject({ resetAt: '2026-01-14T16:01:00.000Z', retryable: true });
    expect(shown(error).message).toContain('used up; it takes work again at 2026-01-14T16:01:00');
  });

  test('of a defect is told without secrets and within bounds', () => {
    const told = shown(new Error(`Bearer abcdefgh12345678 ${'x'.repeat(5_000)}`));
    expect(told).toMatchObject({ code: 'INTERNAL', retryable: true });
    expect(told.message).not.toContain('abcdefgh12345678');
    expect(told.message).toHaveLength(1_000);
  });
});
