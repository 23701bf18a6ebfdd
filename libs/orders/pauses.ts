import type { StoredEvent } from '#libs/contracts';
import { clip, type Decision, decided, type EventDraft } from './draft.ts';

/** What is held back beside single runs, and when theaters last went on. */
export type Pauses = Readonly<{
  /** Theaters that are paused. */
  theaters: ReadonlySet<string>;
  /** Worker classes that are paused, as `class` or `theater/class`. */
  classes: ReadonlySet<string>;
  /** When each theater went on after its last pause. */
  resumed: ReadonlyMap<string, string>;
  version: number;
}>;

export const NO_PAUSES: Pauses = {
  theaters: new Set(),
  classes: new Set(),
  resumed: new Map(),
  version: 0,
};

/** Theaters whose last pause is remembered; the oldest is forgotten first. */
const RESUMED_MAX = 10_000;

/** Folds events into what is paused; events that are about something else change nothing. */
export function evolvePauses(pauses: Pauses, events: readonly StoredEvent[]): Pauses {
  let next = pauses;
  for (const event of events) {
    const { type, theater_id, seq } = event;
    if (seq <= next.version) continue;
    if (type === 'THEATER_PAUSED' || type === 'THEATER_RESUMED') {
      if (theater_id === null) continue;
      const paused = type === 'THEATER_PAUSED';
      const resumed = new Map(next.resumed);
      if (!paused && next.theaters.has(theater_id)) {
        resumed.delete(theater_id);
        resumed.set(theater_id, event.ts);
        if (resumed.size > RESUMED_MAX) resumed.delete(resumed.keys().next().value as string);
      }
      next = {
        ...next,
        theaters: toggle(next.theaters, theater_id, paused),
        resumed,
        version: seq,
      };
    } else if (type === 'CLASS_PAUSED' || type === 'CLASS_RESUMED') {
      if (event.payload.class === undefined) continue;
      const key = classKey(event.payload.class, theater_id);
      const classes = toggle(next.classes, key, type === 'CLASS_PAUSED');
      next = { ...next, classes, version: seq };
    }
  }
  return next;
}

function toggle(set: ReadonlySet<string>, key: string, present: boolean): ReadonlySet<string> {
  if (set.has(key) === present) return set;
  const next = new Set(set);
  if (present) next.add(key);
  else next.delete(key);
  return next;
}

function classKey(workerClass: string, theaterId: string | null): string {
  return theaterId === null ? workerClass : `${theaterId}/${workerClass}`;
}

/** What holds back work of a class in a theater, in words; null: nothing. */
export function pausedBy(
  pauses: Pauses,
  place: { theaterId: string; class?: string },
): string | null {
  const { theaterId, class: workerClass } = place;
  if (pauses.theaters.has(theaterId)) return `theater ${theaterId}`;
  if (workerClass === undefined) return null;
  const keys = [classKey(workerClass, null), classKey(workerClass, theaterId)];
  return keys.some((key) => pauses.classes.has(key)) ? `class ${workerClass}` : null;
}

export type SetPause = {
  garrisonId: string;
  /** Null for a class in all theaters. */
  theaterId: string | null;
  class?: string | undefined;
  paused: boolean;
  by?: string | undefined;
  reason?: string | undefined;
};

/** Holds back a theater or a class, or lets it go on; done already where it stands so. */
export function setPause(pauses: Pauses, command: SetPause): Decision {
  const { garrisonId, theaterId, class: workerClass, paused, by, reason } = command;
  if (theaterId === null && workerClass === undefined) throw new Error('nothing to pause is named');
  const [set, key, what] =
    workerClass === undefined
      ? ([pauses.theaters, theaterId ?? '', 'THEATER'] as const)
      : ([pauses.classes, classKey(workerClass, theaterId), 'CLASS'] as const);
  if (set.has(key) === paused) return decided();
  const type = `${what}_${paused ? 'PAUSED' : 'RESUMED'}` as const;
  return decided({
    type,
    payload: {
      ...(workerClass !== undefined && { class: workerClass }),
      ...(by !== undefined && { by }),
      ...(reason !== undefined && { reason: clip(reason) }),
    },
    garrison_id: garrisonId,
    theater_id: theaterId,
    run_id: null,
    order_id: null,
    unit_id: null,
    key: [theaterId ?? '', type, key, pauses.version].join('/'),
  } as EventDraft);
}
