import type { StoredEvent } from '#libs/contracts';

/** Why an event was recorded but changed no status. */
export type AnomalyKind =
  | 'illegal_transition'
  | 'fenced_attempt'
  | 'duplicate_create'
  | 'claimed_by_other'
  | 'duplicate_event'
  | 'run_mismatch';

/** An event that does not fit the state it met, told for people. */
export type Anomaly = { kind: AnomalyKind; detail: string };

/** The newest anomaly of an order or a run. */
export type AnomalyMark = Anomaly & { event_id: string; seq: number };

/** The attempt that an event is about; undefined means: whichever is current. */
export function attemptOf(event: StoredEvent): number | undefined {
  const attempt: unknown = event.payload.attempt;
  return typeof attempt === 'number' ? attempt : undefined;
}

/** Marks `anomaly` as met at `event`. */
export function markOf(anomaly: Anomaly, event: StoredEvent): AnomalyMark {
  return { ...anomaly, event_id: event.event_id, seq: event.seq };
}

/** Milliseconds from one event time to another, never negative; null where either is unknown. */
export function millisBetween(from: string | null, to: string | null): number | null {
  if (from === null || to === null) return null;
  const millis = Date.parse(to) - Date.parse(from);
  return Number.isFinite(millis) ? Math.max(0, millis) : null;
}
