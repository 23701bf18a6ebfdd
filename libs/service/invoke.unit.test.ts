import { API, AppError } from '#libs/contracts';
import { describe, expect, test } from 'vitest';
import { answer } from './invoke.ts';
import { type Ctx, defineService } from './service.ts';
import { fakeService, logger } from './testkit.ts';

const ctx: Ctx = {
  requestId: 'q',
  principal: null,
  signal: new AbortController().signal,
  headers: () => undefined,
};

function health(handler: () => Promise<never>, checkData: boolean) {
  const { integration } = API;
  const integrate = async (): Promise<never> => {
    throw new Error('not called');
  };
  const service = defineService(integration, { integrate, health: handler }, { checkData });
  const operation = service.operations.get('health');
  if (operation === undefined) throw new Error('no such operation');
  return answer(operation, {}, ctx, logger);
}

describe('checkData', () => {
  const wrong = async () => ({ status: 'fine' }) as never;
  const undeclared = async () => {
    throw new AppError('RUN_NOT_FOUND', { id: 'r' });
  };

  test('off: answers pass as they are', async () => {
    expect(await health(wrong, false)).toMatchObject({ status: 200, body: { ok: true } });
    expect(await health(undeclared, false)).toMatchObject({ status: 404 });
  });

  test('on: an answer or an error code that the contract does not have is a defect', async () => {
    expect(await health(wrong, true)).toMatchObject({ status: 500 });
    expect(await health(undeclared, true)).toMatchObject({ status: 500 });
  });
});

test('retry advice becomes a header in whole seconds', async () => {
  const busy = async () => {
    throw new AppError('RATE_LIMITED', {}, { retryAfterMs: 1_001 });
  };
  expect(await health(busy, true)).toMatchObject({ status: 429, headers: { 'retry-after': '2' } });
});

test('a service holds the endpoints of one role', () => {
  const mixed = { a: API.co.health, b: API.vault.health };
  const handler = async () => ({}) as never;
  expect(() => defineService(mixed, { a: handler, b: handler })).toThrow('belongs to vault');
  expect([...fakeService('co').operations.keys()]).toContain('create-run');
});
