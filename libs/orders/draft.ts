import {
  AppError,
  type ErrorCode,
  type EventType,
  type LedgerEvent,
  LIMITS,
  type PayloadOf,
} from '#libs/contracts';
import type { OrderState } from './order-state.ts';
import type { RunState } from './run.ts';

/**
 * An event to append. The caller adds the time and `event_id = eventIdFor(garrison_id, key)`: the
 * same decision on the same state has the same key, so a repeated handler writes nothing new.
 */
export type EventDraft = {
  [T in EventType]: {
    type: T;
    payload: PayloadOf<T>;
    garrison_id: string;
    theater_id: string | null;
    run_id: string | null;
    order_id: string | null;
    unit_id: string | null;
    key: string;
    /**
     * Sequence at which the event's subject must stand; only on the first event of a subject in a
     * decision, as an atomic batch wants it.
     */
    expect?: number;
  };
}[EventType];

/** What a command leads to, or why it is refused. No events: it is done already. */
export type Result<T> = { ok: true; events: T } | { ok: false; error: AppError };
export type Decision = Result<EventDraft[]>;

/** The command is legal and leads to `events`, to be appended together. */
export function decided(...events: EventDraft[]): Decision {
  const begun = new Set<string | null>();
  for (const event of events) {
    if (begun.has(event.order_id)) delete event.expect;
    begun.add(event.order_id);
  }
  return { ok: true, events };
}

/** The command is refused. */
export function refused(error: AppError): Decision {
  return { ok: false, error };
}

/** The command is refused with a code of the catalogue. */
export function refuse(code: ErrorCode, params: Record<string, string | number>): Decision {
  return refused(new AppError(code, params));
}

/** Refuses `what` because of where its subject stands. */
export function notPossible(what: string, status: string): Decision {
  return refuse('ILLEGAL_TRANSITION', { what, status });
}

/** Longest reason or message in an event; what is longer is cut. */
const REASON_CHARS = 2_000;

/** Cuts a reason or a message to what an event may hold. */
export function clip(text: string): string {
  return text.slice(0, REASON_CHARS);
}

/** A list inside one event may take this much of LIMITS.eventBytes. */
const LIST_BYTES = LIMITS.eventBytes / 2;

/** The first of `items` that fit into an event; the whole list is always told elsewhere too. */
export function fitting<T>(items: readonly T[]): T[] {
  let bytes = 0;
  return items.filter((item) => {
    bytes += Buffer.byteLength(JSON.stringify(item)) + 1;
    return bytes <= LIST_BYTES;
  });
}

type More = {
  unitId?: string | null;
  /** Tells this event from others of its type in the same attempt. */
  key?: (string | number)[];
};

/** Drafts an event of `order`; its key is of the current attempt and whatever `more.key` adds. */
export function orderEvent<T extends EventType>(
  order: OrderState,
  type: T,
  payload: PayloadOf<T>,
  more: More = {},
): EventDraft {
  const { garrison_id, theater_id, run_id, order_id, attempt } = order;
  return {
    type,
    payload,
    garrison_id,
    theater_id,
    run_id,
    order_id,
    unit_id: more.unitId ?? null,
    key: [theater_id, order_id, attempt, type, ...(more.key ?? [])].join('/'),
    expect: order.subject_seq,
  } as EventDraft;
}

type RunPlace = Pick<RunState, 'garrison_id' | 'theater_id' | 'run_id' | 'subject_seq'>;

/** Drafts an event of the run itself; `more` tells it from others of its type. */
export function runEvent<T extends EventType>(
  run: RunPlace,
  type: T,
  payload: PayloadOf<T>,
  more: (string | number)[] = [],
): EventDraft {
  const { garrison_id, theater_id, run_id } = run;
  return {
    type,
    payload,
    garrison_id,
    theater_id,
    run_id,
    order_id: null,
    unit_id: null,
    key: [theater_id, run_id, type, ...more].join('/'),
    expect: run.subject_seq,
  } as EventDraft;
}

/** The event that a draft becomes. */
export function toEvent(draft: EventDraft, given: { event_id: string; ts: string }): LedgerEvent {
  const { key: _key, expect: _expect, ...fields } = draft;
  return { ...given, ...fields } as LedgerEvent;
}
