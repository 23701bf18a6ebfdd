import { type DeliveryPolicy, waitMs } from './backoff.ts';
import type { DeliveryEvent } from './delivery.ts';

/**
 * How a target as a whole does. A failed attempt is nearly always about the target, not about the
 * event, so the target rests and the order of the queue is kept. An event that fails while others
 * succeed waits longer than its target, and is passed by them.
 */
export type Lane = {
  /** Failed attempts in a row, of whatever deliveries. */
  failures: number;
  /** Milliseconds since 1970; nothing is sent before. */
  restsUntilMs: number;
};

export const OPEN_LANE: Lane = { failures: 0, restsUntilMs: 0 };

export type LaneStep = {
  event: DeliveryEvent;
  policy: DeliveryPolicy;
  nowMs: number;
  random: number;
  retryAfterMs: number | undefined;
};

/** The lane after an attempt; an answer of any meaning ends its rest. */
export function evolveLane(lane: Lane, step: LaneStep): Lane {
  const { event, policy, nowMs, random, retryAfterMs } = step;
  if (event.type !== 'POSTPONED' && event.type !== 'GIVEN_UP') return OPEN_LANE;
  const failures = lane.failures + 1;
  return { failures, restsUntilMs: nowMs + waitMs(policy, failures, random, retryAfterMs) };
}
