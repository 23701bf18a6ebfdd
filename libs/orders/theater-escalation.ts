import type { StoredEvent } from '#libs/contracts';
import { clip, type Decision, decided, type EventDraft } from './draft.ts';
import { deriveId } from './ids.ts';
import type { EscalateCommand } from './recovery.ts';

/** Escalations that are about no order, oldest first: the id, and whether somebody has seen it. */
export type EscalationBook = ReadonlyMap<string, { acked: boolean }>;

/** Escalations that a book holds; the oldest goes first. */
const BOOK_MAX = 10_000;

/** Folds the events of one theater's own subject, or of the garrison's, into its book. */
export function evolveEscalations(
  book: EscalationBook,
  events: readonly StoredEvent[],
): EscalationBook {
  const next = new Map(book);
  for (const event of events) {
    if (event.order_id !== null) continue;
    if (event.type === 'ESCALATION_RAISED') {
      const id = event.payload.escalation_id ?? event.event_id;
      if (!next.has(id)) next.set(id, { acked: false });
    } else if (event.type === 'ESCALATION_ACKED') {
      const id = event.payload.escalation_id;
      if (id !== undefined && next.has(id)) next.set(id, { acked: true });
    }
    if (next.size > BOOK_MAX) next.delete(next.keys().next().value as string);
  }
  return next;
}

/** What an escalation is about where it is about no order; no theater: the whole garrison. */
export type EscalationPlace = { garrisonId: string; theaterId: string | null };

/** The id of the escalation of a theater, or of the garrison, for one cause. */
export function theaterEscalationIdFor(place: EscalationPlace, cause: string): string {
  return deriveId('escalation', place.garrisonId, place.theaterId ?? '', '', cause);
}

/** Raises an escalation that is about no order, once for each cause. */
export function theaterEscalation(
  book: EscalationBook,
  command: EscalateCommand & EscalationPlace,
): Decision {
  const { severity, route, cause, causeEventId, garrisonId, theaterId } = command;
  const escalation_id = theaterEscalationIdFor(command, cause);
  if (book.has(escalation_id)) return decided();
  const draft: EventDraft = {
    type: 'ESCALATION_RAISED',
    payload: {
      escalation_id,
      severity,
      route,
      reason: clip(command.reason),
      ...(causeEventId !== undefined && { cause_event_id: causeEventId }),
    },
    garrison_id: garrisonId,
    theater_id: theaterId,
    run_id: null,
    order_id: null,
    unit_id: null,
    key: [theaterId ?? '', 'ESCALATION_RAISED', escalation_id].join('/'),
  };
  return decided(draft);
}
