import { describe, expect, test } from 'vitest';
import { allowedFromEnv, isLoopback, originGuard } from './guard.ts';
import { fakeService, rawRequest, testServer } from './testkit.ts';

describe('Host', () => {
  const guard = originGuard({ host: '127.0.0.1', allowedHosts: ['iron.example'] });

  test.each([
    'localhost',
    'LOCALHOST:80',
    'localhost.',
    '127.0.0.1:8080',
    '[::1]:8080',
    '10.0.0.7',
    'iron.example:1',
  ])('%s passes', (host) => {
    expect(guard(host, undefined)).toBe(false);
  });

  test.each([
    'evil.example',
    'localhost.evil.example',
    'evil.example:8080',
    '127.0.0.1.evil.example',
    'a@localhost',
  ])('%s is refused', (host) => {
    expect(() => guard(host, undefined)).toThrow(expect.objectContaining({ code: 'FORBIDDEN' }));
  });

  test('missing is refused; * allows any', () => {
    expect(() => guard(undefined, undefined)).toThrow(expect.objectContaining({ field: 'host' }));
    expect(originGuard({ host: '::', allowedHosts: ['*'] })('any.example', undefined)).toBe(false);
  });
});

describe('Origin', () => {
  const guard = originGuard({ host: '127.0.0.1', allowedOrigins: ['https://console.example'] });

  test('the own origin and configured ones pass', () => {
    expect(guard('localhost:80', 'http://localhost:80')).toBe(false);
    expect(guard('localhost:80', 'https://console.example')).toBe(true);
  });

  test.each(['null', 'http://localhost:81', 'http://evil.example', 'https://console.example.evil'])(
    '%s is refused',
    (origin) => {
      const check = () => guard('localhost:80', origin);
      expect(check).toThrow(expect.objectContaining({ code: 'FORBIDDEN', field: 'origin' }));
    },
  );
});

test('names from the environment', () => {
  const env = { IRONCLAW_ALLOWED_HOSTS: ' A.example, b ,', IRONCLAW_ALLOWED_ORIGINS: 'https://c' };
  expect(allowedFromEnv(env)).toEqual({
    allowedHosts: ['a.example', 'b'],
    allowedOrigins: ['https://c'],
  });
  expect(allowedFromEnv({})).toEqual({ allowedHosts: [], allowedOrigins: [] });
});

test('loopback', () => {
  expect(['127.0.0.1', '127.9.9.9', '::1', 'localhost'].every(isLoopback)).toBe(true);
  expect(['0.0.0.0', '::', '10.0.0.1', '127.evil.example', 'host'].some(isLoopback)).toBe(false);
});

test('a page of another site cannot call, not even a public endpoint', async () => {
  await using server = await testServer({
    services: [fakeService('co')],
    allowedOrigins: ['https://console.example'],
  });
  const send = (lines: string) =>
    rawRequest(server.port, `GET /health HTTP/1.1\r\nConnection: close\r\n${lines}\r\n\r\n`);
  expect(await send('Host: rebound.example')).toContain('403 Forbidden');
  expect(await send('Host: localhost\r\nOrigin: http://evil.example')).toContain('403 Forbidden');
  const allowed = await send('Host: localhost\r\nOrigin: https://console.example');
  expect(allowed).toContain('200 OK');
  expect(allowed).toContain('access-control-allow-origin: https://console.example');
});
