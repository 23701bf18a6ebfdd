import { z } from 'zod';
import { severity } from '../events/payloads.ts';
import { id, nullableId, timestamp } from '../ids.ts';
import { healthOf } from './common.ts';
import { endpoint } from './endpoint.ts';

/** One thing that a watcher found wrong. */
export const finding = z.looseObject({
  /** As `stalled`, `no-commit`, `aar-missing`, `artifact-missing`, `dirty`, `orphan`, `heartbeat-lost`. */
  kind: z.string(),
  order_id: nullableId,
  reason: z.string(),
  severity: severity.optional(),
  /** True: it was told before; nothing was emitted again. */
  known: z.boolean(),
});

export const OBSERVER = {
  patrol: endpoint({
    role: 'observer',
    name: 'patrol',
    method: 'POST',
    path: '/theaters/{theater_id}/patrol',
    summary: 'Look at every live order and worktree of a theater once',
    input: z.strictObject({ theater_id: id }),
    data: z.looseObject({
      theater_id: id,
      orders: z.int(),
      worktrees: z.int(),
      findings: z.array(finding),
    }),
    errors: ['THEATER_NOT_FOUND', 'VIEW_BEHIND'],
  }),
  health: healthOf('observer'),
} as const;

export const DUTY_OFFICER = {
  patrol: endpoint({
    role: 'duty-officer',
    name: 'patrol',
    method: 'POST',
    path: '/patrol',
    summary: 'One patrol tick: overdue orders, observers, quarantine, dependencies',
    input: z.strictObject({
      /** Who asks, as the tick then tells. */
      source: id.default('request'),
    }),
    data: z.looseObject({
      tick_id: id,
      reissued: z.array(id),
      failed: z.array(id),
      /** Orders that waited without a job in the queue and got one. */
      requeued: z.array(id),
      quarantined: z.array(id),
      /** Theaters whose observer was asked to patrol. */
      patrolled: z.array(id),
      services: z.array(
        z.looseObject({ service: z.string(), healthy: z.boolean(), reason: z.string() }),
      ),
    }),
    errors: ['VIEW_BEHIND'],
  }),
  health: healthOf('duty-officer'),
} as const;

export const SENTINEL = {
  audit: endpoint({
    role: 'sentinel',
    name: 'audit',
    method: 'POST',
    path: '/audit',
    summary: 'Is the duty officer alive, and does its watch achieve anything',
    input: z.strictObject({}),
    data: z.looseObject({
      last_tick_at: timestamp.nullable(),
      tick_age_ms: z.int().nullable(),
      /** Orders under way or waiting, oldest audit first. */
      backlog: z.array(z.looseObject({ at: timestamp, count: z.int() })),
      verdict: z.enum(['ok', 'dead', 'ineffective']),
      escalation_id: nullableId,
      /** What the sentinel did about it. */
      actions: z.array(z.string()),
    }),
    errors: ['VIEW_BEHIND'],
  }),
  health: healthOf('sentinel'),
} as const;
