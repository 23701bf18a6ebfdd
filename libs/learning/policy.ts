import type { ObjectRef, StoredEvent } from '#libs/contracts';

/** One version of a theater's policy, as its event tells it. */
export type PolicyVersion = {
  version: number;
  previous_version: number | null;
  reason: string;
  /** The whole document. */
  document: ObjectRef;
  window: { from_seq: number; to_seq: number };
  by: string | null;
  ts: string;
  seq: number;
};

/** A theater's policy: a pure function of its POLICY_UPDATED events, in stream order. */
export type PolicyState = Readonly<{
  /** Oldest first; the last one is in force. */
  versions: readonly PolicyVersion[];
  /** True: learning makes no newer one. */
  pinned: boolean;
  /** Sequence of the last event that counted. */
  seq: number;
}>;

export const EMPTY_POLICY: PolicyState = { versions: [], pinned: false, seq: 0 };

/** Versions that are kept; older ones are still in the ledger. */
const VERSIONS_MAX = 1_000;

/**
 * Folds one event. A version counts if it follows the last one; the last one told again only pins or
 * unpins it. Anything else changes nothing.
 */
export function evolvePolicy(state: PolicyState, event: StoredEvent): PolicyState {
  if (event.type !== 'POLICY_UPDATED' || event.seq <= state.seq) return state;
  const { policy_version: version, pinned, document, window } = event.payload;
  const last = state.versions.at(-1);
  if (typeof version !== 'number') return state;
  if (version === last?.version) {
    return pinned === undefined ? state : { ...state, pinned, seq: event.seq };
  }
  const follows = version === (last?.version ?? 0) + 1;
  if (!follows || document === undefined || window === undefined) return state;
  const next: PolicyVersion = {
    version,
    previous_version: last?.version ?? null,
    reason: event.payload.reason ?? '',
    document,
    window: { from_seq: window.from_seq, to_seq: window.to_seq },
    by: event.payload.by ?? null,
    ts: event.ts,
    seq: event.seq,
  };
  const versions = [...state.versions.slice(1 - VERSIONS_MAX), next];
  return { versions, pinned: pinned ?? false, seq: event.seq };
}

/** The version in force. */
export function latestVersion(state: PolicyState): PolicyVersion | undefined {
  return state.versions.at(-1);
}

/** A version by its number. */
export function versionOf(state: PolicyState, version: number): PolicyVersion | undefined {
  return state.versions.find((one) => one.version === version);
}
