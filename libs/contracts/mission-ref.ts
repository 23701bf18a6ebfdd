import { z } from 'zod';
import { id } from './ids.ts';

const SLUG = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/;
const LANE_ID = /^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/;

/** A mission's folder name below kitty-specs/, which is a part of branch names too. */
export const missionSlug = z
  .string()
  .regex(SLUG, 'must be 1 to 128 of A-Z a-z 0-9 . _ -, not starting with . or -')
  .refine((text) => !text.includes('..') && !text.endsWith('.lock'), 'must fit in a branch name');

export const missionWpId = z
  .string()
  .regex(/^WP\d{2,}$/, 'must be WP and digits')
  .max(32);

/** A branch as `isMissionBranch` knows them; whether it is there is the vault's to say. */
const branch = z.string().min(1).max(160);

/**
 * The work package that a run does. Its orders start from `branch` and are promoted to it, in place
 * of the theater's mainline.
 */
export const missionRef = z.strictObject({
  project_uuid: z.guid('must be a UUID'),
  mission_slug: missionSlug,
  wp_id: missionWpId,
  /** The event of the mission's log that the run comes of. */
  wp_event_id: id,
  branch,
});
export type MissionRef = z.output<typeof missionRef>;

/** Is this the mission's branch, or that of one of its lanes or reviews? */
export function isMissionBranch(slug: string, name: string): boolean {
  if (name === `kitty/mission-${slug}`) return true;
  return [`kitty/mission-${slug}-`, `kitty/review-${slug}-`].some(
    (start) => name.startsWith(start) && LANE_ID.test(name.slice(start.length)),
  );
}
