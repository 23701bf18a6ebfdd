import { API, type EventType, isAppError } from '#libs/contracts';
import { createAggregateStore, ledgerFilter, ledgerTail } from '#libs/eventlog';
import { isTerminal, ORDER_STATUSES } from '#libs/orders';
import { armPeriodic, command, PATROL_TIMER, type RoleContext } from '#libs/runtime';
import {
  alarm,
  escalationIdOf,
  evolveWatch,
  type Limits,
  NO_WATCH,
  sampleOf,
  SENTINEL,
  type Seen,
  tickAgeMs,
  type Verdict,
  verdictOf,
  type WatchState,
} from './watch.ts';

/** A duty officer is dead after so many periods without a tick. */
const TICKS_MISSED = 3;
/** It is ineffective after so many audits with a rising backlog. */
const RISING_AUDITS = 3;
const PATROL_MS = 30_000;
/** What shows that work goes on, whatever the backlog does. */
const PROGRESS: readonly EventType[] = [
  'ORDER_COMPLETED',
  'INTEGRATED',
  'RECOVERY_COMPLETED',
  'UNIT_SIGNAL',
  'MODEL_CALL_COMPLETED',
  'TOOL_CALLED',
];

export type Audited = {
  last_tick_at: string | null;
  tick_age_ms: number | null;
  backlog: { at: string; count: number }[];
  verdict: Verdict;
  escalation_id: string | null;
  actions: string[];
};

export type Audit = (options: { byTimer: boolean }) => Promise<Audited>;

/** Judges the duty officer by the ledger; the audits' history is in the ledger too. */
export function createAudit(context: RoleContext): Audit {
  const { config, log } = context;
  const { garrisonId } = config;
  const filter = ledgerFilter({ garrison_id: garrisonId, run_id: null, order_id: null });
  const store = createAggregateStore(log.broker, NO_WATCH, evolveWatch);
  const startedMs = performance.now();
  const tickLimitMs = TICKS_MISSED * config.patrolMs;

  return async ({ byTimer }) => {
    const tail = await ledgerTail(log.broker);
    const { state: before } = await store.load(filter);
    const seen: Seen = {
      garrisonId,
      nowMs: log.defaults.now().getTime(),
      ...(await lookAtBacklog(context, before, tail)),
    };
    const limits: Limits = {
      tickAgeMs: tickLimitMs,
      rising: RISING_AUDITS,
      // After a pause of the whole system the first ticks are still to come.
      mayBeDead: !byTimer || performance.now() - startedMs > tickLimitMs,
    };
    await command(log, store, filter, ({ state }) => {
      const sample = sampleOf(state, seen);
      return { ok: true, events: sample === null ? [] : [sample] };
    });
    const { loaded, appended } = await command(log, store, filter, ({ state }) =>
      alarm(state, verdictOf(state, seen.nowMs, limits), seen),
    );
    const { state } = loaded;
    const verdict = verdictOf(state, seen.nowMs, limits);
    const actions = appended.length > 0 ? ['escalated to the operator'] : [];
    if (verdict === 'dead') actions.push(...(await takeOver(context)));
    return {
      last_tick_at: state.lastTick?.at ?? null,
      tick_age_ms: tickAgeMs(state, seen.nowMs),
      backlog: historyWith(state, seen),
      verdict,
      escalation_id: escalationIdOf(state, verdict, garrisonId),
      actions,
    };
  };
}

function historyWith({ samples }: WatchState, { backlog, nowMs }: Seen): Audited['backlog'] {
  const history = samples.map(({ at, count }) => ({ at, count }));
  if (backlog !== null && history.at(-1)?.count !== backlog) {
    history.push({ at: new Date(nowMs).toISOString(), count: backlog });
  }
  return history;
}

/** The backlog, and whether anything was achieved since the last sample. */
async function lookAtBacklog(
  { client, logger }: RoleContext,
  { samples }: WatchState,
  tail: number,
): Promise<Pick<Seen, 'backlog' | 'progress'>> {
  try {
    const { orders } = await client.call(API.ledger.stats, { at_least: tail });
    const live = ORDER_STATUSES.filter((status) => !isTerminal(status));
    const backlog = live.reduce((sum, status) => sum + (orders[status] ?? 0), 0);
    const last = samples.at(-1)?.seq;
    if (last === undefined) return { backlog, progress: false };
    for (const type of PROGRESS) {
      const since = { type, from_seq: last + 1, limit: 1 };
      const { events } = await client.call(API.ledger.events, since);
      if (events.length > 0) return { backlog, progress: true };
    }
    return { backlog, progress: false };
  } catch (error) {
    if (!isAppError(error, 'DEPENDENCY_UNAVAILABLE', 'VIEW_BEHIND')) throw error;
    // Whether the duty officer lives can be told all the same.
    logger.warn({ err: error }, 'the backlog is not known');
    return { backlog: null, progress: false };
  }
}

/** Does what a standby would: a patrol by any instance that answers, and the timer set anew. */
async function takeOver(context: RoleContext): Promise<string[]> {
  const { client, config, logger } = context;
  const actions: string[] = [];
  try {
    await armPeriodic(context, PATROL_TIMER, config.patrolMs);
    actions.push('set the patrol timer anew');
    const options = { timeoutMs: PATROL_MS };
    const { tick_id } = await client.call(
      API['duty-officer'].patrol,
      { source: SENTINEL },
      options,
    );
    actions.push(`had patrol ${tick_id} done`);
  } catch (error) {
    if (!isAppError(error)) throw error;
    logger.error({ err: error }, 'no duty officer answers');
    actions.push(`asked for a patrol in vain: ${error.message}`);
  }
  return actions;
}
