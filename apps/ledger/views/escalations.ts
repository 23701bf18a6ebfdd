import type { z } from 'zod';
import type { API, StoredEvent } from '#libs/contracts';
import { aggregateView, type Reader, type View } from '#libs/projections';
import { type AsOf, list } from './lists.ts';

export type EscalationFilter = Omit<z.output<typeof API.ledger.escalations.input>, 'at_least'>;

/** What is known of an escalation: a pure function of the events that name it. */
export type EscalationState = {
  escalation_id: string;
  /** Sequence of ESCALATION_RAISED; 0: not seen. */
  seq: number;
  theater_id: string | null;
  run_id: string | null;
  order_id: string | null;
  severity: string;
  route: string;
  reason: string;
  raised_at: string;
  /** A person must decide until then. */
  decision_by: string | null;
  acked_at: string | null;
  acked_by: string | null;
  decided_at: string | null;
  decided_by: string | null;
  decision: 'approve' | 'deny' | 'timeout' | null;
  note: string | null;
};

/** The escalation that an event is about. */
export function escalationOf(event: StoredEvent): string | null {
  switch (event.type) {
    case 'ESCALATION_RAISED':
      return event.payload.escalation_id ?? event.event_id;
    case 'ESCALATION_ACKED':
    case 'DECISION_GIVEN':
      return event.payload.escalation_id ?? null;
    default:
      return null;
  }
}

/** Folds one event into its escalation; the first raise, acknowledgement and decision count. */
export function evolveEscalation(
  state: EscalationState | undefined,
  event: StoredEvent,
): EscalationState {
  const known = state ?? blank(escalationOf(event) ?? event.event_id, event.ts);
  const { ts } = event;
  if (event.type === 'ESCALATION_RAISED' && known.seq === 0) {
    const { theater_id, run_id, order_id, seq, payload } = event;
    return {
      ...known,
      theater_id,
      run_id,
      order_id,
      seq,
      severity: payload.severity ?? 'MEDIUM',
      route: payload.route ?? '',
      reason: payload.reason ?? '',
      raised_at: ts,
      decision_by: payload.decision_by ?? null,
    };
  }
  if (event.type === 'ESCALATION_ACKED' && known.acked_at === null) {
    const { by = null, note } = event.payload;
    return { ...known, acked_at: ts, acked_by: by, note: note ?? known.note };
  }
  if (event.type === 'DECISION_GIVEN' && known.decision === null) {
    const { decision, by = null, note } = event.payload;
    if (decision === undefined) return known;
    return { ...known, decided_at: ts, decided_by: by, decision, note: note ?? known.note };
  }
  return known;
}

function blank(escalation_id: string, raised_at: string): EscalationState {
  return {
    escalation_id,
    seq: 0,
    theater_id: null,
    run_id: null,
    order_id: null,
    severity: 'MEDIUM',
    route: '',
    reason: '',
    raised_at,
    decision_by: null,
    acked_at: null,
    acked_by: null,
    decided_at: null,
    decided_by: null,
    decision: null,
    note: null,
  };
}

/** Null for one that nobody has raised: it is in no list. */
function standing({ seq, decision, acked_at }: EscalationState): string | null {
  if (seq === 0) return null;
  if (decision !== null) return 'decided';
  return acked_at === null ? 'open' : 'acked';
}

export const escalationsView: View<StoredEvent> = aggregateView<StoredEvent, EscalationState>({
  name: 'escalations',
  version: 1,
  idOf: escalationOf,
  evolve: evolveEscalation,
  columns: {
    standing,
    theater_id: ({ theater_id }) => theater_id,
    run_id: ({ run_id }) => run_id,
  },
});

/** Escalations, newest first. @throws {INVALID_REQUEST} a cursor that is none */
export function listEscalations(
  reader: Reader,
  filter: EscalationFilter,
): { escalations: EscalationState[] } & AsOf {
  const { state, theater_id, run_id, escalation_id } = filter;
  const { rows, ...rest } = list<{ state: string }>(reader, 'escalations', 'seq', filter, [
    ['id = ?', escalation_id],
    // Above '' is every one that was raised.
    [state === undefined ? '+standing > ?' : 'standing = ?', state ?? ''],
    [state === undefined ? 'theater_id = ?' : '+theater_id = ?', theater_id],
    ['+run_id = ?', run_id],
  ]);
  return { escalations: rows.map((row) => JSON.parse(row.state) as EscalationState), ...rest };
}
