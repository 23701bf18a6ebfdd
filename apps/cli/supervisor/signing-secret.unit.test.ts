import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { withSigningSecret } from './signing-secret.ts';

function folder(): string {
  const made = mkdtempSync(path.join(tmpdir(), 'ironclaw-secret-'));
  onTestFinished(() => rmSync(made, { recursive: true }));
  return made;
}

test('without a secret one is made, for its owner alone, and found again', () => {
  const state = folder();
  const first = withSigningSecret({ OTHER: '1' }, state);
  expect(first).toEqual({
    OTHER: '1',
    MILESTONE_SIGNING_SECRET: expect.stringMatching(/^[0-9a-f]{64}$/),
  });
  const file = path.join(state, 'signing-secret');
  expect(statSync(file).mode & 0o777).toBe(0o600);
  expect(readFileSync(file, 'utf8').trim()).toBe(first.MILESTONE_SIGNING_SECRET);
  expect(withSigningSecret({ OTHER: '1' }, state)).toEqual(first);
});

test.each([
  { MILESTONE_SIGNING_SECRET: 'given' },
  { MILESTONE_SIGNING_SECRET: ' ' },
  { MILESTONE_SIGNING_SECRETS_ACCEPTED: 'old' },
])('what is set is left as it is: %j', (env) => {
  expect(withSigningSecret(env, '/nowhere')).toBe(env);
});
