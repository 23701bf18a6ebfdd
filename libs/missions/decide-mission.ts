import { LIMITS } from '#libs/contracts';
import { type Board, viewOf } from './board.ts';
import { change, type Decided, locate, resolutions } from './decide.ts';
import type { EventDraft } from './envelope.ts';
import { GENESIS, type Lane } from './lanes.ts';
import { accept, isFilled, refuse, type Result } from './result.ts';
import type { MissionState } from './state.ts';

/**
 * Tells of a mission and its work packages what the stream does not know yet. Its events have ids
 * that follow from the mission, so that any number of processes may register it.
 */
export function register(board: Board, state: MissionState): EventDraft[] {
  const events: EventDraft[] = [];
  const { targetBranch: target_branch, wps } = board;
  if (state.created === undefined) {
    const payload = { target_branch, wp_count: wps.length };
    events.push({ type: 'MissionCreated', wpId: undefined, payload, key: 'created' });
  }
  for (const { wp_id, title, dependencies } of wps) {
    const known = state.wps.get(wp_id)?.created?.value;
    const same =
      known?.title === title && JSON.stringify(known.dependencies) === JSON.stringify(dependencies);
    if (same) continue;
    const payload = { wp_id, title, dependencies };
    // A changed title or dependency is a new fact, also when it is changed back.
    const key = known === undefined ? { key: `created/${wp_id}` } : {};
    events.push({ type: 'WPCreated', wpId: wp_id, payload, ...key });
  }
  return events;
}

/**
 * Seeds every work package that has no transition yet: genesis to planned. A mission of many is
 * stored in parts; what a killed one has left is seeded by the next.
 */
export function finalize(
  board: Board,
  state: MissionState,
  command: { actor: string },
): Result<Decided<{ finalized_wps: string[] }>> {
  if (board.wps.length > LIMITS.missionWorkPackages) {
    const limit = LIMITS.missionWorkPackages;
    const reason = `the mission has ${board.wps.length} work packages; the limit is ${limit}`;
    return refuse('USAGE_ERROR', { reason, limit });
  }
  const fresh = board.wps.filter(({ wp_id }) => (state.wps.get(wp_id)?.transitions ?? 0) === 0);
  const events = fresh.map(({ wp_id }) => ({
    ...change({ wpId: wp_id, actor: command.actor }, GENESIS, 'planned'),
    key: `genesis/${wp_id}`,
  }));
  const finalized_wps = fresh.map(({ wp_id }) => wp_id);
  const known = register(board, state);
  return accept({ events: [...known, ...events], answer: { finalized_wps }, inParts: true });
}

/** Adds a note to a work package's history; lanes stay. `entryId`: `hist-` and 32 hex digits. */
export function appendHistory(
  board: Board,
  state: MissionState,
  command: { wpId: string; actor: string; note: string; entryId: string },
): Result<Decided<{ wp_id: string; history_entry_id: string }>> {
  const { wpId, actor, note, entryId } = command;
  const found = locate(board, state, wpId);
  if (!found.ok) return found;
  if (note === '' || note.length > LIMITS.noteChars) {
    return refuse('USAGE_ERROR', {
      reason: `--note must have 1 to ${LIMITS.noteChars} characters`,
    });
  }
  const payload = {
    wp_id: wpId,
    entry_type: 'note',
    entry_content: note,
    author: actor,
    history_entry_id: entryId,
  };
  const answer = { wp_id: wpId, history_entry_id: entryId };
  const event: EventDraft = { type: 'HistoryAdded', wpId, payload, key: entryId };
  return accept({ events: [event], answer });
}

/** Takes a history entry back whose commit has failed: both stay in the log, neither is shown. */
export function withdrawHistory(
  board: Board,
  state: MissionState,
  command: { wpId: string; actor: string; entryId: string; reason: string },
): Result<Decided<{ history_entry_id: string }>> {
  const { wpId, actor, entryId, reason } = command;
  const found = locate(board, state, wpId);
  if (!found.ok) return found;
  const payload = {
    wp_id: wpId,
    entry_type: 'error',
    entry_content: `${entryId} was withdrawn: ${reason}`.slice(0, LIMITS.noteChars),
    author: actor,
    withdraws: entryId,
  };
  const event: EventDraft = { type: 'HistoryAdded', wpId, payload, key: `withdrawn/${entryId}` };
  return accept({ events: [event], answer: { history_entry_id: entryId } });
}

/** Ticks or unticks a subtask; the same again is done already. */
export function markSubtask(
  board: Board,
  state: MissionState,
  command: { wpId: string; subtask: string; done: boolean; actor: string },
): Result<Decided<{ changed: boolean }>> {
  const { wpId, subtask: id, done, actor } = command;
  const found = locate(board, state, wpId);
  if (!found.ok) return found;
  if (state.subtasks.get(id)?.value.done === done) {
    return accept({ events: [], answer: { changed: false } });
  }
  const payload = {
    wp_id: wpId,
    entry_type: 'comment',
    entry_content: `${id} ${done ? 'done' : 'open'}`,
    author: actor,
    subtask: { id, done },
  };
  return accept({ events: [{ type: 'HistoryAdded', wpId, payload }], answer: { changed: true } });
}

/** Every lane's work packages, and those that keep a mission from being accepted or merged. */
export function readiness(board: Board, state: MissionState) {
  const view = viewOf(board, state);
  const inLane = (lane: Lane) => view.filter((wp) => wp.lane === lane).map(({ wp_id }) => wp_id);
  const [approved_wps, done_wps, canceled] = [
    inLane('approved'),
    inLane('done'),
    inLane('canceled'),
  ];
  const settled = new Set([...approved_wps, ...done_wps, ...canceled]);
  const incomplete_wps = view.map(({ wp_id }) => wp_id).filter((id) => !settled.has(id));
  const accepted_wps = [...approved_wps, ...done_wps].sort();
  return { accepted_wps, approved_wps, done_wps, incomplete_wps };
}

export type Accepted = {
  accepted: true;
  mode: 'auto';
  accepted_at: string;
  accepted_wps: string[];
  approved_wps: string[];
  done_wps: string[];
  merge_pending_wps: string[];
};

/**
 * Accepts a mission whose work packages are approved, done or canceled. Each call is an acceptance
 * of its own.
 * @param command.workflowEvidenceMissing path of the evidence that a changed workflow lacks
 */
export function acceptMission(
  board: Board,
  state: MissionState,
  command: { actor: string; at: string; workflowEvidenceMissing?: string | undefined },
): Result<Decided<Accepted>> {
  const { actor, at, workflowEvidenceMissing: required_evidence_path } = command;
  const { incomplete_wps, accepted_wps, approved_wps, done_wps } = readiness(board, state);
  if (incomplete_wps.length > 0 || accepted_wps.length === 0) {
    return refuse('MISSION_NOT_READY', { incomplete_wps });
  }
  if (required_evidence_path !== undefined) {
    return refuse('WORKFLOW_EVIDENCE_REQUIRED', { required_evidence_path });
  }
  if (!isFilled(actor)) return refuse('USAGE_ERROR', { reason: '--actor must not be blank' });
  const payload = {
    total_wps: accepted_wps.length,
    completed_at: at,
    closing: 'accepted',
    accepted_by: actor,
  };
  const answer: Accepted = {
    accepted: true,
    mode: 'auto',
    accepted_at: at,
    accepted_wps,
    approved_wps,
    done_wps,
    merge_pending_wps: approved_wps,
  };
  return accept({ events: [{ type: 'MissionClosed', wpId: undefined, payload }], answer });
}

export type MergeRecord = {
  target: string;
  strategy: string;
  /** The commit that the target is at now; a merge is recorded once for each. */
  commit: string;
  at: string;
};

/** Why a mission may not be merged yet, for PREFLIGHT_FAILED; empty: it may. */
export function mergeFaults(board: Board, state: MissionState): string[] {
  const { incomplete_wps, accepted_wps } = readiness(board, state);
  if (accepted_wps.length === 0) return ['no work package is approved or done'];
  return incomplete_wps.map((id) => `${id} is neither approved nor done`);
}

/** Records a merge that has happened: approved work packages become done, actor `merge`. */
export function recordMerge(
  board: Board,
  state: MissionState,
  record: MergeRecord,
): Result<Decided<{ merged_wps: string[] }>> {
  const { target: target_branch, strategy, commit, at } = record;
  const { approved_wps, accepted_wps } = readiness(board, state);
  const known = state.closings.some(({ payload }) => payload.merge_commit === commit);
  if (known) return accept({ events: [], answer: { merged_wps: accepted_wps } });
  const moves = approved_wps.flatMap((wpId) => [
    change({ wpId, actor: 'merge', note: `merged as ${commit}` }, 'approved', 'done'),
    ...resolutions(board, state, wpId, 'done'),
  ]);
  const payload = {
    total_wps: accepted_wps.length,
    completed_at: at,
    closing: 'merged',
    target_branch,
    strategy,
    merge_commit: commit,
    merged_wps: accepted_wps,
  };
  const closed: EventDraft = { type: 'MissionClosed', wpId: undefined, payload };
  // The closing comes last: until it is there, the same record tells what is missing.
  const answer = { merged_wps: accepted_wps };
  return accept({ events: [...moves, closed], answer, inParts: true });
}
