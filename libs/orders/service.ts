import type { StoredEvent } from '#libs/contracts';
import { type Decision, decided, type EventDraft } from './draft.ts';
import { SERVICE_TRANSITIONS, type ServiceStatus } from './tables.ts';

/** What is known of one service that others depend on. */
export type ServiceState = Readonly<{
  service: string;
  garrison_id: string;
  status: ServiceStatus;
  reason: string | null;
  /** When it came to this status. */
  since: string;
  version: number;
}>;

/** Folds one event into a service; the edge counts, a repeated report changes nothing. */
export function evolveService(
  state: ServiceState | undefined,
  event: StoredEvent,
): ServiceState | undefined {
  if (event.type !== 'SERVICE_DEGRADED' && event.type !== 'SERVICE_RECOVERED') return state;
  const { service, reason } = event.payload;
  if (service === undefined || (state !== undefined && service !== state.service)) return state;
  if (event.seq <= (state?.version ?? 0)) return state;
  const status = SERVICE_TRANSITIONS[event.type]?.to ?? 'HEALTHY';
  if (status === state?.status) return { ...state, version: event.seq };
  const { garrison_id, ts: since, seq: version } = event;
  return { service, garrison_id, status, reason: reason ?? null, since, version };
}

/** What a probe found out; an event only on the edge. A service is taken for healthy at first. */
export function serviceEdge(
  state: ServiceState | undefined,
  probe: {
    service: string;
    garrisonId: string;
    healthy: boolean;
    reason: string;
    /** When it takes work again, where it said so. */
    resetsAt?: string;
  },
): Decision {
  const { service, garrisonId, healthy, reason, resetsAt } = probe;
  if (healthy === ((state?.status ?? 'HEALTHY') === 'HEALTHY')) return decided();
  const type = healthy ? 'SERVICE_RECOVERED' : 'SERVICE_DEGRADED';
  const draft: EventDraft = {
    type,
    payload: { service, reason, ...(resetsAt !== undefined && { resets_at: resetsAt }) },
    garrison_id: garrisonId,
    theater_id: null,
    run_id: null,
    order_id: null,
    unit_id: null,
    key: [type, service, state?.version ?? 0].join('/'),
  };
  return decided(draft);
}
