import type { StoredEvent } from '#libs/contracts';
import {
  type Decision,
  type EscalationBook,
  type EventDraft,
  evolveEscalations,
  theaterEscalation,
  theaterEscalationIdFor,
} from '#libs/orders';

/** The tick that shows the duty officer to be alive. */
export type LastTick = { eventId: string; at: string };

/** One audit that found the backlog changed. */
export type Sample = { eventId: string; seq: number; at: string; count: number };

/** What the sentinels of a garrison know together: a pure function of events about no order. */
export type WatchState = Readonly<{
  lastTick: LastTick | null;
  /** Newest last. */
  samples: readonly Sample[];
  /** The rise that the backlog is in: its first sample, and how many samples it has. */
  rise: { first: string; length: number } | null;
  escalations: EscalationBook;
  /** Sequence of the last event seen. */
  version: number;
}>;

export const NO_WATCH: WatchState = {
  lastTick: null,
  samples: [],
  rise: null,
  escalations: new Map(),
  version: 0,
};

/** Who asks for a patrol in the place of a duty officer that does not: no sign of its life. */
export const SENTINEL = 'sentinel';
const SAMPLES_KEPT = 20;

export function evolveWatch(state: WatchState, events: readonly StoredEvent[]): WatchState {
  const escalations = evolveEscalations(state.escalations, events);
  return events.reduce(evolve, { ...state, escalations });
}

function evolve(state: WatchState, event: StoredEvent): WatchState {
  const { event_id: eventId, ts: at, seq: version } = event;
  if (event.type === 'PATROL_TICK' && event.payload.source !== SENTINEL) {
    return { ...state, version, lastTick: { eventId, at } };
  }
  if (event.type !== 'AUDIT_RECORDED' || event.payload.backlog === undefined) {
    return { ...state, version };
  }
  const { backlog: count, progress = false } = event.payload;
  const sample = { eventId, seq: version, at, count };
  const samples = [...state.samples.slice(1 - SAMPLES_KEPT), sample];
  return { ...state, version, samples, rise: riseWith(state, sample, progress) };
}

/** A rise begins anew with a sample that is lower, or before which something was achieved. */
function riseWith({ samples, rise }: WatchState, sample: Sample, progress: boolean) {
  const before = samples.at(-1)?.count;
  const isOver = rise === null || before === undefined || progress || sample.count < before;
  if (isOver) return { first: sample.eventId, length: 1 };
  return sample.count > before ? { ...rise, length: rise.length + 1 } : rise;
}

export type Verdict = 'ok' | 'dead' | 'ineffective';

/** What an audit has seen. */
export type Seen = {
  garrisonId: string;
  nowMs: number;
  /** Orders under way or waiting; null: nobody could tell. */
  backlog: number | null;
  /** Something was completed or mended since the last sample. */
  progress: boolean;
};

export type Limits = {
  /** A duty officer without a tick for so long is dead. */
  tickAgeMs: number;
  /** So many rising samples in a row, with nothing achieved, mean that it is ineffective. */
  rising: number;
  /** False: too early to call it dead, the sentinel has only just begun to listen. */
  mayBeDead: boolean;
};

/** The age of the last tick; null: there was none. A time to come counts as now. */
export function tickAgeMs({ lastTick }: WatchState, nowMs: number): number | null {
  return lastTick === null ? null : Math.max(0, nowMs - Date.parse(lastTick.at));
}

export function verdictOf(state: WatchState, nowMs: number, limits: Limits): Verdict {
  const age = tickAgeMs(state, nowMs);
  const isDead = age === null || age > limits.tickAgeMs;
  if (isDead) return limits.mayBeDead ? 'dead' : 'ok';
  return (state.rise?.length ?? 0) >= limits.rising ? 'ineffective' : 'ok';
}

/** One outage has one cause: the last sign of life, or the first sample of the rise. */
export function causeOf(state: WatchState, verdict: Verdict): string | null {
  if (verdict === 'dead') return `dead/${state.lastTick?.eventId ?? 'never'}`;
  return verdict === 'ineffective' ? `ineffective/${state.rise?.first}` : null;
}

/** The escalation that stands for a verdict; null: all is well. */
export function escalationIdOf(
  state: WatchState,
  verdict: Verdict,
  garrisonId: string,
): string | null {
  const cause = causeOf(state, verdict);
  return cause && theaterEscalationIdFor({ garrisonId, theaterId: null }, cause);
}

/** The sample, if the backlog has changed or a rise has ended; null otherwise. */
export function sampleOf(state: WatchState, seen: Seen): EventDraft | null {
  const { backlog, progress, garrisonId } = seen;
  if (backlog === null) return null;
  const last = state.samples.at(-1)?.count ?? 0;
  const ends = progress && (state.rise?.length ?? 0) > 1;
  if (backlog === last && !ends) return null;
  return {
    type: 'AUDIT_RECORDED',
    payload: { backlog, progress },
    garrison_id: garrisonId,
    theater_id: null,
    run_id: null,
    order_id: null,
    unit_id: null,
    key: ['AUDIT_RECORDED', state.version].join('/'),
  };
}

/** The escalation of an outage, once; nothing while it lasts or all is well. */
export function alarm(state: WatchState, verdict: Verdict, seen: Seen): Decision {
  const cause = causeOf(state, verdict);
  if (cause === null) return { ok: true, events: [] };
  return theaterEscalation(state.escalations, {
    garrisonId: seen.garrisonId,
    theaterId: null,
    severity: 'CRITICAL',
    route: 'operator',
    reason: reasonOf(state, verdict),
    cause,
  });
}

function reasonOf({ lastTick, samples, rise }: WatchState, verdict: Verdict): string {
  if (verdict === 'dead') {
    const last = lastTick === null ? 'it never ticked' : `its last tick was at ${lastTick.at}`;
    return `the duty officer is dead: ${last}`;
  }
  const counts = samples.slice(-(rise?.length ?? 1)).map(({ count }) => count);
  return `the duty officer is ineffective: it ticks, but the backlog rises (${counts.join(', ')})`;
}
