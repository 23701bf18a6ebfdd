import { type EventType, LIMITS, type MilestoneEvent, type StoredEvent } from '#libs/contracts';
import { ledgerSubject } from '#libs/eventlog';

/** What of IronClaw's own may become milestones. */
export const MILESTONE_KINDS = ['run', 'integration', 'escalation'] as const;
export type MilestoneKind = (typeof MILESTONE_KINDS)[number];

/** The events that are told, and as what. */
const KINDS: Partial<Record<EventType, MilestoneKind>> = {
  RUN_CREATED: 'run',
  RUN_COMPLETED: 'run',
  RUN_FAILED: 'run',
  RUN_CANCELLED: 'run',
  INTEGRATED: 'integration',
  INTEGRATION_FAILED: 'integration',
  ESCALATION_RAISED: 'escalation',
  ESCALATION_ACKED: 'escalation',
  DECISION_GIVEN: 'escalation',
};
export const MILESTONE_EVENTS = Object.keys(KINDS) as EventType[];

/** Characters of what was written by others. */
const QUOTED_CHARS = 200;

type Told = Omit<MilestoneEvent, 'timestampUtc' | 'source'>;
type Evidence = MilestoneEvent['evidence'][number];

/**
 * The milestone that an event is, if its kind is among `kinds`. It follows from the event alone, so
 * that an event that is handled twice gives the same milestone under the same key. The first piece of
 * evidence is the event itself, in the ledger.
 */
export function milestoneOf(
  event: StoredEvent,
  kinds: readonly string[],
): MilestoneEvent | undefined {
  const kind = KINDS[event.type];
  if (kind === undefined || !kinds.includes(kind)) return undefined;
  const told = tell(event);
  if (told === undefined) return undefined;
  const evidence = [recorded(event), ...told.evidence].slice(0, LIMITS.evidenceItems);
  return { ...told, evidence, timestampUtc: event.ts, source: 'orchestrator' };
}

function tell(event: StoredEvent): Told | undefined {
  switch (event.type) {
    case 'RUN_CREATED':
    case 'RUN_COMPLETED':
    case 'RUN_FAILED':
    case 'RUN_CANCELLED':
      return tellRun(event);
    case 'INTEGRATED':
    case 'INTEGRATION_FAILED':
      return tellIntegration(event);
    case 'ESCALATION_RAISED':
    case 'ESCALATION_ACKED':
    case 'DECISION_GIVEN':
      return tellEscalation(event);
    default:
      return undefined;
  }
}

type Of<T extends EventType> = Extract<StoredEvent, { type: T }>;

function tellRun(
  event: Of<'RUN_CREATED' | 'RUN_COMPLETED' | 'RUN_FAILED' | 'RUN_CANCELLED'>,
): Told {
  const run = event.run_id ?? '';
  const about = { scope: 'runtime', evidence: [] };
  switch (event.type) {
    case 'RUN_CREATED': {
      const objective = quoted(event.payload.objective);
      return {
        ...about,
        milestoneId: `run.started.${run}`,
        claim: `Run ${run} was started${objective === '' ? '' : `: ${objective}`}`,
        riskStatus: 'on-track',
        nextAction: 'Plan the run and dispatch its orders',
      };
    }
    case 'RUN_COMPLETED': {
      const { artifacts = [], duration_ms: ms } = event.payload;
      const took = ms === undefined ? '' : ` after ${(ms / 1_000).toFixed(1)} s`;
      return {
        ...about,
        milestoneId: `run.completed.${run}`,
        claim: `Run ${run} is complete${took}: ${artifacts.length} artifacts on the mainline`,
        evidence: artifacts.map(({ order_id, path, commit_sha }) => ({
          type: 'doc',
          path,
          summary: `Artifact of order ${order_id}`,
          ref: commit_sha,
        })),
        riskStatus: 'completed',
        nextAction: 'Read the reply and the artifacts',
      };
    }
    case 'RUN_FAILED': {
      const { code, message, reason, order_id } = event.payload;
      const why = quoted(message ?? reason ?? code);
      return {
        ...about,
        milestoneId: `run.failed.${run}`,
        claim: `Run ${run} has failed${why === '' ? '' : `: ${why}`}`,
        riskStatus: 'blocked',
        nextAction: order_id === undefined ? 'Look at the run' : `Look at order ${order_id}`,
      };
    }
    case 'RUN_CANCELLED': {
      const why = quoted(event.payload.reason);
      return {
        ...about,
        milestoneId: `run.cancelled.${run}`,
        claim: `Run ${run} was cancelled${why === '' ? '' : `: ${why}`}`,
        riskStatus: 'at-risk',
        nextAction: 'Start a new run where the work is still wanted',
      };
    }
  }
}

function tellIntegration(event: Of<'INTEGRATED' | 'INTEGRATION_FAILED'>): Told {
  const order = event.order_id ?? '';
  const attempt = event.payload.attempt ?? 1;
  const about = { scope: 'pipeline' };
  if (event.type === 'INTEGRATED') {
    const { commit_sha, mainline = 'main' } = event.payload;
    const commit: Evidence[] =
      commit_sha === undefined
        ? []
        : [{ type: 'commit', path: mainline, summary: `Merge of order ${order}`, ref: commit_sha }];
    return {
      ...about,
      milestoneId: `integration.passed.${order}.${attempt}`,
      claim: `Order ${order} passed its gates and is on ${mainline}`,
      evidence: commit,
      riskStatus: 'on-track',
      nextAction: 'Go on with the orders that wait for it',
    };
  }
  const { gate, message, files = [] } = event.payload;
  const why = [gate, quoted(message)].filter(Boolean).join(': ');
  return {
    ...about,
    milestoneId: `integration.failed.${order}.${attempt}.${event.event_id}`,
    claim: `Order ${order} did not pass integration${why === '' ? '' : ` (${why})`}`,
    evidence: files
      .filter((path) => path.trim() !== '')
      .map((path) => ({ type: 'doc', path, summary: 'File in conflict' })),
    riskStatus: 'at-risk',
    nextAction: 'Mend the work or reissue the order; the mainline is unchanged',
  };
}

function tellEscalation(
  event: Of<'ESCALATION_RAISED' | 'ESCALATION_ACKED' | 'DECISION_GIVEN'>,
): Told {
  const id = event.payload.escalation_id ?? event.event_id;
  const issue: Evidence = {
    type: 'issue',
    path: `escalations/${id}`,
    summary: `Escalation ${id}`,
    ...(event.order_id !== null && { ref: event.order_id }),
  };
  const about = { scope: 'governance', evidence: [issue] };
  switch (event.type) {
    case 'ESCALATION_RAISED': {
      const { severity = 'MEDIUM', reason, decision_by } = event.payload;
      const why = quoted(reason);
      return {
        ...about,
        milestoneId: `escalation.raised.${id}`,
        claim: `Escalation ${severity}${why === '' ? '' : `: ${why}`}`,
        riskStatus: severity === 'HIGH' || severity === 'CRITICAL' ? 'blocked' : 'at-risk',
        nextAction:
          decision_by === undefined
            ? 'Acknowledge the escalation'
            : `Approve or deny before ${decision_by}`,
      };
    }
    case 'ESCALATION_ACKED': {
      const by = quoted(event.payload.by);
      return {
        ...about,
        milestoneId: `escalation.acked.${id}`,
        claim: `Escalation ${id} is acknowledged${by === '' ? '' : ` by ${by}`}`,
        riskStatus: 'on-track',
        nextAction: 'Mend what was escalated',
      };
    }
    case 'DECISION_GIVEN': {
      const { decision = 'timeout' } = event.payload;
      const approved = decision === 'approve';
      return {
        ...about,
        milestoneId: `escalation.decided.${id}`,
        claim: `Escalation ${id} is decided: ${decision}`,
        riskStatus: approved ? 'on-track' : 'at-risk',
        nextAction: approved ? 'Go on with what was approved' : 'See what else can be done',
      };
    }
  }
}

function recorded(event: StoredEvent): Evidence {
  return {
    type: 'log',
    path: ledgerSubject(event),
    summary: `${event.type} in the ledger`,
    ref: `LEDGER:${event.seq}`,
  };
}

/** On one line, cut, free of control characters. */
function quoted(text: string | undefined): string {
  const line = (text ?? '').replace(/[\s\p{Cc}]+/gu, ' ').trim();
  const chars = Array.from(line);
  return chars.length <= QUOTED_CHARS ? line : `${chars.slice(0, QUOTED_CHARS - 1).join('')}…`;
}
