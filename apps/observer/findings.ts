import type { Severity } from '#libs/contracts';
import {
  type Decision,
  escalate,
  escalationIdFor,
  integrationReady,
  type OrderState,
  recoveryRequired,
} from '#libs/orders';
import type { WatchLimits } from '#libs/runtime';
import { type Clock, hasTree, isOver } from './clock.ts';

/**
 * What can be wrong with an order or its worktree: how bad that is, and whether the attempt is to
 * be recovered. A unit that lives and works is not taken off its order.
 */
const KINDS = {
  stalled: { severity: 'HIGH', recover: true },
  'heartbeat-lost': { severity: 'MEDIUM', recover: true },
  'no-commit': { severity: 'LOW', recover: false },
  'worktree-missing': { severity: 'HIGH', recover: true },
  'aar-missing': { severity: 'MEDIUM', recover: true },
  'aar-invalid': { severity: 'MEDIUM', recover: true },
  'artifact-missing': { severity: 'MEDIUM', recover: true },
  dirty: { severity: 'MEDIUM', recover: true },
  orphan: { severity: 'LOW', recover: false },
} as const satisfies Record<string, { severity: Severity; recover: boolean }>;

export type FindingKind = keyof typeof KINDS;
export type Finding = { kind: FindingKind; reason: string };

export function severityOf(kind: FindingKind): Severity {
  return KINDS[kind].severity;
}

/** Who is to look at what the observer finds. */
export const ROUTE = 'duty-officer';

/** Time that a unit may take beyond its budget to report its end. */
const BUDGET_GRACE_MS = 30_000;

/** How long ago `ts` was; a time that is still to come counts as now. */
export function ageMs(ts: string, now: number): number {
  return Math.max(0, now - Date.parse(ts));
}

/**
 * How long an order may be RUNNING: `stallMs`, or twice its own budget and 30 s if that is less,
 * but never less than the budget itself and those 30 s.
 */
export function stallLimitMs(order: OrderState, stallMs: number): number {
  const budgetMs = (order.constraints?.budget_seconds ?? 0) * 1_000;
  if (budgetMs === 0) return stallMs;
  const least = budgetMs + BUDGET_GRACE_MS;
  return Math.max(least, Math.min(stallMs, least + budgetMs));
}

/**
 * The worst thing wrong with the clocks of a live order; each clock runs for itself, whatever the
 * newest event is.
 * @param committedAt time of the newest commit on the order's branch, if that was looked up
 */
export function overdue(
  clock: Clock,
  now: number,
  limits: WatchLimits,
  committedAt: number | null = null,
): Finding | undefined {
  const { order, last_signal_at, last_commit_at } = clock;
  const { status } = order;
  if (status !== 'CLAIMED' && status !== 'RUNNING') return undefined;
  const begun = order.claimed_at ?? order.started_at ?? order.updated_at;
  const since = order.resumed_at ?? order.started_at ?? begun;
  const stallMs = stallLimitMs(order, limits.stallMs);
  if (status === 'RUNNING' && ageMs(since, now) > stallMs) {
    const reason = `stalled: RUNNING since ${since}, longer than ${seconds(stallMs)}`;
    return { kind: 'stalled', reason };
  }
  const signal = last_signal_at ?? begun;
  if (ageMs(signal, now) > limits.heartbeatMs) {
    const silent = `${status} without a sign of life since ${signal}`;
    const reason = `heartbeat lost: ${silent}, longer than ${seconds(limits.heartbeatMs)}`;
    return { kind: 'heartbeat-lost', reason };
  }
  const worked = Math.min(
    ageMs(begun, now),
    last_commit_at === null ? Number.POSITIVE_INFINITY : ageMs(last_commit_at, now),
    committedAt === null ? Number.POSITIVE_INFINITY : Math.max(0, now - committedAt),
  );
  if (hasTree(order) && worked > limits.commitMs) {
    const reason = `no recent commit: none in the worktree for ${seconds(limits.commitMs)}`;
    return { kind: 'no-commit', reason };
  }
  return undefined;
}

function seconds(ms: number): string {
  return `${ms / 1_000} s`;
}

/** A completed order whose result nobody has judged yet in this attempt. */
export function awaitsVerdict(order: OrderState): boolean {
  return order.status === 'COMPLETED' && !isOver(order);
}

/** Names a finding of the current attempt: it is told once. */
function causeOf(order: OrderState, kind: FindingKind): string {
  return `observer/${kind}/${order.attempt}`;
}

/** True if the finding was told for the current attempt. */
export function isTold(order: OrderState, kind: FindingKind): boolean {
  const id = escalationIdFor(order, causeOf(order, kind));
  return order.escalations.some(({ escalation_id }) => escalation_id === id);
}

const NOTHING: Decision = { ok: true, events: [] };

/** ESCALATION_RAISED, with RECOVERY_REQUIRED where it takes that, once for each kind and attempt. */
export function tell(order: OrderState, { kind, reason }: Finding): Decision {
  if (isTold(order, kind)) return NOTHING;
  const { severity, recover } = KINDS[kind];
  const required = recover ? recoveryRequired(order, { reason }) : NOTHING;
  const raised = escalate(order, { severity, route: ROUTE, reason, cause: causeOf(order, kind) });
  if (!required.ok) return required;
  return raised.ok ? { ok: true, events: [...required.events, ...raised.events] } : raised;
}

/** What a look at the result of a completed order leads to; nothing where the order has moved on. */
export function settle(
  order: OrderState,
  judged: { attempt: number; finding: Finding | undefined },
): Decision {
  if (order.attempt !== judged.attempt || !awaitsVerdict(order)) return NOTHING;
  return judged.finding === undefined ? integrationReady(order) : tell(order, judged.finding);
}

/**
 * What an overdue clock leads to, judged again on the order as it stands: a unit that has spoken
 * since `clock` was read lives.
 */
export function tellOverdue(
  order: OrderState,
  { clock, kind }: { clock: Clock; kind: FindingKind },
  judge: (clock: Clock) => Finding | undefined,
): Decision {
  if (order.attempt !== clock.order.attempt || order.status !== clock.order.status) return NOTHING;
  if (kind === 'heartbeat-lost' && order.version !== clock.order.version) return NOTHING;
  const finding = judge({ ...clock, order });
  return finding?.kind === kind ? tell(order, finding) : NOTHING;
}
