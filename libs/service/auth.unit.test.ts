import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isAppError } from '#libs/contracts';
import { describe, expect, test } from 'vitest';
import { type Auth, authenticator, authFromEnv, demandScope, tokenHash } from './auth.ts';
import { ask, fakeService, post, testServer } from './testkit.ts';

const auth: Auth = {
  tokens: [
    { name: 'reader', scopes: ['read'], sha256: tokenHash('r-secret') },
    { name: 'operator', scopes: ['operate'], sha256: tokenHash('o-secret') },
    { name: 'feeder', scopes: ['ingest'], sha256: tokenHash('i-secret') },
    { name: 'root', scopes: ['admin'], sha256: tokenHash('a-secret') },
  ],
};

function outcomeOf(check: () => void): string {
  try {
    check();
    return 'allowed';
  } catch (error) {
    return isAppError(error) ? error.code : String(error);
  }
}

describe('scopes', () => {
  test.each([
    ['r-secret', ['public', 'read']],
    ['o-secret', ['public', 'read', 'operate']],
    ['i-secret', ['public', 'ingest']],
    ['a-secret', ['public', 'read', 'operate', 'ingest', 'admin']],
  ])('%s allows %s and nothing else', (token, allowed) => {
    const principal = authenticator(auth)(`Bearer ${token}`);
    for (const scope of ['public', 'read', 'operate', 'ingest', 'admin'] as const) {
      const demand = () => demandScope(principal, scope);
      expect(outcomeOf(demand)).toBe(allowed.includes(scope) ? 'allowed' : 'FORBIDDEN');
    }
  });

  test.each([
    undefined,
    '',
    'r-secret',
    'Bearer ',
    'Bearer wrong',
    'Basic r-secret',
    'Bearer r-secret x',
  ])('the header %j is not authenticated', (header) => {
    const check = () => authenticator(auth)(header);
    expect(check).toThrow(expect.objectContaining({ code: 'UNAUTHENTICATED' }));
  });
});

describe('IRONCLAW_TOKENS', () => {
  const sha256 = tokenHash('t');
  const expected = { tokens: [{ name: 'me', scopes: ['read', 'ingest'], sha256 }] };

  test('unset is no authentication', async () => {
    expect(await authFromEnv({})).toBeNull();
    expect(await authFromEnv({ IRONCLAW_TOKENS: ' ' })).toBeNull();
  });

  test('is JSON, lines, or a file with either', async () => {
    const json = JSON.stringify(expected.tokens);
    const line = `me:read,ingest:${sha256}`;
    const folder = await mkdtemp(join(tmpdir(), 'ironclaw-tokens-'));
    try {
      await writeFile(join(folder, 'json'), json);
      await writeFile(join(folder, 'lines'), `# who may call\n${line}\n\n`);
      const values = [json, line, `${line};`, join(folder, 'json'), join(folder, 'lines')];
      for (const IRONCLAW_TOKENS of values) {
        expect(await authFromEnv({ IRONCLAW_TOKENS })).toEqual(expected);
      }
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  test.each([
    '/no/such/file',
    '[{"name":"me"',
    '[]',
    `me:superuser:${sha256}`,
    `me::${sha256}`,
    `a b:read:${sha256}`,
    `me:read:${sha256}:more`,
  ])('%s is refused, and no part of a token is quoted', async (IRONCLAW_TOKENS) => {
    const error = await authFromEnv({ IRONCLAW_TOKENS }).catch((reason: unknown) => reason);
    expect(error).toMatchObject({
      code: 'INVALID_REQUEST',
      field: expect.stringMatching(/^IRONCLAW_TOKENS/),
    });
    expect((error as Error).message).not.toContain(sha256);
  });
});

describe('over HTTP', () => {
  test('public needs no token; the others need theirs', async () => {
    await using server = await testServer({ services: [fakeService('ledger')], auth });
    const bearer = (token: string) => ({ authorization: `Bearer ${token}` });
    expect((await ask(`${server.url}/health`)).status).toBe(200);
    expect((await ask(`${server.url}/runs`)).status).toBe(401);
    expect((await ask(`${server.url}/runs`, { headers: bearer('r-secret') })).status).toBe(200);
    expect((await post(`${server.url}/events`, {}, bearer('r-secret'))).status).toBe(403);
    expect((await post(`${server.url}/events`, {}, bearer('o-secret'))).status).toBe(201);
    expect((await post(`${server.url}/views/rebuild`, {}, bearer('o-secret'))).status).toBe(403);
    expect((await post(`${server.url}/views/rebuild`, {}, bearer('a-secret'))).status).toBe(202);
  });

  test('no address beyond loopback without tokens', async () => {
    const open = testServer({ services: [fakeService('co')], host: '0.0.0.0' });
    await expect(open).rejects.toMatchObject({
      code: 'FORBIDDEN',
      message: expect.stringMatching(/IRONCLAW_TOKENS/),
    });
    await using closed = await testServer({ services: [fakeService('co')], host: '0.0.0.0', auth });
    expect((await ask(`http://127.0.0.1:${closed.port}/health`)).status).toBe(200);
  });
});
