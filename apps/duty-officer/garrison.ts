import type { Role, StoredEvent } from '#libs/contracts';
import {
  type Decision,
  eventIdFor,
  evolveService,
  serviceEdge,
  type ServiceState,
} from '#libs/orders';

/** What the duty officers of a garrison know together: a pure function of its own events. */
export type GarrisonState = Readonly<{
  /** Services that were told of, by name. */
  services: Readonly<Record<string, ServiceState>>;
  /** Roles that have answered at least once. */
  roles: readonly string[];
  /** Ids of the newest ticks, oldest first. */
  ticks: readonly string[];
}>;

export const NO_GARRISON: GarrisonState = { services: {}, roles: [], ticks: [] };

/** Far more than can be under way at once. */
const TICKS_KEPT = 64;
const NAMES_MAX = 100;

/** Folds events of the garrison's own subject. */
export function evolveGarrison(
  state: GarrisonState,
  events: readonly StoredEvent[],
): GarrisonState {
  return events.reduce(evolve, state);
}

function evolve(state: GarrisonState, event: StoredEvent): GarrisonState {
  if (event.type === 'PATROL_TICK') {
    const roles = new Set([...state.roles, ...(event.payload.roles ?? [])]);
    const ticks = [...state.ticks.slice(1 - TICKS_KEPT), event.event_id];
    return { ...state, ticks, roles: [...roles].slice(0, NAMES_MAX) };
  }
  if (event.type !== 'SERVICE_DEGRADED' && event.type !== 'SERVICE_RECOVERED') return state;
  const { service } = event.payload;
  if (service === undefined) return state;
  const known = Object.hasOwn(state.services, service) ? state.services[service] : undefined;
  if (known === undefined && Object.keys(state.services).length >= NAMES_MAX) return state;
  const next = evolveService(known, event);
  if (next === undefined) return state;
  return { ...state, services: { ...state.services, [service]: next } };
}

/** What makes a tick the one that it is: the start of a period, or a request. */
export type Tick = { cause: string; period?: number; source: string };

export function tickKey({ cause }: Tick): string {
  return `PATROL_TICK/${cause}`;
}

/** Tells a tick, once: no events where it was told before. */
export function tellTick(
  state: GarrisonState,
  tick: Tick,
  about: { garrisonId: string; periodMs: number; roles: readonly Role[] },
): Decision {
  const { garrisonId, periodMs, roles } = about;
  const key = tickKey(tick);
  if (state.ticks.includes(eventIdFor(garrisonId, key))) return { ok: true, events: [] };
  const { source, period } = tick;
  const payload = {
    source,
    period_ms: periodMs,
    ...(period !== undefined && { period }),
    roles: [...roles],
  };
  const place = { theater_id: null, run_id: null, order_id: null, unit_id: null };
  return {
    ok: true,
    events: [{ type: 'PATROL_TICK', payload, garrison_id: garrisonId, ...place, key }],
  };
}

/** What a look at one service found. */
export type Probe = { service: Role; healthy: boolean; reason: string };

/** Services that are missed where they do not answer: told of or heard of before, or configured. */
export function expectedOf(state: GarrisonState, configured: readonly string[]): Set<string> {
  return new Set([...configured, ...state.roles, ...Object.keys(state.services)]);
}

/** SERVICE_DEGRADED and SERVICE_RECOVERED of those that have changed. */
export function tellEdges(
  state: GarrisonState,
  probes: readonly Probe[],
  garrisonId: string,
): Decision {
  const decisions = probes.map((probe) =>
    serviceEdge(state.services[probe.service], { ...probe, garrisonId }),
  );
  return { ok: true, events: decisions.flatMap((one) => (one.ok ? one.events : [])) };
}
