import { z } from 'zod';
import { commitSha, id } from '../ids.ts';
import { gateResult, jobMessage } from '../shapes.ts';
import { healthOf } from './common.ts';
import { endpoint } from './endpoint.ts';

export const WORKER = {
  submitJob: endpoint({
    role: 'worker',
    name: 'submit-job',
    method: 'POST',
    path: '/jobs',
    summary: 'Queue one order for execution; its result is told by events',
    input: jobMessage,
    data: z.looseObject({ order_id: id, attempt: z.int(), queued: z.boolean() }),
    status: 202,
    errors: [
      'THEATER_NOT_FOUND',
      'WORKTREE_NOT_FOUND',
      'PATH_OUTSIDE_THEATER',
      'ILLEGAL_TRANSITION',
    ],
  }),
  health: healthOf('worker'),
} as const;

export const INTEGRATION = {
  integrate: endpoint({
    role: 'integration',
    name: 'integrate',
    method: 'POST',
    path: '/integrate',
    summary:
      'Check a completed order with its gates and promote it to the mainline, or to the branch of its mission',
    input: z.strictObject({
      theater_id: id,
      order_id: id,
      worktree_path: z.string().min(1).max(4_096).optional(),
      gate_profile: z.string().min(1).max(128).default('default'),
    }),
    data: z.looseObject({
      order_id: id,
      commit_sha: commitSha,
      gates: z.array(gateResult),
      /** True: it had been promoted before; nothing was merged again. */
      duplicate: z.boolean(),
    }),
    errors: [
      'THEATER_NOT_FOUND',
      'WORKTREE_NOT_FOUND',
      'PATH_OUTSIDE_THEATER',
      'UNKNOWN_GATE_PROFILE',
      'BRANCH_REFUSED',
      'GATE_FAILED',
      'MERGE_CONFLICT',
      'MAINLINE_DIRTY',
    ],
  }),
  health: healthOf('integration'),
} as const;
