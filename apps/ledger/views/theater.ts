import type { StoredEvent } from '#libs/contracts';

/** What is known of a theater: a pure function of the events that name it. */
export type TheaterState = {
  theater_id: string;
  garrison_id: string;
  /** All null until THEATER_OPENED was seen. */
  repo_path: string | null;
  worktrees_path: string | null;
  mainline: string | null;
  /** Tip of the mainline, as last told. */
  head_sha: string | null;
  opened_at: string | null;
  events: number;
  created_at: string;
  updated_at: string;
  /** Stream sequence of the last event that names the theater. */
  version: number;
};

/** Folds one event into the theater that it names; one at or below `version` changes nothing. */
export function evolveTheater(state: TheaterState | undefined, event: StoredEvent): TheaterState {
  if (state !== undefined && event.seq <= state.version) return state;
  const next: TheaterState =
    state === undefined
      ? {
          theater_id: event.theater_id ?? '',
          garrison_id: event.garrison_id,
          repo_path: null,
          worktrees_path: null,
          mainline: null,
          head_sha: null,
          opened_at: null,
          events: 0,
          created_at: event.ts,
          updated_at: event.ts,
          version: 0,
        }
      : { ...state };
  next.events += 1;
  next.updated_at = event.ts;
  next.version = event.seq;
  if (event.type === 'THEATER_OPENED') {
    const { repo_path, worktrees_path, mainline, head_sha } = event.payload;
    next.repo_path = repo_path ?? next.repo_path;
    next.worktrees_path = worktrees_path ?? next.worktrees_path;
    next.mainline = mainline ?? next.mainline;
    next.head_sha = head_sha ?? next.head_sha;
    next.opened_at ??= event.ts;
  } else if (event.type === 'INTEGRATED' && event.payload.mission === undefined) {
    // Work of a mission moves the mission's branch instead.
    next.head_sha = event.payload.commit_sha ?? next.head_sha;
  }
  return next;
}
