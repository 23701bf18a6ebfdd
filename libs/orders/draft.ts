import type { AppError, ErrorCode, EventType, LedgerEvent, PayloadOf } from '#libs/contracts';
import { AppError as Refusal } from '#libs/contracts';
import type { OrderState } from './order-state.ts';
import type { RunState } from './run.ts';

/**
 * An event to append. The caller adds garrison, time and `event_id = eventIdFor(garrison, key)`:
 * the same decision on the same state has the same key, so a repeated handler writes nothing new.
 */
export type EventDraft = {
  [T in EventType]: {
    type: T;
    payload: PayloadOf<T>;
    theater_id: string | null;
    run_id: string | null;
    order_id: string | null;
    unit_id: string | null;
    key: string;
  };
}[EventType];

/** What a command leads to, or why it is refused. No events: it is done already. */
export type Result<T> = { ok: true; events: T } | { ok: false; error: AppError };
export type Decision = Result<EventDraft[]>;

/** The command is legal and leads to `events`, to be appended together. */
export function decided(...events: EventDraft[]): Decision {
  return { ok: true, events };
}

/** The command is refused with a code of the catalogue. */
export function refuse(code: ErrorCode, params: Record<string, string | number>): Decision {
  return { ok: false, error: new Refusal(code, params) };
}

/** Refuses `what` because of where the order stands. */
export function notPossible(what: string, status: string): Decision {
  return refuse('ILLEGAL_TRANSITION', { what, status });
}

/** The draft's key parts that tell one event of a type from the next of the same attempt. */
type More = { unitId?: string | null; key?: (string | number)[] };

/** Drafts an event of `order`; its key is of the current attempt and whatever `more.key` adds. */
export function orderEvent<T extends EventType>(
  order: OrderState,
  type: T,
  payload: PayloadOf<T>,
  more: More = {},
): EventDraft {
  const { theater_id, run_id, order_id, attempt } = order;
  const key = [theater_id, order_id, attempt, type, ...(more.key ?? [])].join('/');
  const unit_id = more.unitId ?? null;
  return { type, payload, theater_id, run_id, order_id, unit_id, key } as EventDraft;
}

/** Drafts an event of the run itself. */
export function runEvent<T extends EventType>(
  run: Pick<RunState, 'run_id' | 'theater_id'>,
  type: T,
  payload: PayloadOf<T>,
): EventDraft {
  const { theater_id, run_id } = run;
  const key = [theater_id, run_id, type].join('/');
  return { type, payload, theater_id, run_id, order_id: null, unit_id: null, key } as EventDraft;
}

/** The event that a draft becomes. */
export function toEvent(
  draft: EventDraft,
  given: { event_id: string; ts: string; garrison_id: string },
): LedgerEvent {
  const { key: _key, ...fields } = draft;
  return { ...given, ...fields } as LedgerEvent;
}
