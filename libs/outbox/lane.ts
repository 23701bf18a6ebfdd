import { type DeliveryPolicy, waitMs } from './backoff.ts';
import type { DeliveryEvent } from './delivery.ts';

/**
 * How a target as a whole does. A failed attempt is nearly always about the target, not about the
 * event, so the target rests, and then the same event is tried again: the order of the queue is kept.
 * After some failures of one event in a row another is tried. Where that one is taken it was the
 * event, which waits by itself from then on while the others pass.
 */
export type Lane = {
  /** Failed attempts in a row, of whatever deliveries. */
  failures: number;
  /** Milliseconds since 1970; nothing is sent before. */
  restsUntilMs: number;
  /** The delivery that failed last, and how often in a row. */
  failed: { delivery_id: string; times: number } | undefined;
};

export const OPEN_LANE: Lane = { failures: 0, restsUntilMs: 0, failed: undefined };

/** Failures of one delivery in a row after which another is tried, if one waits. */
const SAME_MAX = 3;

export type LaneStep = {
  delivery_id: string;
  event: DeliveryEvent;
  policy: DeliveryPolicy;
  nowMs: number;
  random: number;
  retryAfterMs: number | undefined;
};

/** The lane after an attempt; an answer of any meaning ends its rest. */
export function evolveLane(lane: Lane, step: LaneStep): Lane {
  const { delivery_id, event, policy, nowMs, random, retryAfterMs } = step;
  if (event.type !== 'POSTPONED' && event.type !== 'GIVEN_UP') return OPEN_LANE;
  const failures = lane.failures + 1;
  const times = lane.failed?.delivery_id === delivery_id ? lane.failed.times + 1 : 1;
  return {
    failures,
    restsUntilMs: nowMs + waitMs(policy, failures, random, retryAfterMs),
    failed: { delivery_id, times },
  };
}

/** What is due, without the one that has failed too often in a row if there is any other. */
export function choose<D extends { delivery_id: string }>(lane: Lane, due: readonly D[]): D[] {
  const { failed } = lane;
  if (failed === undefined || failed.times < SAME_MAX) return [...due];
  const others = due.filter(({ delivery_id }) => delivery_id !== failed.delivery_id);
  return others.length > 0 ? others : [...due];
}
