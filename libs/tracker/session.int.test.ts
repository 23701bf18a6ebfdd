import { startTrackerServer, type TrackerServer } from '#libs/testing';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openSession, renewTokens, type Tokens, type TokenStore } from './session.ts';

const PATH = '/api/v1/token/refresh/';
let tracker: TrackerServer;
let kept: Tokens | undefined;
const store: TokenStore = {
  read: () => kept,
  write: (tokens) => {
    kept = tokens;
  },
};
beforeEach(async () => {
  kept = undefined;
  tracker = await startTrackerServer();
});
afterEach(() => tracker[Symbol.asyncDispose]());

const open = (refresh: string | undefined = 'r') =>
  openSession({ access: 'a', refresh }, store, (token) => renewTokens(tracker.url, token));

test('D.55 a refresh token is sent as such, never as a bearer, and buys the next pair', async () => {
  const session = open();
  expect(session.token()).toBe('a');
  expect(await session.refresh()).toBe(true);
  expect(session.token()).toBe('access-of-r');
  const [request] = tracker.requests();
  expect(request).toMatchObject({ method: 'POST', path: PATH, body: { refresh: 'r' } });
  expect(request?.headers.authorization).toBeUndefined();
  expect(kept).toEqual({ access: 'access-of-r', refresh: 'next-of-r' });
  expect(open().token(), 'the next process').toBe('access-of-r');
});

test('a server that leaves the refresh token out keeps the old one', async () => {
  tracker.script(PATH, { status: 200, body: { access: 'b' } });
  expect(await open().refresh()).toBe(true);
  expect(kept).toEqual({ access: 'b', refresh: 'r' });
});

test.each([400, 401, 403])('%i ends the session; nothing is kept', async (status) => {
  tracker.script(PATH, { status });
  const session = open();
  expect(await session.refresh()).toBe(false);
  expect([session.token(), kept]).toEqual(['a', undefined]);
});

test.each([
  [{ status: 503, body: { message: 'away' } }, 'TRACKER_REFUSED'],
  [{ status: 200, body: {} }, 'TRACKER_REFUSED'],
  [{ status: 200, text: 'OK' }, 'TRACKER_REFUSED'],
  ['disconnect' as const, 'DEPENDENCY_UNAVAILABLE'],
])('%j is told, and no end of the session', async (step, code) => {
  tracker.script(PATH, step);
  await expect(open().refresh()).rejects.toMatchObject({ code });
  expect(kept).toBeUndefined();
});

test('without a refresh token nobody is asked', async () => {
  expect(await openSession({ access: 'a', refresh: '' }, store, expect.fail).refresh()).toBe(false);
});

test('what another process has bought meanwhile is used instead of buying again', async () => {
  const [one, two] = [open(), open()];
  await one.refresh();
  expect(await two.refresh()).toBe(true);
  expect(two.token()).toBe('access-of-r');
  expect(tracker.requests()).toHaveLength(1);
});
