import { isFilled, isObject } from './values.ts';
import { isBranchName } from '../worktrees/internal.ts';

/** A line of work of a mission, with a branch and a worktree of its own. */
export type Lane = {
  id: string;
  branch: string;
  /** Folder below `.worktrees/`. */
  folder: string;
  wpIds: readonly string[];
  /** Globs of the files that the lane may change; empty: any. */
  writeScope: readonly string[];
  /** Ids of lanes whose work this one stands on. */
  dependsOn: readonly string[];
};

export type Plan = {
  slug: string;
  missionBranch: string;
  /** From lanes.json; undefined: it names none. */
  targetBranch: string | undefined;
  /** Each after those it depends on. */
  lanes: readonly Lane[];
};

export type WorkPackage = { wp_id: string; dependencies: readonly string[] };

const LANES_MAX = 200;

/**
 * The lanes of a mission from its lanes.json; without one every work package is a lane of its own,
 * in `.worktrees/<slug>-<WP>`. Source: reference §1.5.
 * @throws {Error} with a text for people, if lanes.json cannot be read.
 */
export function planOf(
  slug: string,
  lanesText: string | undefined,
  wps: readonly WorkPackage[],
): Plan {
  const missionBranch = `kitty/mission-${slug}`;
  if (lanesText === undefined) {
    const known = new Set(wps.map(({ wp_id }) => wp_id));
    const lanes = wps.map(({ wp_id, dependencies }) =>
      laneOf(slug, wp_id, {
        wpIds: [wp_id],
        writeScope: [],
        dependsOn: dependencies.filter((id) => known.has(id)),
      }),
    );
    return { slug, missionBranch, targetBranch: undefined, lanes: inOrder(lanes) };
  }
  const file = parseLanes(lanesText);
  const lanes = file.lanes.map((value) => parseLane(slug, value));
  const ids = lanes.map(({ id }) => id);
  if (new Set(ids).size < ids.length) throw new Error('lanes.json names a lane twice');
  const unknown = lanes.flatMap(({ dependsOn }) => dependsOn).find((id) => !ids.includes(id));
  if (unknown !== undefined) throw new Error(`lanes.json depends on an unknown lane ${unknown}`);
  return { slug, missionBranch, targetBranch: file.target, lanes: inOrder(lanes) };
}

/** The lane that a work package belongs to. */
export function laneWith(plan: Plan, wpId: string): Lane | undefined {
  return plan.lanes.find(({ wpIds }) => wpIds.includes(wpId));
}

/** The plan without the lanes whose work packages are all among `wpIds`, as the canceled ones. */
export function withoutWps(plan: Plan, wpIds: readonly string[]): Plan {
  const isLeft = ({ wpIds: own }: Lane) => own.some((id) => !wpIds.includes(id));
  return { ...plan, lanes: plan.lanes.filter(isLeft) };
}

function parseLanes(text: string): { lanes: unknown[]; target: string | undefined } {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new Error('lanes.json is not JSON');
  }
  if (!isObject(value) || !Array.isArray(value['lanes'])) {
    throw new Error('lanes.json has no list of lanes');
  }
  if (value['lanes'].length > LANES_MAX) throw new Error(`lanes.json has over ${LANES_MAX} lanes`);
  const target = value['target_branch'];
  return { lanes: value['lanes'], target: isFilled(target) ? target : undefined };
}

function parseLane(slug: string, value: unknown): Lane {
  const lane = isObject(value) ? value : {};
  const id = lane['lane_id'];
  if (typeof id !== 'string' || !/^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/.test(id)) {
    throw new Error('lanes.json has a lane without a usable lane_id');
  }
  return laneOf(slug, id, {
    wpIds: texts(lane['wp_ids']),
    writeScope: texts(lane['write_scope']),
    dependsOn: texts(lane['depends_on_lanes']),
  });
}

function laneOf(slug: string, id: string, more: Omit<Lane, 'id' | 'branch' | 'folder'>): Lane {
  const branch: string = `kitty/mission-${slug}-${id}`;
  if (!isBranchName(branch)) throw new Error(`lane ${id} makes no name of a branch`);
  return { id, branch, folder: `${slug}-${id}`, ...more };
}

function texts(value: unknown): string[] {
  return Array.isArray(value) ? value.filter(isFilled) : [];
}

/** Dependencies first; lanes of a circle stay in the order they are written in. */
function inOrder(lanes: readonly Lane[]): Lane[] {
  const sorted: Lane[] = [];
  const seen = new Set<string>();
  const visit = (lane: Lane): void => {
    if (seen.has(lane.id)) return;
    seen.add(lane.id);
    for (const id of lane.dependsOn) {
      const needed = lanes.find((other) => other.id === id);
      if (needed) visit(needed);
    }
    sorted.push(lane);
  };
  for (const lane of lanes) visit(lane);
  return sorted;
}
