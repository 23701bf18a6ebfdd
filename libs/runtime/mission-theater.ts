import { AppError, isMissionBranch, type MissionRef } from '#libs/contracts';
import { hasBranch, type Theater } from '#libs/worktrees';

/**
 * The theater as an order sees it: work of a mission starts from the mission's branch and is promoted
 * to that, as other work is to the mainline.
 * @throws {BRANCH_REFUSED} with `field` mission.branch: not a branch of that mission, or not there
 */
export function theaterFor(theater: Theater, { mission }: { mission: MissionRef | null }): Theater {
  if (mission === null) return theater;
  const { branch, mission_slug } = mission;
  const refuse = (reason: string): AppError =>
    new AppError('BRANCH_REFUSED', { branch, reason }, { field: 'mission.branch' });
  if (!isMissionBranch(mission_slug, branch)) {
    throw refuse(`it is none of mission ${mission_slug}`);
  }
  if (!hasBranch(theater, branch)) throw refuse('there is no such branch');
  return { ...theater, mainline: branch };
}
