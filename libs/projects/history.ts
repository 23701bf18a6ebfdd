import type { GateStatus } from './document.ts';
import type { StoredProjectEvent } from '#libs/contracts';
import { type ChainReport, verifyChain } from './chain.ts';
import { type Documents, evolveProject, isChainEvent } from './evolve.ts';
import type { HistoryHead } from './integrity.ts';
import type { ProjectState } from './state.ts';

/** Up to where history is looked at: a stream sequence, or a time (ISO-8601, UTC). */
export type AsOf = { seq: number } | { at: string };

/** The project as it was; undefined if it was not there yet. Events in stream order. */
export function projectAsOf(
  events: Iterable<StoredProjectEvent>,
  documents: Documents,
  asOf: AsOf,
): ProjectState | undefined {
  let state: ProjectState | undefined;
  for (const event of events) {
    const later = 'seq' in asOf ? event.seq > asOf.seq : isLater(event.timestamp, asOf.at);
    if (!later) state = evolveProject(state, event, documents);
  }
  return state;
}

function isLater(timestamp: string, at: string): boolean {
  return Date.parse(timestamp) > Date.parse(at);
}

/** One decision of a gate, or its reopening: who, what, why, and on what. */
export type DecisionRecord = {
  phase_id: string;
  decision: Exclude<GateStatus, 'pending'> | 'reopened';
  /** Notes of a decision, reason of a reopening. */
  notes: string;
  actor_id: string;
  timestamp: string;
  /** Place in the project's chain, and in the stream. */
  sequence: number;
  seq: number;
  /** The blocking artifacts at that time: status and digest. */
  basis: readonly { artifact_id: string; status: string; sha256: string }[];
};

/** Every decision that was ever made, oldest first. */
export function decisionsOf(events: Iterable<StoredProjectEvent>): DecisionRecord[] {
  const records: DecisionRecord[] = [];
  for (const event of events) {
    if (event.type !== 'GATE_DECIDED' && event.type !== 'GATE_REOPENED') continue;
    const { actor_id, timestamp, sequence, seq } = event;
    const decided = event.type === 'GATE_DECIDED';
    records.push({
      phase_id: event.payload.phase_id,
      decision: decided ? event.payload.decision : 'reopened',
      notes: decided ? event.payload.notes : event.payload.reason,
      actor_id,
      timestamp,
      sequence,
      seq,
      basis: decided ? event.payload.basis : [],
    });
  }
  return records;
}

/** Where the chain of a project stands, as it is exported with it. */
export function historyHead({ chain }: ProjectState): HistoryHead {
  return { entries: chain.entries, head: chain.head };
}

/**
 * Looks through a project's events for what was altered, taken out or cut off, and compares them
 * with a head that was exported. `broken_at` is the place in the chain.
 */
export function verifyHistory(
  events: Iterable<StoredProjectEvent>,
  exported?: HistoryHead,
): ChainReport {
  return verifyChain(chainEntries(events), exported);
}

/** The links of the chain as they were hashed: without the stream sequence they were stored at. */
function* chainEntries(events: Iterable<StoredProjectEvent>): Generator<unknown> {
  for (const event of events) {
    if (!isChainEvent(event)) continue;
    const { seq: _seq, ...entry } = event;
    yield entry;
  }
}
