import type { StoredEvent } from '#libs/contracts';
import type { Evidence, History, Violation } from './check/mod.ts';
import type { Done } from './perform.ts';
import type { Plan } from './schedule.ts';

type Counts = Record<string, number>;

/** A soak that is over. */
export type Soaked = {
  summary: Summary;
  violations: readonly Violation[];
  evidence: Evidence;
  /** The last errors that processes logged. */
  problems: readonly string[];
};

/** What a soak came to, as numbers. */
export type Summary = {
  result: 'PASS' | 'FAIL';
  seed: number;
  minutes: number;
  processes: number;
  /** Until everything had ended after the last fault. */
  settled_ms: number;
  chats: { sent: number; acknowledged: number; answers: number };
  facts: { appended: number; queued: number; answers: number };
  /** Signed milestones from outside, by what was answered. */
  deliveries: Counts;
  /** Items of the feed, and those that IronClaw told by itself. */
  feed: { items: number; own: number; demand: number };
  runs: Counts;
  orders: Counts;
  run_ms: { median: number; p95: number; max: number };
  events: number;
  faults: Counts;
  faults_by_process: Counts;
  /** Of these, `kill -9` of a process that ran. */
  kills_by_process: Counts;
  model_calls: number;
  /** Calls that went wrong, by how. */
  model_faults: Counts;
  /** By reason. */
  retries: Counts;
  recoveries: number;
  quarantined: number;
  /** Facts of units whose attempt was over. */
  fenced: number;
  escalations: number;
  failures: Counts;
  dead_letters: Counts;
  falls: Counts;
  violations: Counts;
  /** Where everything lies that was left; null: removed. */
  state: string | null;
};

export type Told = {
  plan: Plan;
  evidence: Evidence;
  history: History;
  done: Done;
  modelCalls: number;
  modelFaults: Counts;
  settledMs: number;
  violations: readonly Violation[];
  stateDir: string | null;
};

export function summarise(told: Told): Summary {
  const { plan, evidence, history, done, violations } = told;
  const { oracle, events } = evidence;
  const chats = [...oracle.chats.values()];
  const times = [...history.runs.values()]
    .flatMap(({ duration_ms, autopilot }) =>
      autopilot && duration_ms !== null ? [duration_ms] : [],
    )
    .sort((a, b) => a - b);
  const at = (share: number): number =>
    times[Math.min(times.length - 1, Math.floor(times.length * share))] ?? 0;
  return {
    result: violations.length === 0 ? 'PASS' : 'FAIL',
    seed: plan.seed,
    minutes: plan.durationMs / 60_000,
    processes: plan.fleet.length,
    settled_ms: told.settledMs,
    chats: {
      sent: chats.length,
      acknowledged: chats.filter(({ acks }) => acks.length > 0).length,
      answers: chats.reduce((sum, { acks }) => sum + acks.length, 0),
    },
    facts: {
      appended: oracle.appends.size,
      queued: oracle.queued.size,
      answers: [...oracle.appends.values()].reduce((sum, { acks }) => sum + acks.length, 0),
    },
    deliveries: countBy(
      [...oracle.deliveries.values()].flatMap(({ answers, forged }) =>
        answers.map((answer) => (forged && answer === 'queued' ? 'forged queued' : answer)),
      ),
      (answer) => answer,
    ),
    feed: {
      items: evidence.feed.length,
      own: evidence.feed.filter(
        ({ channel, item }) => channel === 'milestones' && item.source === 'orchestrator',
      ).length,
      demand: evidence.feed.filter(({ channel }) => channel === 'demand').length,
    },
    runs: countBy(
      [...history.runs.values()].filter(({ autopilot }) => autopilot),
      ({ status }) => status,
    ),
    orders: countBy(
      [...history.orders.values()].filter(({ created }) => created),
      ({ status, integration }) => (integration?.state === 'INTEGRATED' ? 'INTEGRATED' : status),
    ),
    run_ms: { median: at(0.5), p95: at(0.95), max: times.at(-1) ?? 0 },
    events: events.length,
    faults: done.faults,
    faults_by_process: done.byMember,
    kills_by_process: done.kills,
    model_calls: told.modelCalls,
    model_faults: told.modelFaults,
    retries: countBy(ofType(events, 'ORDER_REISSUED'), ({ payload }) =>
      shortReason(payload.reason ?? ''),
    ),
    recoveries: ofType(events, 'RECOVERY_COMPLETED').length,
    quarantined: ofType(events, 'WORKTREE_QUARANTINED').length,
    fenced: history.anomalies.filter(({ kind }) => kind === 'fenced_attempt').length,
    escalations: ofType(events, 'ESCALATION_RAISED').length,
    failures: countBy(ofType(events, 'ORDER_FAILED'), ({ payload }) => payload.code ?? ''),
    dead_letters: countBy(evidence.dead, ({ channel, code }) => `${channel} ${code}`),
    falls: countBy(evidence.processes.falls, ({ how, reason }) => `${how} ${reason}`.slice(0, 120)),
    violations: countBy(violations, ({ invariant }) => invariant),
    state: told.stateDir,
  };
}

function ofType<T extends StoredEvent['type']>(events: readonly StoredEvent[], type: T) {
  return events.filter((event): event is StoredEvent & { type: T } => event.type === type);
}

/** Reasons with ids and times in them are counted by how they begin. */
function shortReason(reason: string): string {
  return (reason.split(':')[0] ?? '').slice(0, 60);
}

function countBy<T>(list: readonly T[], name: (item: T) => string): Counts {
  const counts: Counts = {};
  for (const item of list) counts[name(item)] = (counts[name(item)] ?? 0) + 1;
  return counts;
}

const EXCERPT_EVENTS = 40;
const EXCERPTS = 5;
const LISTED = 60;

/** The summary; where something is violated, also what, the events of whom, and logged errors. */
export function formatReport({ summary, violations, evidence, problems }: Soaked): string {
  const lines = Object.entries(summary).map(
    ([name, value]) => `${name.padEnd(18)} ${shown(value)}`,
  );
  if (violations.length === 0) return lines.join('\n');
  const told = violations
    .slice(0, LISTED)
    .map(({ invariant, message }) => `  ${invariant}: ${message}`);
  const more = violations.length > LISTED ? [`  and ${violations.length - LISTED} more`] : [];
  const excerpts = excerptsOf(violations, evidence.events);
  const logged = problems.length > 0 ? ['', 'Errors in the logs', ...problems] : [];
  return [...lines, '', 'Violated', ...told, ...more, ...excerpts, ...logged].join('\n');
}

function shown(value: unknown): string {
  if (typeof value !== 'object' || value === null) return String(value);
  const entries = Object.entries(value);
  return entries.length === 0 ? '-' : entries.map(([key, count]) => `${key} ${count}`).join(', ');
}

function excerptsOf(violations: readonly Violation[], events: readonly StoredEvent[]): string[] {
  const seen = new Set<string>();
  return violations.flatMap(({ order_id, run_id }): string[] => {
    const key = order_id ?? run_id ?? '';
    if (key === '' || seen.has(key) || seen.size >= EXCERPTS) return [];
    seen.add(key);
    const own = events.filter((event) => event.order_id === key || event.run_id === key);
    return ['', `Events of ${key}`, ...own.slice(-EXCERPT_EVENTS).map(eventLine)];
  });
}

function eventLine({ seq, ts, type, order_id, unit_id, payload }: StoredEvent): string {
  const text = JSON.stringify(payload);
  return `  ${seq} ${ts} ${type} ${order_id ?? ''} ${unit_id ?? ''} ${text.slice(0, 300)}`;
}
