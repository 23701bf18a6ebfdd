import { describe, expect, test } from 'vitest';
import { LIMITS } from '#libs/contracts';
import { eventScript, when } from '#libs/testing';
import {
  ack,
  cancelOrder,
  claimOrder,
  completeOrder,
  delayMs,
  enqueueOrder,
  escalate,
  type EventDraft,
  evolveOrder,
  evolveService,
  evolveTheater,
  failOrder,
  openTheater,
  presentWorktree,
  type OrderState,
  recoveryRequired,
  recoverOrder,
  reissueOrder,
  serviceEdge,
  type ServiceState,
  startOrder,
  type TheaterState,
  unknownOrder,
  worktreeArchived,
  worktreeCreated,
  worktreeQuarantined,
  worktreeReady,
  worktreeRemoved,
} from './mod.ts';

const NOBODY = unknownOrder({ order_id: 'o1', run_id: 'r1', theater_id: 'demo', garrison_id: 'g' });
const UNIT = { attempt: 1, unitId: 'u1' };
const FAILURE = { code: 'MODEL_ERROR', message: 'no answer', stage: 'model', retryable: true };

/** An order that lives through decisions; each must be free of anomalies. */
function order(maxRetries = 1) {
  const script = eventScript();
  let state: OrderState = evolveOrder(
    undefined,
    script.add('ORDER_CREATED', { constraints: { budget_seconds: 60, max_retries: maxRetries } }),
  );
  return {
    get state() {
      return state;
    },
    take(drafts: EventDraft[]) {
      for (const event of script.append(...drafts)) state = evolveOrder(state, event);
      expect(state.anomaly_last).toBeNull();
    },
  };
}

describe('units', () => {
  test('enqueued once for each attempt', () => {
    const one = order();
    const enqueue = (state: OrderState) =>
      enqueueOrder(state, { worktreePath: '/w/o1', class: 'default' });
    one.take(when(one.state, enqueue).thenEvents('ORDER_ENQUEUED'));
    when(one.state, enqueue).thenNothing();
    one.take(when(one.state, (state) => startOrder(state, UNIT)).thenEvents('ORDER_STARTED'));
    when(one.state, enqueue).thenRefused('ILLEGAL_TRANSITION');
  });

  test('of two units that claim, one wins; its own second claim is done already', () => {
    const one = order();
    const claim = (unitId: string) => (state: OrderState) =>
      claimOrder(state, { attempt: 1, unitId });
    const [first] = when(one.state, claim('u1')).thenEvents('ORDER_CLAIMED');
    const [second] = when(one.state, claim('u2')).thenEvents('ORDER_CLAIMED');
    expect(first?.key).not.toBe(second?.key);
    expect(first?.expect).toBe(second?.expect);
    one.take(first ? [first] : []);
    when(one.state, claim('u1')).thenNothing();
    when(one.state, claim('u2')).thenRefused('ILLEGAL_TRANSITION');
    when(one.state, (state) => startOrder(state, { attempt: 1, unitId: 'u2' })).thenRefused(
      'ILLEGAL_TRANSITION',
    );
  });

  test('the report is artifacts, AAR, end; a second one of the same commit is done already', () => {
    const one = order();
    const complete = (state: OrderState) =>
      completeOrder(state, {
        ...UNIT,
        commitSha: 'a'.repeat(40),
        artifacts: [{ path: 'outputs/a.md', type: 'text/markdown', bytes: 3 }],
        aar: { path: 'aar.json', status: 'completed' },
        usage: { input_tokens: 2, output_tokens: 1 },
      });
    one.take(when(one.state, (state) => startOrder(state, UNIT)).thenEvents('ORDER_STARTED'));
    const drafts = when(one.state, complete).thenEvents(
      'ARTIFACT_WRITTEN',
      'AAR_WRITTEN',
      'ORDER_COMPLETED',
    );
    expect(drafts.map((draft) => draft.expect)).toEqual([2, undefined, undefined]);
    one.take(drafts);
    expect(one.state).toMatchObject({ status: 'COMPLETED', cost: { input_tokens: 2 } });
    when(one.state, complete).thenNothing();
    when(one.state, (state) => cancelOrder(state, { reason: 'no' })).thenRefused(
      'ILLEGAL_TRANSITION',
    );
  });

  test('check 12: a unit of an old attempt is refused', () => {
    const one = order();
    one.take(when(one.state, (state) => startOrder(state, UNIT)).thenEvents('ORDER_STARTED'));
    one.take(
      when(one.state, (state) => reissueOrder(state, { reason: 'late' })).thenEvents(
        'ORDER_REISSUED',
      ),
    );
    when(one.state, (state) => failOrder(state, { ...UNIT, ...FAILURE })).thenRefused(
      'ILLEGAL_TRANSITION',
    );
  });

  test('an order that nobody created may be worked on, in any attempt', () => {
    const late = (state: OrderState) => claimOrder(state, { attempt: 3, unitId: 'u1' });
    const [draft] = when(NOBODY, late).thenEvents('ORDER_CLAIMED');
    expect(draft?.expect).toBe(0);
  });
});

describe('retries', () => {
  const overdue = (state: OrderState) =>
    recoverOrder(state, {
      reason: 'overdue',
      code: 'TIMEOUT',
      severity: 'HIGH',
      route: 'operator',
    });

  test('check 47: overdue with one retry: reissued once, then failed and escalated', () => {
    const one = order(1);
    one.take(when(one.state, (state) => startOrder(state, UNIT)).thenEvents('ORDER_STARTED'));
    one.take(
      when(one.state, overdue).thenEvents(
        'RECOVERY_STARTED',
        'ORDER_REISSUED',
        'RECOVERY_COMPLETED',
      ),
    );
    expect(one.state).toMatchObject({ status: 'QUEUED', attempt: 2, enqueued_at: null });
    one.take(
      when(one.state, (state) => startOrder(state, { attempt: 2, unitId: 'u2' })).thenEvents(
        'ORDER_STARTED',
      ),
    );
    one.take(when(one.state, overdue).thenEvents('ORDER_FAILED', 'ESCALATION_RAISED'));
    expect(one.state).toMatchObject({ status: 'FAILED', attempt: 2 });
    expect(one.state.last_error?.retryable).toBe(false);
  });

  test('check 47: max_retries 0 is never reissued', () => {
    const one = order(0);
    one.take(when(one.state, (state) => startOrder(state, UNIT)).thenEvents('ORDER_STARTED'));
    when(one.state, (state) => reissueOrder(state, { reason: 'x' })).thenRefused(
      'ILLEGAL_TRANSITION',
    );
    one.take(when(one.state, overdue).thenEvents('ORDER_FAILED', 'ESCALATION_RAISED'));
    when(one.state, overdue).thenNothing();
  });

  test('a result found wanting with no attempt left is escalated and stays COMPLETED', () => {
    const one = order(0);
    const complete = (state: OrderState) =>
      completeOrder(state, { ...UNIT, commitSha: 'a'.repeat(40) });
    one.take(when(one.state, complete).thenEvents('ORDER_COMPLETED'));
    const wanting = (state: OrderState) => recoveryRequired(state, { reason: 'missing AAR' });
    one.take(when(one.state, wanting).thenEvents('RECOVERY_REQUIRED'));
    one.take(when(one.state, overdue).thenEvents('ESCALATION_RAISED'));
    expect(one.state.status).toBe('COMPLETED');
  });

  test('check 48: COMPLETED and CANCELLED are never reissued', () => {
    const done = order();
    const complete = (state: OrderState) =>
      completeOrder(state, { ...UNIT, commitSha: 'a'.repeat(40) });
    done.take(when(done.state, complete).thenEvents('ORDER_COMPLETED'));
    const gone = order();
    gone.take(
      when(gone.state, (state) => cancelOrder(state, { reason: 'x' })).thenEvents(
        'ORDER_CANCELLED',
      ),
    );
    for (const { state } of [done, gone]) {
      when(state, overdue).thenRefused('ILLEGAL_TRANSITION');
      when(state, (one) => reissueOrder(one, { reason: 'x' })).thenRefused('ILLEGAL_TRANSITION');
    }
  });

  test('check 48: two patrols at once make the same events; after one the other has none', () => {
    const one = order();
    one.take(when(one.state, (state) => startOrder(state, UNIT)).thenEvents('ORDER_STARTED'));
    const patrol = () =>
      when(one.state, overdue).thenEvents(
        'RECOVERY_STARTED',
        'ORDER_REISSUED',
        'RECOVERY_COMPLETED',
      );
    const first = patrol();
    expect(patrol()).toEqual(first);
    one.take(first);
    when(one.state, overdue).thenRefused('ILLEGAL_TRANSITION');
  });

  test('the wait grows with each attempt and stays within its jitter', () => {
    expect([1, 2, 3, 4, 5, 9].map((attempt) => delayMs(attempt, 0.5))).toEqual([
      1_000, 5_000, 30_000, 120_000, 600_000, 600_000,
    ]);
    expect([delayMs(1, 0), delayMs(1, 1)]).toEqual([800, 1_200]);
  });

  test('an order without a cap of its own has the default', () => {
    const one = evolveOrder(undefined, eventScript().add('ORDER_FAILED'));
    let state = one;
    const script = eventScript();
    script.add('ORDER_FAILED');
    for (let n = 0; n < LIMITS.retriesDefault; n += 1) {
      const drafts = when(state, (now) => reissueOrder(now, { reason: 'x' })).thenEvents(
        'ORDER_REISSUED',
      );
      state = [...script.append(...drafts), script.add('ORDER_FAILED')].reduce(evolveOrder, state);
    }
    when(state, (now) => reissueOrder(now, { reason: 'x' })).thenRefused('ILLEGAL_TRANSITION');
  });
});

describe('recovery and escalation', () => {
  test('a reason is told once; another one is told too', () => {
    const one = order();
    const needed = (reason: string) => (state: OrderState) => recoveryRequired(state, { reason });
    one.take(when(one.state, needed('stall')).thenEvents('RECOVERY_REQUIRED'));
    when(one.state, needed('stall')).thenNothing();
    one.take(when(one.state, needed('dirty')).thenEvents('RECOVERY_REQUIRED'));
  });

  test('an escalation is raised once for a cause and acknowledged once', () => {
    const one = order();
    const raise = (state: OrderState) =>
      escalate(state, { severity: 'HIGH', route: 'operator', reason: 'r', cause: 'c' });
    one.take(when(one.state, raise).thenEvents('ESCALATION_RAISED'));
    when(one.state, raise).thenNothing();
    const escalationId = one.state.escalations[0]?.escalation_id ?? '';
    const seen = (state: OrderState) => ack(state, { escalationId, by: 'me' });
    one.take(when(one.state, seen).thenEvents('ESCALATION_ACKED'));
    when(one.state, seen).thenNothing();
    when(one.state, (state) => ack(state, { escalationId: 'x', by: 'me' })).thenRefused(
      'ILLEGAL_TRANSITION',
    );
  });
});

describe('worktrees', () => {
  const made = { path: '/w/o1', branch: 'order_o1', baseSha: 'b'.repeat(40) };
  const create = (state: OrderState) => worktreeCreated(state, made);

  test('a cancelled order gets none', () => {
    const one = order();
    one.take(
      when(one.state, (state) => cancelOrder(state, { reason: 'no need' })).thenEvents(
        'ORDER_CANCELLED',
      ),
    );
    when(one.state, create).thenRefused('ILLEGAL_TRANSITION');
  });

  test('check 19: made once; after it was removed it may be made again (check 22)', () => {
    const one = order();
    const [first] = when(one.state, create).thenEvents('WORKTREE_CREATED');
    one.take(first ? [first] : []);
    when(one.state, create).thenNothing();
    one.take(when(one.state, worktreeReady).thenEvents('WORKTREE_READY'));
    when(one.state, worktreeReady).thenNothing();
    when(one.state, (state) => worktreeCreated(state, { ...made, branch: 'other' })).thenRefused(
      'WORKTREE_CONFLICT',
    );
    const archive = (state: OrderState) => worktreeArchived(state, { archivePath: '/a/o1.tar' });
    one.take(when(one.state, archive).thenEvents('WORKTREE_ARCHIVED'));
    when(one.state, archive).thenNothing();
    const remove = (state: OrderState) => worktreeRemoved(state, { reason: 'done' });
    one.take(when(one.state, remove).thenEvents('WORKTREE_REMOVED'));
    when(one.state, remove).thenNothing();
    const [again] = when(one.state, create).thenEvents('WORKTREE_CREATED');
    expect(again?.key).not.toBe(first?.key);
  });

  test('one in quarantine is not used again; one that never was cannot be removed', () => {
    const one = order();
    when(one.state, (state) => worktreeRemoved(state, { reason: 'x' })).thenRefused(
      'WORKTREE_NOT_FOUND',
    );
    one.take(when(one.state, create).thenEvents('WORKTREE_CREATED'));
    one.take(
      when(one.state, (state) => worktreeQuarantined(state, { reason: 'x' })).thenEvents(
        'WORKTREE_QUARANTINED',
      ),
    );
    when(one.state, worktreeReady).thenRefused('ILLEGAL_TRANSITION');
    expect(presentWorktree(one.state)).toBe(null);
    one.take(when(one.state, create).thenEvents('WORKTREE_CREATED'));
    expect(presentWorktree(one.state)).toMatchObject({ state: 'CREATED' });
  });
});

test('a service is told of on the edge only (check 49)', () => {
  const script = eventScript();
  let state: ServiceState | undefined;
  const probe = (healthy: boolean) => (now: ServiceState | undefined) =>
    serviceEdge(now, { service: 'vault', garrisonId: 'g', healthy, reason: 'probe' });
  const take = (drafts: EventDraft[]) => {
    for (const event of script.append(...drafts)) state = evolveService(state, event);
  };
  when(state, probe(true)).thenNothing();
  take(when(state, probe(false)).thenEvents('SERVICE_DEGRADED'));
  when(state, probe(false)).thenNothing();
  const { since } = state ?? {};
  state = evolveService(state, script.add('SERVICE_DEGRADED', { service: 'vault' }));
  expect(state?.since).toBe(since);
  take(when(state, probe(true)).thenEvents('SERVICE_RECOVERED'));
  when(state, probe(true)).thenNothing();
  const keys = when(state, probe(false)).thenEvents('SERVICE_DEGRADED');
  expect(script.append(...keys)[0]?.event_id).not.toBe(script.events[0]?.event_id);
});

test('check 18: a theater opens once, at one path', () => {
  const script = eventScript();
  const command = {
    theaterId: 'demo',
    garrisonId: 'g',
    repoPath: '/t/demo/repo',
    worktreesPath: '/t/demo/worktrees',
    mainline: 'main',
    headSha: 'a'.repeat(40),
  };
  const open = (state: TheaterState | undefined) => openTheater(state, command);
  const drafts = when<TheaterState | undefined>(undefined, open).thenEvents('THEATER_OPENED');
  let state = script.append(...drafts).reduce<TheaterState | undefined>(evolveTheater, undefined);
  when(state, open).thenNothing();
  when(state, (now) => openTheater(now, { ...command, repoPath: '/other' })).thenRefused(
    'THEATER_CONFLICT',
  );
  state = evolveTheater(state, script.add('INTEGRATED', { commit_sha: 'b'.repeat(40) }));
  expect(state).toMatchObject({ opened: true, head_sha: 'b'.repeat(40), mainline: 'main' });
});
