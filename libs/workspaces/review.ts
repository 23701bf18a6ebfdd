import { accept, refuse, type Result } from '#libs/missions';
import {
  branchRef,
  deleteRef,
  findRef,
  isAncestorSha,
  isBranchName,
  MAINLINE_LOCK,
  moveRef,
  orderLock,
  withLock,
} from '../worktrees/internal.ts';
import { checkedOutAt } from './lane.ts';
import { type Lane, laneWith, type Plan } from './plan.ts';
import { reasonOf, type Repository } from './values.ts';

export type ReviewBranch = { branch: string; lane_id: string; lane_branch: string };

/**
 * Puts the review branch of a work package at its lane's tip, so that what a reviewer writes never
 * reaches the lane. Repeating leaves it as it is until the lane has work that it lacks; then the
 * review starts anew from there.
 * Refuses with LANE_ALLOCATION_FAILED.
 */
export async function startReview(
  repository: Repository,
  plan: Plan,
  wpId: string,
): Promise<Result<ReviewBranch>> {
  const { gitDir } = repository;
  const no = (reason: string) => refuse('LANE_ALLOCATION_FAILED', { wp_id: wpId, reason });
  const lane = laneWith(plan, wpId);
  if (lane === undefined) return no('lanes.json has no lane for it');
  const branch = reviewBranch(plan, wpId);
  if (!isBranchName(branch)) return no('it makes no name of a branch');
  try {
    // What moves the branch besides are promotions of the review's orders.
    return await withLock(gitDir, MAINLINE_LOCK, async (hold) => {
      const tip = findRef(gitDir, branchRef(lane.branch));
      if (tip === undefined) return no(`there is no branch ${lane.branch} to review`);
      const at = findRef(gitDir, branchRef(branch));
      if (at === undefined || !(await isAncestorSha(gitDir, tip, at))) {
        const elsewhere = checkedOutAt(repository, branch);
        if (elsewhere !== undefined) return no(`${branch} is checked out in ${elsewhere}`);
        await moveRef(hold, gitDir, branchRef(branch), tip, at);
      }
      return accept({ branch, lane_id: lane.id, lane_branch: lane.branch });
    });
  } catch (error) {
    return no(reasonOf(error));
  }
}

/** Removes the review branches of a lane's work packages, but for one that is checked out. */
export async function removeReviews(repository: Repository, plan: Plan, lane: Lane): Promise<void> {
  const { gitDir } = repository;
  for (const wpId of lane.wpIds) {
    const branch = reviewBranch(plan, wpId);
    if (!isBranchName(branch)) continue;
    await withLock(gitDir, orderLock(branch), async (hold) => {
      const at = findRef(gitDir, branchRef(branch));
      if (at === undefined || checkedOutAt(repository, branch) !== undefined) return;
      await deleteRef(hold, gitDir, branchRef(branch), at);
    });
  }
}

function reviewBranch({ slug }: Plan, wpId: string): string {
  return `kitty/review-${slug}-${wpId}`;
}
