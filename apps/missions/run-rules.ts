import {
  type Board,
  type MissionState,
  readyOf,
  type Policy,
  type WorkPackageState,
} from '#libs/missions';

/** Who holds a claim while a unit of the system works on it, and who while a second one reviews. */
export const IMPLEMENTER = 'ironclaw';
export const REVIEWER = 'ironclaw-review';

/** Told when a mission is to be executed by the system, or no longer. */
export const RUN_REQUESTED = 'MissionRunRequested';

export type RunSettings = {
  active: boolean;
  /** `person`: reviews are left to people. */
  review: 'unit' | 'person';
  theater_id: string | null;
  playbook: string | null;
};

export type Step = {
  kind: 'start' | 'implement' | 'start review' | 'review';
  wpId: string;
  /** Names the run of this step: the lane event that it comes of. */
  requestId: string;
  /** Sent back so often that the next time it is blocked, for a person to look at. */
  isLastRound: boolean;
};

/** Lane changes of a start and of so many rounds of work, review claim and rejection. */
const TRANSITIONS_MAX = 2 + 3 * 4;

/** What is to be done now, from the state alone; what others have claimed is left to them. */
export function stepsOf(board: Board, state: MissionState, settings: RunSettings): Step[] {
  if (!settings.active) return [];
  const starts = readyOf(board, state).map(
    ({ wp_id: wpId }): Step => ({ kind: 'start', wpId, requestId: '', isLastRound: false }),
  );
  const others = [...state.wps.values()].flatMap((wp): Step[] => {
    const kind = kindOf(wp, settings);
    if (kind === undefined) return [];
    const isLastRound = wp.transitions >= TRANSITIONS_MAX;
    const requestId = `wp-event/${wp.last_event_id ?? ''}`;
    return [{ kind, wpId: wp.wp_id, requestId, isLastRound }];
  });
  return [...starts, ...others];
}

function kindOf(
  { lane, actor }: WorkPackageState,
  { review }: RunSettings,
): Step['kind'] | undefined {
  if (lane === 'claimed' && actor === IMPLEMENTER) return 'start';
  // After a rejection the last actor is the reviewer.
  if (lane === 'in_progress' && (actor === IMPLEMENTER || actor === REVIEWER)) return 'implement';
  if (review === 'person') return undefined;
  if (lane === 'for_review' && actor === IMPLEMENTER) return 'start review';
  return lane === 'in_review' && actor === REVIEWER ? 'review' : undefined;
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
