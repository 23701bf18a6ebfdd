import { readFile } from 'node:fs/promises';
import { signingSecret } from '#libs/signing';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { waitMs } from './backoff.ts';
import {
  decideAttempt,
  decideDiscard,
  decideRedrive,
  type Delivery,
  DELIVERY_STATES,
  evolveDelivery,
  OPEN_STATES,
} from './delivery.ts';
import { milestoneEnvelope, newDelivery } from './emit.ts';
import { EMPTY_LEDGER, healthOfTarget, type Ledger, overallHealth } from './health.ts';
import { choose, evolveLane, OPEN_LANE } from './lane.ts';
import { judge, parseRetryAfter, type Reply } from './reply.ts';
import { createSigner } from './sign.ts';
import { deliveryIdOf, deliverySubject, isDeliveryId, parseDeliverySubject } from './subjects.ts';
import { milestone } from './testdata/lab.ts';

const NOW = new Date('2026-03-01T12:00:00.000Z');
const POLICY = { attemptsMax: 3, firstMs: 1_000, maxMs: 300_000 };
const fresh = (): Delivery => newDelivery(milestoneEnvelope(milestone(1), NOW), 'far');

const anyReply: fc.Arbitrary<Reply> = fc.oneof(
  fc.record({ kind: fc.constant('failed' as const), reason: fc.string() }),
  fc.record(
    {
      kind: fc.constant('answered' as const),
      status: fc.integer({ min: 100, max: 599 }),
      body: fc.oneof(fc.string(), fc.constant('{"status":"duplicate"}'), fc.constant('null')),
      retryAfterMs: fc.nat(),
    },
    { requiredKeys: ['kind', 'status', 'body'] },
  ),
);
const random = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });

describe('a delivery', () => {
  test('under any replies ends within its attempts and keeps its bytes until it is taken', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(anyReply, random), { maxLength: 10 }), (replies) => {
        let state = fresh();
        const body = state.body;
        let seq = 7;
        for (const [reply, chance] of replies) {
          if (!OPEN_STATES.includes(state.state)) break;
          const before = state;
          const event = decideAttempt(state, { reply, policy: POLICY, now: NOW, random: chance });
          state = evolveDelivery(state, event, seq);
          seq += 1;
          expect(state.attempts).toBe(before.attempts + 1);
          expect(state.queued_seq).toBe(7);
          expect(state.idempotency_key).toBe(before.idempotency_key);
          const taken = state.state === 'delivered' || state.state === 'duplicate';
          expect(state.body).toBe(taken ? null : body);
          expect(state.next_attempt_at === null).toBe(state.state !== 'retrying');
          expect(state.settled_at === null).toBe(OPEN_STATES.includes(state.state));
        }
        expect(state.attempts).toBeLessThanOrEqual(POLICY.attemptsMax);
        if (replies.length >= POLICY.attemptsMax) expect(OPEN_STATES).not.toContain(state.state);
      }),
    );
  });

  test.each(DELIVERY_STATES)(
    'that is %s is redriven and discarded only where that makes sense',
    (state) => {
      const one = { ...fresh(), state, attempts: 3, queued_seq: 7 };
      const redriven = decideRedrive(one, NOW);
      expect(redriven !== undefined).toBe(state === 'rejected' || state === 'dead');
      if (redriven !== undefined) {
        const after = evolveDelivery(one, redriven, 9);
        expect(after).toMatchObject({ state: 'pending', attempts: 0, queued_seq: null });
      }
      const discarded = decideDiscard(one, NOW);
      expect(discarded === undefined).toBe(
        state === 'delivered' || state === 'duplicate' || state === 'discarded',
      );
      if (discarded !== undefined) {
        const after = evolveDelivery(one, discarded, 9);
        expect(after).toMatchObject({ state: 'discarded', body: null, queued_seq: 7 });
      }
    },
  );
});

describe('a reply', () => {
  test('of 2xx settles, of 408, 429 and 5xx is for later, any other is final', () => {
    for (let status = 200; status < 600; status += 1) {
      const { kind } = judge({ kind: 'answered', status, body: '' });
      if (status < 300) expect(kind).toBe('settled');
      else if (status >= 500 || status === 408 || status === 429) expect(kind).toBe('again');
      else expect(kind).toBe('refused');
    }
    expect(judge({ kind: 'failed', reason: 'x' }).kind).toBe('again');
  });

  test('Retry-After is seconds or a date', () => {
    const nowMs = NOW.getTime();
    expect(parseRetryAfter('120', nowMs)).toBe(120_000);
    expect(parseRetryAfter('Sun, 01 Mar 2026 12:00:30 GMT', nowMs)).toBe(30_000);
    expect(parseRetryAfter('Sun, 01 Mar 2026 11:00:00 GMT', nowMs)).toBe(0);
    for (const bad of [null, '', 'soon', '-1', '1.5', '2026-03-01']) {
      expect(parseRetryAfter(bad, nowMs)).toBeUndefined();
    }
  });
});

test('waits double with jitter, between half and all, and honour what is asked for up to the bound', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 1_000 }), random, fc.nat(), (attempts, chance, asked) => {
      const wait = waitMs(POLICY, attempts, chance, asked);
      const full = Math.min(POLICY.maxMs, POLICY.firstMs * 2 ** Math.min(attempts - 1, 40));
      expect(wait).toBeGreaterThanOrEqual(Math.floor(full / 2));
      expect(wait).toBeGreaterThanOrEqual(Math.min(asked, POLICY.maxMs));
      expect(wait).toBeLessThanOrEqual(POLICY.maxMs);
    }),
  );
});

test('C.73 with the defaults an outage of 30 s costs less than a tenth of the attempts', () => {
  const policy = { attemptsMax: 100, firstMs: 1_000, maxMs: 300_000 };
  let atMs = 0;
  let attempts = 0;
  while (atMs < 30_000) {
    attempts += 1;
    // The shortest waits that jitter may give.
    atMs += waitMs(policy, attempts, 0);
  }
  expect(attempts).toBeLessThan(10);
});

test('a lane rests longer with each failure in a row and goes on after any answer', () => {
  let lane = OPEN_LANE;
  const at = NOW.toISOString();
  const step = { delivery_id: 'a', policy: POLICY, nowMs: 0, random: 0.5, retryAfterMs: undefined };
  const failed = { type: 'POSTPONED', error: '', at, next_attempt_at: at } as const;
  const rests = [1, 2, 3].map(() => {
    lane = evolveLane(lane, { ...step, event: failed });
    return lane.restsUntilMs;
  });
  expect(rests).toEqual([750, 1_500, 3_000]);
  // Three times the same one: another is tried, if there is any.
  const [a, b] = [{ delivery_id: 'a' }, { delivery_id: 'b' }];
  expect(choose(lane, [a, b])).toEqual([b]);
  expect(choose(lane, [a])).toEqual([a]);
  const other = evolveLane(lane, { ...step, delivery_id: 'b', event: failed });
  expect(choose(other, [a, b])).toEqual([a, b]);
  expect(evolveLane(lane, { ...step, event: { type: 'REFUSED', error: '', at } })).toEqual(
    OPEN_LANE,
  );
});

test('the word of a target follows its ledger; of several, the worst', () => {
  const word = (ledger: Partial<Ledger>, configured: 'yes' | 'missing' | 'unusable' = 'yes') =>
    healthOfTarget({ configured, ledger: { ...EMPTY_LEDGER, ...ledger } });
  expect(word({})).toBe('idle');
  expect(word({ delivered: 9, duplicate: 1 })).toBe('idle');
  expect(word({ pending: 1 })).toBe('publishing');
  expect(word({ pending: 1, retrying: 1 })).toBe('catching-up');
  expect(word({ dead: 1 })).toBe('degraded');
  expect(word({ rejected: 1, retrying: 1 })).toBe('degraded');
  expect(word({ pending: 3 }, 'unusable')).toBe('misconfigured');
  expect(word({ pending: 3 }, 'missing')).toBe('not-configured');
  expect(overallHealth(['idle', 'catching-up', 'publishing'])).toBe('catching-up');
  expect(overallHealth(['misconfigured', 'degraded'])).toBe('degraded');
  expect(overallHealth([])).toBe('not-configured');
});

test('subjects carry any key and are parsed back', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), fc.string(), (key, text) => {
      const deliveryId = deliveryIdOf('demand', 'far_1', key);
      expect(parseDeliverySubject(deliverySubject(deliveryId))).toBe(deliveryId);
      expect(isDeliveryId(text)).toBe(false);
    }),
  );
});

type Round = {
  reply: { status?: number; body?: string; throw?: string };
  recordAfter: { status: string; attempts: number; lastError: string | null };
};
type Vector = {
  id: string;
  secret: string;
  record: { attempts: number; idempotencyKey: string; sentAtUtc: string; event: object };
  requestsSent: { headers: Record<string, string>; body: string }[];
  rounds: Round[];
};
const vectorsUrl = new URL('../../test/vectors/openclaw/emitter-vectors.json', import.meta.url);
const { vectors } = JSON.parse(await readFile(vectorsUrl, 'utf8')) as { vectors: Vector[] };

/** Where the draft asks for better than the original did: 408 is tried again (check 74). */
const DIFFERENT: Record<string, string> = { 'em-10': 'retrying' };

test('the vectors of the emitter: the bytes that are sent and their signature', () => {
  let sent = 0;
  for (const { secret, record, requestsSent } of vectors) {
    const { idempotencyKey, sentAtUtc, event } = record;
    for (const request of requestsSent) {
      sent += 1;
      const body = JSON.stringify({ idempotencyKey, sentAtUtc, event });
      expect(body).toBe(request.body);
      const at = new Date(request.headers['x-openclaw-timestamp'] ?? '');
      // C.79: a line break behind the secret changes nothing.
      for (const text of [secret, `${secret}\n`]) {
        const headers = createSigner(signingSecret(text), 'body', () => at)('milestones', body);
        expect(request.headers).toMatchObject(headers);
      }
    }
  }
  expect(sent).toBeGreaterThanOrEqual(6);
});

test('the vectors of the emitter, at three attempts', () => {
  let rounds = 0;
  for (const { id, record, rounds: given } of vectors) {
    let state: Delivery = { ...fresh(), attempts: record.attempts };
    for (const { reply, recordAfter } of given) {
      if (recordAfter.attempts === 0) continue;
      rounds += 1;
      const event = decideAttempt(state, {
        reply: replyOf(reply),
        policy: POLICY,
        now: NOW,
        random: 0,
      });
      state = evolveDelivery(state, event, 1);
      const word = recordAfter.status === 'dead-letter' ? 'dead' : recordAfter.status;
      expect([id, state.state, state.attempts]).toEqual([
        id,
        DIFFERENT[id] ?? word,
        recordAfter.attempts,
      ]);
      if (!(id in DIFFERENT)) expect(state.last_error).toBe(recordAfter.lastError);
    }
  }
  expect(rounds).toBeGreaterThanOrEqual(6);
});

function replyOf(reply: Round['reply']): Reply {
  if (reply.throw !== undefined) return { kind: 'failed', reason: reply.throw };
  return { kind: 'answered', status: reply.status ?? 0, body: reply.body ?? '' };
}
