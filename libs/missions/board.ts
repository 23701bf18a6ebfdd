import type { MissionIdentity } from './envelope.ts';
import { LANES, type Lane, satisfies } from './lanes.ts';
import { compareText, type MissionState, untouched, type WorkPackageState } from './state.ts';

/** What the files of a repository say about a mission. */
export type Board = {
  identity: MissionIdentity;
  targetBranch: string | null;
  wps: readonly BoardEntry[];
};

export type BoardEntry = { wp_id: string; title: string; dependencies: readonly string[] };

/** One work package as `mission-state` shows it. */
export type WorkPackageView = {
  wp_id: string;
  lane: Lane;
  dependencies: readonly string[];
  last_actor: string | null;
};

/** The union of files and events, sorted by id; an untouched work package is planned. */
export function viewOf(board: Board, state: MissionState): WorkPackageView[] {
  const listed = new Map(board.wps.map((entry) => [entry.wp_id, entry]));
  const ids = [...new Set([...listed.keys(), ...state.wps.keys()])].sort(compareText);
  return ids.map((wp_id) => {
    const { lane, actor, created } = state.wps.get(wp_id) ?? untouched(wp_id);
    const dependencies = listed.get(wp_id)?.dependencies ?? created?.value.dependencies ?? [];
    return { wp_id, lane, dependencies, last_actor: actor };
  });
}

/** How many work packages are in each lane; every lane is named. */
export function summaryOf(view: readonly { lane: Lane }[]): Record<Lane, number> {
  const counts = Object.fromEntries(LANES.map((lane) => [lane, 0])) as Record<Lane, number>;
  for (const { lane } of view) counts[lane] += 1;
  return counts;
}

/** The work packages that can be started: planned, and every dependency approved or done. */
export function readyOf(board: Board, state: MissionState): WorkPackageView[] {
  return inGraphOrder(viewOf(board, state)).filter(
    (wp) => wp.lane === 'planned' && unsatisfied(board, state, wp.wp_id).length === 0,
  );
}

/** Dependencies that hold a work package back; one that does not exist always does. */
export function unsatisfied(board: Board, state: MissionState, wpId: string): string[] {
  const view = viewOf(board, state);
  const lanes = new Map(view.map(({ wp_id, lane }) => [wp_id, lane]));
  const { dependencies = [] } = view.find(({ wp_id }) => wp_id === wpId) ?? {};
  return dependencies.filter((id) => !satisfies(lanes.get(id)));
}

/** The state of a work package that files or events know; undefined: neither does. */
export function findWp(
  board: Board,
  state: MissionState,
  wpId: string,
): WorkPackageState | undefined {
  const known = state.wps.get(wpId);
  if (known !== undefined) return known;
  return board.wps.some(({ wp_id }) => wp_id === wpId) ? untouched(wpId) : undefined;
}

/** Dependencies before dependents, else by id; what is in a circle comes last, by id. */
export function inGraphOrder<T extends { wp_id: string; dependencies: readonly string[] }>(
  items: readonly T[],
): T[] {
  const present = new Set(items.map(({ wp_id }) => wp_id));
  const placed = new Set<string>();
  const rest = [...items].sort((a, b) => compareText(a.wp_id, b.wp_id));
  const ordered: T[] = [];
  while (rest.length > 0) {
    const at = rest.findIndex(({ dependencies }) =>
      dependencies.every((id) => placed.has(id) || !present.has(id)),
    );
    const [item] = rest.splice(Math.max(0, at), 1);
    if (item === undefined) break;
    placed.add(item.wp_id);
    ordered.push(item);
  }
  return ordered;
}
