import type { MissionEnvelope } from '#libs/contracts';
import {
  type Board,
  type Closing,
  compareOrder,
  type EventOrder,
  type MissionState,
  type Policy,
  readiness,
  readyOf,
  type WorkPackageState,
} from '#libs/missions';

/** Who holds a claim while a unit of the system works on it, and who while a second one reviews. */
export const IMPLEMENTER = 'ironclaw';
export const REVIEWER = 'ironclaw-review';

export const MERGES = ['merge', 'squash', 'rebase', 'none'] as const;

/** How a mission is to be executed, as RUN_REQUESTED tells it. */
export type RunSettings = {
  active: boolean;
  /** `person`: reviews are left to people. */
  review: 'unit' | 'person';
  /** How the lanes are merged once all is accepted; `none`: that is left to others. */
  merge: (typeof MERGES)[number];
  theater_id: string | null;
  playbook: string | null;
  /** Goes up by one with each time that a refused merge is to be tried again. */
  merge_attempt: number;
};

export type Step =
  | {
      kind: 'start' | 'implement' | 'start review' | 'review';
      wpId: string;
      /** The lane event that the step comes of; it names the run of the step. */
      eventId: string | null;
    }
  | EndStep;

/** What is left once every work package is settled. */
export type EndStep = {
  kind: 'accept' | 'merge';
  /** Event that it comes of: the last move of a work package, or the acceptance. */
  of: string;
};

/** Where a mission that is executed stands. */
export type Standing =
  | 'running'
  | 'blocked'
  | 'stopped'
  | 'merge refused'
  /** By its settings no merge follows. */
  | 'accepted'
  | 'merged';

/** So often a review sends a work package back; the next time it is blocked, for a person. */
export const REJECTIONS_MAX = 3;

/** What was asked for last; undefined: nothing was. */
export function settingsOf({ run }: MissionState): RunSettings | undefined {
  return run === undefined ? undefined : readSettings(run.value);
}

/** The settings that an event tells; what it does not tell is as by default. */
export function readSettings(payload: Readonly<Record<string, unknown>>): RunSettings {
  const { active, review, merge, merge_attempt: attempt } = payload;
  const text = (value: unknown): string | null => (typeof value === 'string' ? value : null);
  return {
    active: active === true,
    review: review === 'person' ? 'person' : 'unit',
    merge: MERGES.find((name) => name === merge) ?? 'merge',
    theater_id: text(payload.theater_id),
    playbook: text(payload.playbook),
    merge_attempt: typeof attempt === 'number' ? attempt : 1,
  };
}

/** What is to be done now, from the state alone; what others have claimed is left to them. */
export function stepsOf(board: Board, state: MissionState, settings: RunSettings): Step[] {
  if (!settings.active) return [];
  const starts = readyOf(board, state).map(
    ({ wp_id: wpId }): Step => ({ kind: 'start', wpId, eventId: null }),
  );
  const others = [...state.wps.values()].flatMap((wp): Step[] => {
    const kind = kindOf(wp, settings);
    return kind === undefined ? [] : [{ kind, wpId: wp.wp_id, eventId: wp.last_event_id }];
  });
  return [...starts, ...others, ...endOf(board, state, settings)];
}

function kindOf({ lane, actor }: WorkPackageState, { review }: RunSettings) {
  if (lane === 'claimed' && actor === IMPLEMENTER) return 'start';
  // After a rejection the last actor is the reviewer.
  if (lane === 'in_progress' && (actor === IMPLEMENTER || actor === REVIEWER)) return 'implement';
  if (review === 'person') return undefined;
  if (lane === 'for_review' && actor === IMPLEMENTER) return 'start review';
  return lane === 'in_review' && actor === REVIEWER ? 'review' : undefined;
}

/** Acceptance, once nothing is open and nobody has accepted since; then the merge. */
function endOf(board: Board, state: MissionState, settings: RunSettings): EndStep[] {
  const step = nextEnd(board, state, settings);
  return step === undefined || isRefused(state, settings, step) ? [] : [step];
}

function nextEnd(board: Board, state: MissionState, { merge }: RunSettings): EndStep | undefined {
  const last = lastMove(state);
  if (last === undefined || !isComplete(board, state)) return undefined;
  if (closedAs('merged', state, last) !== undefined) return undefined;
  const acceptance = closedAs('accepted', state, last);
  if (acceptance === undefined) return { kind: 'accept', of: last[3] };
  return merge === 'none' ? undefined : { kind: 'merge', of: acceptance.event_id };
}

/** Every work package is approved, done or canceled, and not all are canceled. */
function isComplete(board: Board, state: MissionState): boolean {
  const { incomplete_wps, accepted_wps } = readiness(board, state);
  return incomplete_wps.length === 0 && accepted_wps.length > 0;
}

/** The last closing of a kind, if no work package has moved since. */
function closedAs(
  closing: 'accepted' | 'merged',
  { closings }: MissionState,
  move: EventOrder,
): Closing | undefined {
  const last = closings.findLast(({ payload }) => payload.closing === closing);
  return last !== undefined && compareOrder(move, last.order) < 0 ? last : undefined;
}

/** Where the last change of a lane stands; its last part is the event's id. */
function lastMove({ wps }: MissionState): EventOrder | undefined {
  const orders = [...wps.values()].flatMap(({ order }) => (order === undefined ? [] : [order]));
  return orders.sort(compareOrder).at(-1);
}

/** An end is tried once for each event it comes of, and once more whenever somebody asks for it. */
function isRefused(
  { refusal }: MissionState,
  { merge_attempt }: RunSettings,
  { of }: EndStep,
): boolean {
  const told = refusal?.value.merge_refused as Partial<MergeRefused> | undefined;
  return told?.attempt === merge_attempt && told.of === of;
}

/** What an event tells of a refused acceptance or merge beside its message. */
export type MergeRefused = { attempt: number; of: string; code: string; errors: string[] };

/** Lanes in which somebody is at work, or about to be. */
const MOVING = new Set<string>(['claimed', 'in_progress', 'for_review', 'in_review']);

/** Where a mission stands under its settings; a function of its events alone. */
export function standingOf(board: Board, state: MissionState, settings: RunSettings): Standing {
  const step = nextEnd(board, state, settings);
  const last = lastMove(state);
  if (step === undefined && last !== undefined && isComplete(board, state)) {
    return closedAs('merged', state, last) === undefined ? 'accepted' : 'merged';
  }
  if (!settings.active) return 'stopped';
  if (step !== undefined) return isRefused(state, settings, step) ? 'merge refused' : 'running';
  if (stepsOf(board, state, settings).length > 0) return 'running';
  return [...state.wps.values()].some(({ lane }) => MOVING.has(lane)) ? 'running' : 'blocked';
}

/** The board as the events alone tell of it; undefined: nothing has told of the mission. */
export function boardOfState(state: MissionState): Board | undefined {
  if (state.created === undefined) return undefined;
  const { target_branch: targetBranch, ...identity } = state.created.value;
  const wps = [...state.wps.values()].map(({ wp_id, created }) => ({
    wp_id,
    title: created?.value.title ?? wp_id,
    dependencies: created?.value.dependencies ?? [],
  }));
  return { identity, targetBranch, wps };
}

/** What the events of a work package tell since it was planned last. */
export type Past = {
  /** The run whose result was sent to review last. */
  work: string | undefined;
  /** The run whose review has sent it back last. */
  rejection: string | undefined;
  rejections: number;
};

/** Takes the events of a mission, oldest first. */
export function pastOf(events: Iterable<MissionEnvelope>, wpId: string): Past {
  let past: Past = { work: undefined, rejection: undefined, rejections: 0 };
  for (const { payload } of events) {
    const { wp_id, from_lane, to_lane, review_ref } = payload;
    if (wp_id !== wpId || typeof to_lane !== 'string') continue;
    const run = typeof review_ref === 'string' ? review_ref : undefined;
    if (to_lane === 'planned') past = { work: undefined, rejection: undefined, rejections: 0 };
    else if (to_lane === 'for_review') past = { ...past, work: run };
    else if (from_lane === 'in_review' && to_lane === 'in_progress') {
      past = { ...past, rejection: run, rejections: past.rejections + 1 };
    }
  }
  return past;
}

/** The verdict that a review's answer gives on a line of its own; undefined: none, or both. */
export function verdictOf(reply: string): 'approved' | 'changes_requested' | undefined {
  const found = reply.matchAll(/^\W*VERDICT:\W*(approved|changes_requested)\b/gim);
  const words = new Set([...found].map(([, word = '']) => word.toLowerCase()));
  if (words.size !== 1) return undefined;
  return words.has('approved') ? 'approved' : 'changes_requested';
}

/** The rules under which units of the system work. */
export function ownPolicy(version: string): Policy {
  return {
    orchestrator_id: 'ironclaw',
    orchestrator_version: version,
    agent_family: 'ironclaw',
    approval_mode: 'supervised',
    sandbox_mode: 'workspace_write',
    network_mode: 'none',
    dangerous_flags: [],
    tool_restrictions: null,
  };
}
