import { channel, id, timestamp } from '#libs/contracts';
import { z } from 'zod';
import { type DeliveryPolicy, waitMs } from './backoff.ts';
import { judge, type Reply } from './reply.ts';

/** `dead` is what others call a dead letter: tried as often as it may be. */
export const DELIVERY_STATES = [
  'pending',
  'retrying',
  'delivered',
  'duplicate',
  'rejected',
  'dead',
  'discarded',
] as const;
export type DeliveryState = (typeof DELIVERY_STATES)[number];

/** States in which it waits to be sent. */
export const OPEN_STATES: readonly DeliveryState[] = ['pending', 'retrying'];
/** States that nothing follows; such records are kept for a while only. */
export const SETTLED_STATES: readonly DeliveryState[] = ['delivered', 'duplicate', 'discarded'];
/** States from which a person may have it sent again. */
export const REDRIVABLE_STATES: readonly DeliveryState[] = ['rejected', 'dead'];

const time = timestamp.nullable();

/** One event on its way to one target, as the OUTBOX stream holds it. */
export const delivery = z.object({
  channel,
  target: id,
  idempotency_key: z.string().min(1).max(512),
  /** milestoneId or summaryId. */
  item_id: z.string(),
  state: z.enum(DELIVERY_STATES),
  /** Attempts since it was queued or redriven. */
  attempts: z.int().min(0),
  /** Sequence of its first record, its place in the queue; null: that is this very record. */
  queued_seq: z.int().min(1).nullable(),
  queued_at: timestamp,
  /** Not to be sent before. */
  next_attempt_at: time,
  last_attempt_at: time,
  settled_at: time,
  last_error: z.string().nullable(),
  /** Digest of the counters of a demand summary; tells whether the next one says something new. */
  fingerprint: z.string().nullable(),
  /** The body, byte for byte as it is sent each time; null once it has been taken. */
  body: z.string().nullable(),
});
export type Delivery = z.output<typeof delivery>;

/** What happens to a delivery. Times are ISO, UTC. */
export type DeliveryEvent =
  | { type: 'SETTLED'; state: 'delivered' | 'duplicate'; at: string }
  | { type: 'REFUSED'; error: string; at: string }
  | { type: 'POSTPONED'; error: string; at: string; next_attempt_at: string }
  | { type: 'GIVEN_UP'; error: string; at: string }
  | { type: 'REDRIVEN'; at: string }
  | { type: 'DISCARDED'; at: string };

export type Attempted = {
  reply: Reply;
  policy: DeliveryPolicy;
  now: Date;
  /** In [0, 1). */
  random: number;
};

/** What an attempt means for an open delivery. */
export function decideAttempt(
  { attempts }: Pick<Delivery, 'attempts'>,
  { reply, policy, now, random }: Attempted,
): DeliveryEvent {
  const verdict = judge(reply);
  const at = now.toISOString();
  switch (verdict.kind) {
    case 'settled':
      return { type: 'SETTLED', state: verdict.state, at };
    case 'refused':
      return { type: 'REFUSED', error: verdict.error, at };
    case 'again': {
      const { error, retryAfterMs } = verdict;
      if (attempts + 1 >= policy.attemptsMax) return { type: 'GIVEN_UP', error, at };
      const wait = waitMs(policy, attempts + 1, random, retryAfterMs);
      const next = new Date(now.getTime() + wait).toISOString();
      return { type: 'POSTPONED', error, at, next_attempt_at: next };
    }
  }
}

/** A person has it sent again; undefined where it is not at an end that can be mended. */
export function decideRedrive({ state }: Delivery, now: Date): DeliveryEvent | undefined {
  if (!REDRIVABLE_STATES.includes(state)) return undefined;
  return { type: 'REDRIVEN', at: now.toISOString() };
}

/** A person gives it up; undefined where there is nothing to give up any more. */
export function decideDiscard({ state }: Delivery, now: Date): DeliveryEvent | undefined {
  if (SETTLED_STATES.includes(state)) return undefined;
  return { type: 'DISCARDED', at: now.toISOString() };
}

/** @param seq of the record that holds `before` */
export function evolveDelivery(before: Delivery, event: DeliveryEvent, seq: number): Delivery {
  const queued_seq = before.queued_seq ?? seq;
  const tried = { ...before, queued_seq, attempts: before.attempts + 1, last_attempt_at: event.at };
  switch (event.type) {
    case 'SETTLED': {
      // Only what may be needed again is kept.
      const done = { settled_at: event.at, next_attempt_at: null, body: null, last_error: null };
      return { ...tried, ...done, state: event.state };
    }
    case 'REFUSED':
      return { ...tried, ...ended(event), state: 'rejected' };
    case 'GIVEN_UP':
      return { ...tried, ...ended(event), state: 'dead' };
    case 'POSTPONED':
      return {
        ...tried,
        state: 'retrying',
        next_attempt_at: event.next_attempt_at,
        last_error: event.error,
      };
    case 'REDRIVEN':
      // Anew and at the end of the queue; what went wrong stays to be read.
      return { ...before, state: 'pending', attempts: 0, queued_seq: null, settled_at: null };
    case 'DISCARDED':
      return {
        ...before,
        queued_seq,
        state: 'discarded',
        settled_at: event.at,
        next_attempt_at: null,
        body: null,
      };
  }
}

function ended({ at, error }: { at: string; error: string }) {
  return { settled_at: at, next_attempt_at: null, last_error: error };
}
