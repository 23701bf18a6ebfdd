import type { StoredEvent } from '#libs/contracts';
import { parseEvent } from '#libs/contracts';

type Line = readonly [type: string, order: string | null, payload?: object, more?: object];

const SHA = { one: '1'.repeat(40), two: '2'.repeat(40), three: '3'.repeat(40) };
const artifact = (path: string) => ({ path, type: 'text/markdown' });
const spent = (n: number) => ({
  usage: { input_tokens: 100 * n, output_tokens: 10 * n },
  cost_micro_usd: 7 * n,
});
const created = (step: string, depends_on: string[] = []) => ({
  step,
  type: step,
  objective: `${step} the call`,
  profile: { name: 'executor_default', model: 'local' },
  constraints: { budget_seconds: 60, max_retries: 1 },
  depends_on,
  gate_profile: 'default',
});
const run: Line = [
  'RUN_CREATED',
  null,
  { user_id: 'u_1', objective: 'Summarise the call', autopilot: true, request_id: 'q1' },
];

/** One attempt from claim to completion. */
const worked = (order: string, attempt: number, sha: string): Line[] => {
  const unit = { unit_id: `assault_${order}_${attempt}` };
  const path = `outputs/${order}.md`;
  return [
    ['ORDER_ENQUEUED', order, { attempt, class: 'default' }],
    ['ORDER_CLAIMED', order, { attempt, lease_ms: 30_000 }, unit],
    ['ORDER_STARTED', order, { attempt }, unit],
    ['MODEL_CALL_COMPLETED', order, { attempt, index: 0, provider: 'local', ...spent(1) }, unit],
    ['ARTIFACT_WRITTEN', order, { attempt, ...artifact(path), bytes: 42 }, unit],
    ['AAR_WRITTEN', order, { attempt, path: 'aar.json', status: 'completed' }, unit],
    [
      'ORDER_COMPLETED',
      order,
      { attempt, commit_sha: sha, artifacts: [artifact(path)], ...spent(1) },
      unit,
    ],
  ];
};
const promoted = (order: string, attempt: number, sha: string): Line[] => [
  ['INTEGRATION_STARTED', order, { attempt, gate_profile: 'default' }],
  ['INTEGRATION_PASSED', order, { attempt, gates: [{ gate: 'aar', passed: true, message: '' }] }],
  ['INTEGRATED', order, { attempt, commit_sha: sha, mainline: 'main' }],
];
const worktree = (order: string): Line[] => {
  const where = { worktree_path: `/t/worktrees/${order}`, branch: `order_${order}` };
  return [
    ['WORKTREE_CREATED', order, { ...where, base_sha: SHA.one }],
    ['WORKTREE_READY', order, where],
  ];
};
const failed = (order: string, attempt: number): Line => [
  'ORDER_FAILED',
  order,
  { attempt, code: 'MODEL_ERROR', message: 'no answer', stage: 'model', retryable: true },
];

/** The stories of the golden logs. Add new ones; what is recorded stays as it was recorded. */
export const STORIES: Record<string, readonly Line[]> = {
  'happy-three-steps': [
    run,
    ['ORDER_CREATED', 'research', created('research')],
    ['ORDER_CREATED', 'draft', created('draft', ['research'])],
    ['ORDER_CREATED', 'verify', created('verify', ['draft'])],
    [
      'RUN_PLANNED',
      null,
      {
        order_ids: ['research', 'draft', 'verify'],
        playbook: 'research-draft-verify',
        playbook_version: 1,
        reply: [{ order_id: 'draft', path: 'outputs/draft.md' }],
      },
    ],
    ...(['research', 'draft', 'verify'] as const).flatMap((order, n) => {
      const sha = [SHA.one, SHA.two, SHA.three][n] ?? SHA.one;
      return [...worktree(order), ...worked(order, 1, sha), ...promoted(order, 1, sha)];
    }),
    ['RUN_COMPLETED', null, { reply: { sha256: 'a'.repeat(64), bytes: 99 }, ...spent(3) }],
    ['WORKTREE_ARCHIVED', 'draft', { archive_path: '/t/archive/draft.tar', bytes: 10 }],
    ['WORKTREE_REMOVED', 'draft', { reason: 'promoted' }],
  ],
  retry: [
    run,
    ['ORDER_CREATED', 'o1', created('draft')],
    ['ORDER_STARTED', 'o1', { attempt: 1 }, { unit_id: 'assault_1' }],
    failed('o1', 1),
    ['ORDER_COMPLETED', 'o1', { attempt: 1 }],
    ['ORDER_REISSUED', 'o1', { attempt: 2, reason: 'MODEL_ERROR' }],
    ...worked('o1', 2, SHA.two),
  ],
  'zombie-late-report': [
    run,
    ['ORDER_CREATED', 'o1', created('draft')],
    ['ORDER_CLAIMED', 'o1', { attempt: 1 }, { unit_id: 'assault_1' }],
    ['ORDER_CLAIMED', 'o1', { attempt: 1 }, { unit_id: 'assault_2' }],
    ['ORDER_STARTED', 'o1', { attempt: 1 }, { unit_id: 'assault_1' }],
    ['RECOVERY_REQUIRED', 'o1', { attempt: 1, reason: 'stall' }],
    ['RECOVERY_STARTED', 'o1', { attempt: 1, reason: 'stall' }],
    ['ORDER_REISSUED', 'o1', { attempt: 2, reason: 'stall' }],
    ['RECOVERY_COMPLETED', 'o1', { attempt: 2, reason: 'stall' }],
    ['ORDER_STARTED', 'o1', { attempt: 2 }, { unit_id: 'assault_2' }],
    ['ARTIFACT_WRITTEN', 'o1', { attempt: 1, path: 'outputs/old.md' }, { unit_id: 'assault_1' }],
    ['ORDER_COMPLETED', 'o1', { attempt: 1, commit_sha: SHA.one }, { unit_id: 'assault_1' }],
    ['ORDER_FAILED', 'o1', { attempt: 1 }, { unit_id: 'assault_1' }],
  ],
  'cancel-cascade': [
    run,
    ['ORDER_CREATED', 'o1', created('research')],
    ['ORDER_CREATED', 'o2', created('draft', ['o1'])],
    ['ORDER_STARTED', 'o1', { attempt: 1 }, { unit_id: 'assault_1' }],
    ['RUN_CANCELLED', null, { reason: 'the user' }],
    ['ORDER_CANCELLED', 'o1', { reason: 'the run was cancelled' }],
    ['ORDER_CANCELLED', 'o2', { reason: 'the run was cancelled' }],
    ['ORDER_COMPLETED', 'o1', { attempt: 1 }, { unit_id: 'assault_1' }],
    ['RUN_COMPLETED', null],
  ],
  'lone-order-started': [
    ['ORDER_STARTED', '01J0ORDER', { attempt: 1 }, { unit_id: 'assault_abc123' }],
  ],
  'integration-conflict': [
    run,
    ['ORDER_CREATED', 'o1', created('draft')],
    ...worktree('o1'),
    ...worked('o1', 1, SHA.one),
    ['INTEGRATION_READY', 'o1', { attempt: 1, commit_sha: SHA.one }],
    ['INTEGRATION_STARTED', 'o1', { attempt: 1, gate_profile: 'default' }],
    ['INTEGRATION_PASSED', 'o1', { attempt: 1, gates: [] }],
    [
      'INTEGRATION_FAILED',
      'o1',
      { attempt: 1, gate: 'merge', message: 'conflict', files: ['outputs/o1.md'] },
    ],
    ['ESCALATION_RAISED', 'o1', { escalation_id: 'x1', severity: 'MEDIUM', route: 'co' }],
    ['ORDER_REISSUED', 'o1', { attempt: 2, reason: 'merge conflict' }],
    ['WORKTREE_REMOVED', 'o1', { reason: 'reissued' }],
    ...worktree('o1'),
    ...worked('o1', 2, SHA.two),
    ...promoted('o1', 2, SHA.three),
    ['ESCALATION_ACKED', 'o1', { escalation_id: 'x1', by: 'operator' }],
  ],
  misprints: [
    run,
    ['ORDER_CREATED', 'o1', created('draft')],
    ['ORDER CLAIMED', 'o1', { attempt: 1 }, { unit_id: 'assault_1' }],
    ...worktree('o1'),
    ['WORKTREE_Removed', 'o1', { reason: 'over' }],
  ],
};

/** Writes a story out as the ledger would store it. */
export function tell(lines: readonly Line[]): StoredEvent[] {
  return lines.map(([type, order_id, payload = {}, more = {}], index) => {
    const seq = index + 1;
    const base = { type, theater_id: 'demo', run_id: 'r1', order_id, payload, ...more };
    const { event } = parseEvent(base, {
      garrisonId: 'local',
      newId: () => `01JGOLDEN${String(seq).padStart(4, '0')}`,
      now: () => new Date(Date.UTC(2026, 0, 14, 16, 21, 0, seq * 250)),
    });
    return { ...event, seq };
  });
}
