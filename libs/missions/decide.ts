import { type Board, findWp, unsatisfied, viewOf } from './board.ts';
import type { EventDraft } from './envelope.ts';
import {
  guardsOf,
  EDGES,
  type Guard,
  type Lane,
  type Origin,
  parseLane,
  satisfies,
} from './lanes.ts';
import type { Policy } from './policy.ts';
import { accept, isFilled, refuse, rejected, type Result } from './result.ts';
import { evidenceFault, reviewResultFault } from './review.ts';
import type { MissionState, WorkPackageState } from './state.ts';

/** What a command leads to, and what it answers. */
export type Decided<A> = {
  events: readonly EventDraft[];
  answer: A;
  /**
   * The events may be stored a part at a time where they are more than one commit holds: decided
   * again after a part, the rest comes out.
   */
  inParts?: true;
};
export type Moved = { from_lane: Lane; to_lane: Lane; no_op: boolean };

/** How the work is done; it stands in every transition. */
export type ExecutionMode = 'worktree' | 'direct_repo';

export type StartCommand = {
  wpId: string;
  actor: string;
  policy: Policy | undefined;
  mode?: ExecutionMode;
  reviewRef?: string | undefined;
};

export type TransitionCommand = {
  wpId: string;
  /** As the caller wrote it. */
  to: string;
  actor: string;
  note?: string | undefined;
  policy?: Policy | undefined;
  force?: boolean;
  reviewRef?: string | undefined;
  evidence?: Record<string, unknown> | undefined;
  reviewResult?: Record<string, unknown> | undefined;
  mode?: ExecutionMode;
  facts: {
    /** No open box in the work package's section of tasks.md, or the caller's word. */
    subtasksComplete: boolean;
    /** The caller's word; undefined: any earlier event of the work package is evidence. */
    implementationEvidence?: boolean | undefined;
  };
};

/** Actors of automatic steps, whose claims a person or an orchestrator may take over. */
const ANONYMOUS: ReadonlySet<string> = new Set(['unknown', 'implement-command']);

/**
 * Claims a work package and starts it: two transitions in one decision. The same actor again is
 * done already, another one is refused.
 */
export function startImplementation(
  board: Board,
  state: MissionState,
  command: StartCommand,
): Result<Decided<Moved>> {
  const found = locate(board, state, command.wpId);
  if (!found.ok) return found;
  const wp = found.value;
  const { wpId, actor } = command;
  if (!isFilled(actor)) return rejected('An actor is needed to claim');
  const answer = (no_op: boolean): Moved => ({ from_lane: wp.lane, to_lane: 'in_progress', no_op });
  if (wp.lane === 'claimed' || wp.lane === 'in_progress') {
    const mine = wp.actor === actor || wp.actor === null || ANONYMOUS.has(wp.actor);
    if (!mine) return alreadyClaimed(wp, actor);
    if (wp.lane === 'in_progress') return accept({ events: [], answer: answer(true) });
  } else if (wp.lane !== 'planned') {
    return rejected(`Illegal transition: ${wp.lane} -> in_progress`);
  }
  const waiting = unsatisfied(board, state, wpId);
  if (waiting.length > 0) {
    return refuse('DEPENDENCIES_NOT_SATISFIED', { wp_id: wpId, unsatisfied_dependencies: waiting });
  }
  const start = change(command, 'claimed', 'in_progress');
  const assigned = assignment(wp, actor, 'implementation');
  if (wp.lane === 'claimed') return accept({ events: [start, assigned], answer: answer(false) });
  const claim = change(command, 'planned', 'claimed');
  return accept({ events: [claim, start, assigned], answer: answer(false) });
}

/** Claims a review: for_review to in_review, once. */
export function startReview(
  board: Board,
  state: MissionState,
  command: StartCommand,
): Result<Decided<Moved>> {
  const found = locate(board, state, command.wpId);
  if (!found.ok) return found;
  const wp = found.value;
  const { actor } = command;
  if (!isFilled(actor)) return rejected('An actor is needed to review');
  if (wp.lane === 'in_review') {
    if (wp.actor !== actor) return alreadyClaimed(wp, actor);
    const answer: Moved = { from_lane: 'in_review', to_lane: 'in_review', no_op: true };
    return accept({ events: [], answer });
  }
  if (wp.lane !== 'for_review') return rejected(`Illegal transition: ${wp.lane} -> in_review`);
  const events = [change(command, wp.lane, 'in_review'), assignment(wp, actor, 'review')];
  return accept({ events, answer: { from_lane: wp.lane, to_lane: 'in_review', no_op: false } });
}

/** Moves a work package to a lane, if edge and guards allow it or it is forced with a reason. */
export function transition(
  board: Board,
  state: MissionState,
  command: TransitionCommand,
): Result<Decided<Moved>> {
  const found = locate(board, state, command.wpId);
  if (!found.ok) return found;
  const wp = found.value;
  const from = wp.lane;
  const to = parseLane(command.to);
  if (to === undefined) return rejected(`Unknown lane: ${command.to.slice(0, 100)}`);
  if (command.force === true) {
    if (!isFilled(command.actor)) return rejected('--force needs an actor');
    if (!isFilled(command.note)) return rejected('--force needs a note');
  } else {
    if (!EDGES[from].includes(to)) return rejected(`Illegal transition: ${from} -> ${to}`);
    if (!isFilled(command.actor)) return rejected('An actor is needed');
    for (const guard of guardsOf(from, to)) {
      const fault = GUARD_FAULTS[guard](command, wp, to);
      if (fault !== undefined) return rejected(`${from} -> ${to}: ${fault}`, { guard });
    }
  }
  const events = [change(command, from, to), ...resolutions(board, state, wp.wp_id, to)];
  return accept({ events, answer: { from_lane: from, to_lane: to, no_op: false } });
}

/** Brings a blocked work package back: planned, so that whoever is next may start it anew. */
export function retry(
  board: Board,
  state: MissionState,
  command: { wpId: string; actor: string; note: string },
): Result<Decided<Moved>> {
  const found = locate(board, state, command.wpId);
  if (!found.ok) return found;
  const { lane } = found.value;
  if (lane !== 'blocked') return rejected(`${command.wpId} is ${lane}, not blocked`);
  if (!isFilled(command.actor)) return rejected('An actor is needed');
  const events = [
    change(command, 'blocked', 'in_progress'),
    change(command, 'in_progress', 'planned'),
  ];
  return accept({ events, answer: { from_lane: lane, to_lane: 'planned', no_op: false } });
}

type Fault = (command: TransitionCommand, wp: WorkPackageState, to: Lane) => string | undefined;

const GUARD_FAULTS: Readonly<Record<Guard, Fault>> = {
  actor: ({ actor }) => (isFilled(actor) ? undefined : 'an actor is needed'),
  // The host gives every work package its workspace.
  workspace: () => undefined,
  finished: ({ facts }, wp) => {
    if (!facts.subtasksComplete) return 'subtasks are open';
    const shown = facts.implementationEvidence ?? wp.transitions > 0;
    return shown ? undefined : 'there is no evidence of an implementation';
  },
  evidence: ({ evidence }) => evidenceFault(evidence),
  note: ({ note }) => (isFilled(note) ? undefined : 'a note is needed'),
  review_ref: ({ reviewRef }) => (isFilled(reviewRef) ? undefined : 'a review reference is needed'),
  review_result: ({ reviewResult, reviewRef, evidence }, _wp, to) =>
    reviewResultFault(reviewResult, to, { reviewRef, evidence }),
};

/** Tells once, of each work package that waited for this one, that it no longer does. */
export function resolutions(
  board: Board,
  state: MissionState,
  wpId: string,
  to: Lane,
): EventDraft[] {
  if (!satisfies(to)) return [];
  const waiting = viewOf(board, state).filter(
    ({ wp_id, dependencies }) =>
      dependencies.includes(wpId) && state.wps.get(wp_id)?.resolved.has(wpId) !== true,
  );
  return waiting.map(({ wp_id }) => ({
    type: 'DependencyResolved',
    wpId: wp_id,
    payload: { wp_id, dependency_wp_id: wpId, resolution_type: 'completed' },
  }));
}

/** WP_NOT_FOUND, or the state of the work package. */
export function locate(board: Board, state: MissionState, wpId: string): Result<WorkPackageState> {
  const wp = findWp(board, state, wpId);
  const mission = board.identity.mission_slug;
  return wp === undefined ? refuse('WP_NOT_FOUND', { wp_id: wpId, mission }) : accept(wp);
}

function alreadyClaimed(wp: WorkPackageState, actor: string): Result<never> {
  const claimed_by = wp.actor ?? 'unknown';
  return refuse('WP_ALREADY_CLAIMED', { wp_id: wp.wp_id, claimed_by, requesting_actor: actor });
}

type Change = Partial<TransitionCommand> & Pick<TransitionCommand, 'wpId' | 'actor'>;

/** The event of one transition. A review that approves is its own evidence. */
export function change(command: Change, from: Origin, to: Lane): EventDraft {
  const { wpId, actor, policy, note, evidence, reviewResult, force = false } = command;
  const { mode = 'worktree' } = command;
  const reference = reviewResult?.reference;
  const review_ref = command.reviewRef ?? (typeof reference === 'string' ? reference : null);
  const approves = to === 'approved' || to === 'done';
  const shown = evidence ?? (approves && reviewResult !== undefined ? shownBy(reviewResult) : null);
  return {
    type: 'WPStatusChanged',
    wpId,
    payload: {
      wp_id: wpId,
      from_lane: from,
      to_lane: to,
      actor,
      force,
      reason: isFilled(note) ? note : null,
      review_ref,
      execution_mode: mode,
      evidence: shown,
      policy_metadata: policy ?? null,
      ...(reviewResult !== undefined && { review_result: reviewResult }),
    },
  };
}

function shownBy({ reviewer, verdict, reference }: Record<string, unknown>) {
  return { review: { reviewer, verdict, reference } };
}

function assignment(
  wp: WorkPackageState,
  actor: string,
  phase: 'implementation' | 'review',
): EventDraft {
  const payload = { wp_id: wp.wp_id, agent_id: actor, phase };
  return { type: 'WPAssigned', wpId: wp.wp_id, payload };
}
