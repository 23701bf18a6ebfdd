import { z } from 'zod';
import { commitSha, id, nullableId, relativePath } from '../ids.ts';
import { LIMITS } from '../limits.ts';
import { missionSlug, missionWpId } from '../mission-ref.ts';
import { constraints, inputRef, orderFile } from '../shapes.ts';
import { healthOf } from './common.ts';
import { endpoint } from './endpoint.ts';

const role = 'vault';
const path = z.string().min(1).max(4_096);
/** A mission of a theater, and all its work packages: without lanes.json each is a lane. */
const missionParts = {
  theater_id: id,
  mission_slug: missionSlug,
  wps: z
    .array(
      z.strictObject({
        wp_id: missionWpId,
        dependencies: z.array(z.string().max(64)).max(LIMITS.missionWorkPackages).default([]),
      }),
    )
    .min(1)
    .max(LIMITS.missionWorkPackages),
};

export const VAULT = {
  openTheater: endpoint({
    role,
    name: 'open-theater',
    method: 'POST',
    path: '/theaters',
    summary: 'Create or open a theater repository',
    input: z.strictObject({ theater_id: id, repo_path: path.optional() }),
    data: z.looseObject({
      theater_id: id,
      repo_path: path,
      worktrees_path: path,
      mainline: z.string(),
      head_sha: commitSha,
      created: z.boolean(),
    }),
    errors: ['THEATER_CONFLICT'],
  }),
  createWorktree: endpoint({
    role,
    name: 'create-worktree',
    method: 'POST',
    path: '/worktrees',
    summary:
      'Create the worktree of an order, from the tip of the mainline or of its mission branch',
    input: z.strictObject({
      theater_id: id,
      order_id: id,
      run_id: nullableId.optional(),
      branch: z.string().min(1).max(200).optional(),
      /** True: prepare it with the files that the quarantined worktree of the order was given. */
      as_before: z.boolean().optional(),
      /**
       * The attempt that waits for it: what an earlier one left is packed and removed first. Refused
       * where the order waits for none.
       */
      attempt: z.int().min(1).optional(),
    }),
    data: z.looseObject({ worktree_path: path, branch: z.string(), created: z.boolean() }),
    errors: ['THEATER_NOT_FOUND', 'WORKTREE_CONFLICT', 'ILLEGAL_TRANSITION', 'BRANCH_REFUSED'],
  }),
  prepareWorktree: endpoint({
    role,
    name: 'prepare-worktree',
    method: 'POST',
    path: '/worktrees/{order_id}/prepare',
    summary: 'Write order.json, task.md, state.json and the input files',
    // order.json is written as it was given, without the defaults that reading it adds.
    rawInput: true,
    input: z.strictObject({
      order_id: id,
      order: orderFile,
      /** Files from the object store, by digest, to lie at the path that is their name. */
      inputs: z.array(inputRef).max(LIMITS.inputFiles).optional(),
      files: z
        .array(z.strictObject({ path: relativePath, text: z.string().max(100_000) }))
        .max(LIMITS.inputFiles)
        .optional(),
    }),
    data: z.looseObject({ worktree_path: path, files: z.array(relativePath) }),
    errors: ['WORKTREE_NOT_FOUND', 'TOOL_POLICY_VIOLATION'],
  }),
  worktree: endpoint({
    role,
    name: 'worktree',
    method: 'GET',
    path: '/worktrees/{order_id}',
    summary: 'Where the worktree of an order is and whether it is clean',
    input: z.strictObject({ order_id: id }),
    data: z.looseObject({
      worktree_path: path,
      branch: z.string(),
      clean: z.boolean(),
      /** As order.json there has them; null where it has none. */
      constraints: constraints.nullable(),
    }),
    errors: ['WORKTREE_NOT_FOUND'],
  }),
  archiveWorktree: endpoint({
    role,
    name: 'archive-worktree',
    method: 'POST',
    path: '/worktrees/{order_id}/archive',
    summary: 'Pack the worktree, uncommitted work too, into an archive file',
    input: z.strictObject({ order_id: id }),
    data: z.looseObject({ archive_path: path, bytes: z.int() }),
    errors: ['WORKTREE_NOT_FOUND'],
  }),
  quarantineWorktree: endpoint({
    role,
    name: 'quarantine-worktree',
    method: 'POST',
    path: '/worktrees/{order_id}/quarantine',
    summary: 'Keep a worktree as it is for inspection; it is not used again',
    input: z.strictObject({
      order_id: id,
      reason: z.string().min(1).max(2_000),
      /** Refused unless this is the order's current attempt. */
      attempt: z.int().min(1).optional(),
    }),
    /** `worktree_path` is where it lies now. */
    data: z.looseObject({ quarantined: z.boolean(), worktree_path: path }),
    errors: ['WORKTREE_NOT_FOUND', 'ILLEGAL_TRANSITION'],
  }),
  removeWorktree: endpoint({
    role,
    name: 'remove-worktree',
    method: 'DELETE',
    path: '/worktrees/{order_id}',
    summary: 'Remove a worktree; its branch stays',
    input: z.strictObject({ order_id: id }),
    data: z.looseObject({ removed: z.boolean() }),
    errors: ['WORKTREE_NOT_FOUND', 'WORKTREE_DIRTY'],
  }),
  readFile: endpoint({
    role,
    name: 'read-file',
    method: 'GET',
    path: '/theaters/{theater_id}/file',
    summary: 'One file of a theater at a commit (the mainline, if none is named)',
    input: z.strictObject({ theater_id: id, path: relativePath, commit_sha: commitSha.optional() }),
    query: ['path', 'commit_sha'],
    data: z.looseObject({
      path: relativePath,
      commit_sha: commitSha,
      bytes: z.int(),
      sha256: z.string(),
      text: z.string(),
    }),
    errors: ['THEATER_NOT_FOUND', 'ARTIFACT_NOT_FOUND', 'PAYLOAD_TOO_LARGE'],
  }),
  startLane: endpoint({
    role,
    name: 'start-lane',
    method: 'POST',
    path: '/theaters/{theater_id}/lanes',
    summary:
      'Make the lane of a work package, or its review branch, or answer the one that is there',
    input: z.strictObject({
      ...missionParts,
      wp_id: missionWpId,
      /** review: a branch of its own at the lane's tip, so that nothing of it reaches the lane. */
      for: z.enum(['implement', 'review']),
    }),
    data: z.looseObject({
      /** What the orders of the work package name as `mission.branch`. */
      branch: z.string(),
      /** Null for a review, which has none. */
      workspace_path: path.nullable(),
      lane_id: z.string(),
      /** The branch that it starts from: the mission's, for a review the lane's. */
      lane_base_ref: z.string(),
      /** The work package's file below kitty-specs/, if there is one. */
      prompt: z.looseObject({ path: relativePath, text: z.string() }).nullable(),
      /** Boxes of the work package in tasks.md; null: there is no tasks.md. */
      subtasks: z.looseObject({ open: z.int(), done: z.int() }).nullable(),
      /** The lane has a commit beyond where it started. */
      evidence: z.boolean(),
    }),
    errors: [
      'THEATER_NOT_FOUND',
      'LANE_ALLOCATION_FAILED',
      'PAYLOAD_TOO_LARGE',
      'TOOL_POLICY_VIOLATION',
    ],
  }),
  mergeMission: endpoint({
    role,
    name: 'merge-mission',
    method: 'POST',
    path: '/theaters/{theater_id}/merge-mission',
    summary: 'Merge the lanes of a mission into its target; again answers the same merge',
    input: z.strictObject({
      ...missionParts,
      /** Work packages that are not merged: lanes with no others are left out. */
      canceled: z.array(missionWpId).max(LIMITS.missionWorkPackages).default([]),
      strategy: z.enum(['merge', 'squash', 'rebase']).default('merge'),
      /** True: only look at everything that could stand against it. */
      dry_run: z.boolean().default(false),
    }),
    data: z.looseObject({
      target_branch: z.string(),
      /** Where the merge brought the target; null after a dry run. */
      commit: commitSha.nullable(),
      /** No lane of those that were merged is left. */
      worktree_removed: z.boolean(),
      /** Branches of the lanes, each after those it depends on. */
      lanes: z.array(z.string()),
      /**
       * After a dry run: the file with evidence of its workflows that the mission owes before it may
       * be accepted; also in the details of PREFLIGHT_FAILED.
       */
      workflow_evidence_missing: z.string().nullable().optional(),
    }),
    errors: ['THEATER_NOT_FOUND', 'PREFLIGHT_FAILED', 'PAYLOAD_TOO_LARGE', 'TOOL_POLICY_VIOLATION'],
  }),
  health: healthOf(role),
} as const;
