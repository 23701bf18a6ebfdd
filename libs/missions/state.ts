import type { MissionEnvelope } from '#libs/contracts';
import type { MissionIdentity } from './envelope.ts';
import { isRollback, type Lane, type Origin, parseLane } from './lanes.ts';

/**
 * Where an event stands among those of its mission: Lamport clock, a step back out of review after
 * a forward step of the same clock, then node and id. Times are never asked.
 */
export type EventOrder = readonly [lamport: number, rollback: 0 | 1, nodeId: string, id: string];

type Placed<T> = { readonly order: EventOrder; readonly value: T };
type Payload = Readonly<Record<string, unknown>>;

/** Told when a mission is to be executed by the system itself, or no longer. */
export const RUN_REQUESTED = 'MissionRunRequested';

export type WorkPackageState = {
  readonly wp_id: string;
  /** Of the last transition; planned while there is none. */
  readonly lane: Lane;
  /** Actor of the last transition, who holds a claim; null while there is none. */
  readonly actor: string | null;
  readonly last_transition_at: string | null;
  readonly last_event_id: string | null;
  readonly transitions: number;
  readonly forced: number;
  readonly order: EventOrder | undefined;
  readonly created: Placed<{ title: string; dependencies: readonly string[] }> | undefined;
  readonly resolved: ReadonlySet<string>;
};

export type HistoryEntry = {
  readonly event_id: string;
  readonly history_entry_id: string | null;
  readonly wp_id: string;
  readonly at: string;
  readonly actor: string;
  readonly note: string;
  readonly order: EventOrder;
};

/** An acceptance or a merge. */
export type Closing = {
  readonly event_id: string;
  readonly at: string;
  readonly payload: Payload;
  readonly order: EventOrder;
};

export type MissionOrigin = { event_id: string; external_issue_key: string };

export type MissionState = {
  /** Ids of all events that are folded in; a repeated one changes nothing. */
  readonly ids: ReadonlySet<string>;
  readonly created: Placed<MissionIdentity & { target_branch: string | null }> | undefined;
  readonly wps: ReadonlyMap<string, WorkPackageState>;
  /** In the order of events, without those that were withdrawn. */
  readonly history: readonly HistoryEntry[];
  /** Ids (`hist-…`) of history entries that do not count, as their commit has failed. */
  readonly withdrawn: ReadonlySet<string>;
  readonly closings: readonly Closing[];
  /** By subtask id, as T001. */
  readonly subtasks: ReadonlyMap<string, Placed<{ wp_id: string; done: boolean }>>;
  /** Digest of the content that each artifact has now, by `artifactKey`. */
  readonly contents: ReadonlyMap<string, Placed<string>>;
  /** Every content that an artifact has had: its key, a space, the digest. */
  readonly received: ReadonlySet<string>;
  /** The tracker's issue that the mission came from; the first that was told. */
  readonly origin: Placed<MissionOrigin> | undefined;
  /** Payload of the last RUN_REQUESTED; undefined: the system was never asked to execute it. */
  readonly run: Placed<Payload> | undefined;
  /** Payload of the last ErrorLogged that tells of a refused merge (`merge_refused`). */
  readonly refusal: Placed<Payload> | undefined;
  /** Highest Lamport clock and time (ms) in the mission; 0: none. */
  readonly lamport: number;
  readonly lastMs: number;
};

export const initialState: MissionState = {
  ids: new Set(),
  created: undefined,
  wps: new Map(),
  history: [],
  withdrawn: new Set(),
  closings: [],
  subtasks: new Map(),
  contents: new Map(),
  received: new Set(),
  origin: undefined,
  run: undefined,
  refusal: undefined,
  lamport: 0,
  lastMs: 0,
};

/** Folds one event in; see `fold`. */
export function evolve(state: MissionState, event: MissionEnvelope): MissionState {
  return fold(state, [event]);
}

/**
 * Folds events in. Any order and any repeats of the same events give the same state: each part of
 * it is a union or the latest by `EventOrder`. Of two events with one id the first one folded
 * counts; the store refuses the other.
 */
export function fold(state: MissionState, events: readonly MissionEnvelope[]): MissionState {
  const next: Draft = {
    ...state,
    ids: new Set(state.ids),
    wps: new Map(state.wps),
    history: [...state.history],
    withdrawn: new Set(state.withdrawn),
    closings: [...state.closings],
    subtasks: new Map(state.subtasks),
    contents: new Map(state.contents),
    received: new Set(state.received),
  };
  for (const event of events) {
    if (next.ids.has(event.event_id)) continue;
    next.ids.add(event.event_id);
    next.lamport = Math.max(next.lamport, event.lamport_clock);
    next.lastMs = Math.max(next.lastMs, Date.parse(event.timestamp));
    apply(next, event);
  }
  next.history = next.history
    .filter(({ history_entry_id: id }) => id === null || !next.withdrawn.has(id))
    .sort(byOrder);
  next.closings.sort(byOrder);
  return next;
}

type Draft = {
  -readonly [K in keyof MissionState]: MissionState[K];
} & {
  ids: Set<string>;
  wps: Map<string, WorkPackageState>;
  history: HistoryEntry[];
  withdrawn: Set<string>;
  closings: Closing[];
  subtasks: Map<string, Placed<{ wp_id: string; done: boolean }>>;
  contents: Map<string, Placed<string>>;
  received: Set<string>;
};

function apply(next: Draft, event: MissionEnvelope): void {
  const { payload, event_id, timestamp: at } = event;
  const order = orderOf(event);
  switch (event.event_type) {
    case 'MissionCreated': {
      const { mission_slug, mission_number, mission_type, target_branch = null } = payload;
      const value = { mission_slug, mission_number, mission_type, target_branch };
      next.created = later(next.created, {
        order,
        value: value as NonNullable<Draft['created']>['value'],
      });
      break;
    }
    case 'WPCreated': {
      const { title, dependencies } = payload as { title: string; dependencies?: string[] | null };
      patch(next, event, (wp) => ({
        ...wp,
        created: later(wp.created, { order, value: { title, dependencies: dependencies ?? [] } }),
      }));
      break;
    }
    case 'WPStatusChanged':
      patch(next, event, (wp) => moved(wp, event, order));
      break;
    case 'DependencyResolved':
      patch(next, event, (wp) => ({
        ...wp,
        resolved: new Set(wp.resolved).add(String(payload.dependency_wp_id)),
      }));
      break;
    case 'HistoryAdded':
      applyHistory(next, event, order);
      break;
    case 'MissionClosed':
      next.closings.push({ event_id, at, payload, order });
      break;
    case 'MissionOriginBound': {
      const value = { event_id, external_issue_key: String(payload.external_issue_key) };
      const known = next.origin;
      if (known === undefined || compareOrder(order, known.order) < 0) {
        next.origin = { order, value };
      }
      break;
    }
    case 'MissionDossierBodyStored': {
      const key = artifactKey(payload.namespace, payload.artifact_path);
      const value = String(payload.content_hash);
      next.received.add(`${key} ${value}`);
      next.contents.set(key, later(next.contents.get(key), { order, value }));
      break;
    }
    case RUN_REQUESTED:
      next.run = later(next.run, { order, value: payload });
      break;
    case 'ErrorLogged':
      if (payload.merge_refused !== undefined) {
        next.refusal = later(next.refusal, { order, value: payload });
      }
      break;
    default:
    // The other types tell nothing that a board is made of.
  }
}

/** What tells one artifact of a mission from another: its namespace and its path. */
export function artifactKey(namespace: unknown, path: unknown): string {
  const { target_branch, mission_type, manifest_version } = (namespace ?? {}) as Fields;
  return JSON.stringify([target_branch, mission_type, manifest_version, path]);
}

type Fields = Record<string, unknown>;

function applyHistory(next: Draft, event: MissionEnvelope, order: EventOrder): void {
  const { payload, event_id, timestamp: at } = event;
  const { subtask, history_entry_id = null, author, entry_content, withdraws } = payload;
  const wp_id = String(payload.wp_id);
  if (typeof withdraws === 'string') {
    next.withdrawn.add(withdraws);
    return;
  }
  if (typeof subtask === 'object' && subtask !== null) {
    const { id, done } = subtask as { id?: unknown; done?: unknown };
    const value = { wp_id, done: done === true };
    next.subtasks.set(String(id), later(next.subtasks.get(String(id)), { order, value }));
  }
  next.history.push({
    event_id,
    history_entry_id: typeof history_entry_id === 'string' ? history_entry_id : null,
    wp_id,
    at,
    actor: typeof author === 'string' ? author : 'unknown',
    note: String(entry_content),
    order,
  });
}

function moved(wp: WorkPackageState, event: MissionEnvelope, order: EventOrder): WorkPackageState {
  const { payload, event_id, timestamp } = event;
  const lane = parseLane(String(payload.to_lane));
  // A lane of another version's: the event is known, the work package stays where it is.
  if (lane === undefined) return wp;
  const transitions = wp.transitions + 1;
  const forced = wp.forced + (payload.force === true ? 1 : 0);
  if (wp.order !== undefined && compareOrder(order, wp.order) < 0) {
    return { ...wp, transitions, forced };
  }
  const actor = String(payload.actor);
  return {
    ...wp,
    lane,
    actor,
    last_transition_at: timestamp,
    last_event_id: event_id,
    transitions,
    forced,
    order,
  };
}

function patch(
  next: Draft,
  event: MissionEnvelope,
  change: (wp: WorkPackageState) => WorkPackageState,
): void {
  const wpId = String(event.payload.wp_id);
  next.wps.set(wpId, change(next.wps.get(wpId) ?? untouched(wpId)));
}

/** A work package that no event has told of. */
export function untouched(wp_id: string): WorkPackageState {
  return {
    wp_id,
    lane: 'planned',
    actor: null,
    last_transition_at: null,
    last_event_id: null,
    transitions: 0,
    forced: 0,
    order: undefined,
    created: undefined,
    resolved: new Set(),
  };
}

export function orderOf(event: MissionEnvelope): EventOrder {
  const { from_lane, to_lane } = event.payload;
  const to = parseLane(String(to_lane));
  const back = to !== undefined && isRollback(from_lane as Origin, to);
  return [event.lamport_clock, back ? 1 : 0, event.node_id, event.event_id];
}

/** Negative: a comes before b. */
export function compareOrder(a: EventOrder, b: EventOrder): number {
  return a[0] - b[0] || a[1] - b[1] || compareText(a[2], b[2]) || compareText(a[3], b[3]);
}

/** By code units, so that it is the same everywhere. */
export function compareText(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

function byOrder(a: { order: EventOrder }, b: { order: EventOrder }): number {
  return compareOrder(a.order, b.order);
}

function later<T>(current: Placed<T> | undefined, next: Placed<T>): Placed<T> {
  return current === undefined || compareOrder(next.order, current.order) > 0 ? next : current;
}
