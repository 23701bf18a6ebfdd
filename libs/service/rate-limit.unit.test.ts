import { ENDPOINTS } from '#libs/contracts';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { DEFAULT_RATES, rateClass, rateLimiter } from './rate-limit.ts';
import { fakeService, post, testServer } from './testkit.ts';

const rates = { ...DEFAULT_RATES, chat: { burst: 3, perSecond: 2 } };

/** Takes until refused; how many went through. */
function drain(take: () => void): number {
  for (let count = 0; ; count += 1) {
    try {
      take();
    } catch {
      return count;
    }
  }
}

test('a burst, then the rate, for each caller and class by itself', () => {
  let nowMs = 0;
  const limit = rateLimiter(rates, () => nowMs);
  expect(drain(() => limit('a', 'chat'))).toBe(3);
  expect(drain(() => limit('b', 'chat'))).toBe(3);
  limit('a', 'read');
  const refused = () => limit('a', 'chat');
  expect(refused).toThrow(expect.objectContaining({ code: 'RATE_LIMITED', retryAfterMs: 500 }));
  nowMs = 1_000;
  expect(drain(() => limit('a', 'chat'))).toBe(2);
  nowMs = 100_000;
  expect(drain(() => limit('a', 'chat'))).toBe(3);
});

test('never more than burst + rate × time, whatever the times', () => {
  const gaps = fc.array(fc.integer({ min: 0, max: 2_000 }), { maxLength: 200 });
  fc.assert(
    fc.property(gaps, (steps) => {
      let nowMs = 0;
      let passed = 0;
      const limit = rateLimiter(rates, () => nowMs);
      for (const step of steps) {
        nowMs += step;
        try {
          limit('a', 'chat');
          passed += 1;
        } catch {
          // Refused: that is the point.
        }
      }
      expect(passed).toBeLessThanOrEqual(3 + (2 * nowMs) / 1000 + 1e-6);
    }),
  );
});

test('callers are bounded; the idlest is forgotten', () => {
  let nowMs = 0;
  const limit = rateLimiter(rates, () => nowMs, 2);
  drain(() => limit('a', 'chat'));
  nowMs = 1;
  drain(() => limit('b', 'chat'));
  nowMs = 2;
  limit('c', 'chat');
  expect(drain(() => limit('b', 'chat'))).toBe(0);
  expect(drain(() => limit('a', 'chat'))).toBe(3);
});

test('every endpoint has its class', () => {
  const classes = new Map(ENDPOINTS.map((one) => [`${one.role}.${one.name}`, rateClass(one)]));
  expect(classes.get('ledger.append')).toBe('append');
  expect(classes.get('ledger.append-batch')).toBe('append');
  expect(classes.get('ledger.rebuild-views')).toBe('write');
  expect(classes.get('gateway.chat')).toBe('chat');
  expect(classes.get('vault.remove-worktree')).toBe('write');
  expect(classes.get('ledger.events')).toBe('read');
});

// Acceptance check 39: flood above the limit.
test('a flood over HTTP meets 429 with Retry-After', async () => {
  await using server = await testServer({
    services: [fakeService('gateway')],
    rateLimits: { chat: { burst: 5, perSecond: 1 } },
  });
  const flood = Array.from({ length: 8 }, () => post(`${server.url}/chat`, { message: 'hi' }));
  const answers = await Promise.all(flood);
  const refused = answers.filter((answer) => answer.status === 429);
  expect(refused).toHaveLength(3);
  expect(refused[0]?.headers.get('retry-after')).toBe('1');
  expect(refused[0]?.body.error).toMatchObject({ code: 'RATE_LIMITED' });
});
