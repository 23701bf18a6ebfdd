import { ABSENT, type StoredEvent } from '#libs/contracts';
import { type Decision, decided, refuse } from './draft.ts';

/** What is known of a theater. */
export type TheaterState = Readonly<{
  theater_id: string;
  garrison_id: string;
  /** True once THEATER_OPENED was seen. */
  opened: boolean;
  repo_path: string | null;
  worktrees_path: string | null;
  mainline: string | null;
  /** The mainline's newest commit, as far as events tell. */
  head_sha: string | null;
  policy_version: number | string | null;
  opened_at: string | null;
  updated_at: string;
  version: number;
}>;

/** Folds one event that names the theater; others return `state` itself. Never throws. */
export function evolveTheater(state: TheaterState | undefined, event: StoredEvent): TheaterState {
  const known = state ?? initialTheater(event);
  if (event.theater_id !== known.theater_id || event.seq <= known.version) return known;
  const next = { ...known, version: event.seq, updated_at: event.ts };
  switch (event.type) {
    case 'THEATER_OPENED':
      return {
        ...next,
        opened: true,
        repo_path: event.payload.repo_path ?? next.repo_path,
        worktrees_path: event.payload.worktrees_path ?? next.worktrees_path,
        mainline: event.payload.mainline ?? next.mainline,
        head_sha: event.payload.head_sha ?? next.head_sha,
        opened_at: next.opened_at ?? event.ts,
      };
    case 'INTEGRATED':
      // Work of a mission moves the mission's branch.
      if (event.payload.mission !== undefined) return next;
      return { ...next, head_sha: event.payload.commit_sha ?? next.head_sha };
    case 'POLICY_UPDATED':
      return { ...next, policy_version: event.payload.policy_version ?? next.policy_version };
    default:
      return next;
  }
}

function initialTheater(event: StoredEvent): TheaterState {
  return {
    theater_id: event.theater_id ?? ABSENT,
    garrison_id: event.garrison_id,
    opened: false,
    repo_path: null,
    worktrees_path: null,
    mainline: null,
    head_sha: null,
    policy_version: null,
    opened_at: null,
    updated_at: event.ts,
    version: 0,
  };
}

export type OpenTheater = {
  theaterId: string;
  garrisonId: string;
  repoPath: string;
  worktreesPath: string;
  mainline: string;
  headSha: string;
};

/** A theater's repository is open; a second path for the same theater is refused. */
export function openTheater(state: TheaterState | undefined, command: OpenTheater): Decision {
  const { theaterId, garrisonId, repoPath, worktreesPath, mainline, headSha } = command;
  if (state?.opened) {
    if (state.repo_path === repoPath) return decided();
    return refuse('THEATER_CONFLICT', { id: theaterId });
  }
  return decided({
    type: 'THEATER_OPENED',
    payload: { repo_path: repoPath, worktrees_path: worktreesPath, mainline, head_sha: headSha },
    garrison_id: garrisonId,
    theater_id: theaterId,
    run_id: null,
    order_id: null,
    unit_id: null,
    key: [theaterId, 'THEATER_OPENED'].join('/'),
  });
}
