import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  acceptMission,
  type Board,
  type Decided,
  type EventDraft,
  fold,
  initialState,
  type MissionState,
  recordMerge,
  register,
  type Result,
  retry,
  startImplementation,
  startReview,
  toEnvelopes,
  transition,
} from '#libs/missions';
import {
  boardOfState,
  IMPLEMENTER,
  ownPolicy,
  pastOf,
  REVIEWER,
  type RunSettings,
  standingOf,
  type Step,
  stepsOf,
} from './run-rules.ts';

// What the runner does, played through in memory: steps lead to the events of their decisions.

const SETTINGS: RunSettings = {
  active: true,
  review: 'unit',
  merge: 'squash',
  theater_id: null,
  playbook: null,
  merge_attempt: 1,
};
const IDENTITY = { mission_slug: '064-m', mission_number: '064', mission_type: 'software-dev' };
const EMITTER = {
  projectUuid: '5f0c4b52-0000-4000-8000-000000000001',
  nodeId: 'n',
  buildId: '5f0c4b52-0000-4000-8000-000000000002',
};
const policy = ownPolicy('1.0.0');
const facts = { subtasksComplete: true, implementationEvidence: true };

type Outcome = 'well' | 'blocked' | 'sent back';

/** A mission in memory, whose board is what its events tell. */
function play(dependencies: Readonly<Record<string, readonly string[]>>) {
  let state: MissionState = initialState;
  let count = 0;
  const events: ReturnType<typeof toEnvelopes> = [];
  const add = (drafts: readonly EventDraft[]): void => {
    const newId = (): string => {
      count += 1;
      return `01J${String(count).padStart(23, '0')}`;
    };
    const stamp = { newId, nowMs: 0, lamport: state.lamport, afterMs: state.lastMs };
    const made = toEnvelopes(drafts, IDENTITY, EMITTER, stamp);
    events.push(...made);
    state = fold(state, made);
  };
  const wps = Object.entries(dependencies).map(([wp_id, waits]) => ({
    wp_id,
    title: wp_id,
    dependencies: waits,
  }));
  add(register({ identity: IDENTITY, targetBranch: 'main', wps }, state));
  const boardNow = (): Board => boardOfState(state) as Board;
  const decide = <A>(rule: (board: Board, state: MissionState) => Result<Decided<A>>): boolean => {
    const decision = rule(boardNow(), state);
    if (decision.ok) add(decision.value.events);
    return decision.ok;
  };
  const move = (wpId: string, to: string, actor: string, more: object = {}): boolean =>
    decide((board, now) => transition(board, now, { wpId, to, actor, policy, facts, ...more }));

  const take = (step: Step, outcome: Outcome): boolean => {
    switch (step.kind) {
      case 'accept':
        return decide((board, now) => acceptMission(board, now, { actor: IMPLEMENTER, at: 't' }));
      case 'merge': {
        const refused = { attempt: 1, of: step.of };
        const payload = {
          error_type: 'validation',
          error_message: 'no',
          merge_refused: refused,
        };
        if (outcome === 'well') {
          const merged = { target: 'main', strategy: 'squash', commit: 'c', at: 't' };
          return decide((board, now) => recordMerge(board, now, merged));
        }
        add([{ type: 'ErrorLogged', wpId: undefined, payload }]);
        return true;
      }
      case 'start': {
        const { wpId } = step;
        const command = { wpId, actor: IMPLEMENTER, policy };
        return decide((board, now) => startImplementation(board, now, command));
      }
      case 'start review': {
        const { wpId } = step;
        return decide((board, now) => startReview(board, now, { wpId, actor: REVIEWER, policy }));
      }
      case 'implement': {
        const to = outcome === 'blocked' ? 'blocked' : 'for_review';
        return move(step.wpId, to, IMPLEMENTER, { reviewRef: `run ${step.eventId}` });
      }
      case 'review': {
        const verdict = outcome === 'well' ? 'approved' : 'changes_requested';
        const reviewResult = { reviewer: REVIEWER, verdict, reference: `run ${step.eventId}` };
        const to = { well: 'approved', blocked: 'blocked', 'sent back': 'in_progress' }[outcome];
        return move(step.wpId, to, REVIEWER, { reviewResult });
      }
    }
  };
  return {
    events,
    now: () => state,
    board: boardNow,
    decide,
    move,
    take,
    steps: (settings: RunSettings = SETTINGS) => stepsOf(boardNow(), state, settings),
    standing: (settings: RunSettings = SETTINGS) => standingOf(boardNow(), state, settings),
  };
}

/** Work packages that wait only for ones before them. */
const graph = fc
  .array(fc.array(fc.nat(5), { maxLength: 3 }), { minLength: 1, maxLength: 6 })
  .map((waits) =>
    Object.fromEntries(
      waits.map((ids, i) => [
        `WP0${i + 1}`,
        [...new Set(ids.filter((id) => id < i).map((id) => `WP0${id + 1}`))],
      ]),
    ),
  );
const outcome = fc.constantFrom<Outcome>('well', 'well', 'blocked', 'sent back');

test('D.37 steps that go well end every mission merged, each work package done once', () => {
  fc.assert(
    fc.property(graph, fc.infiniteStream(fc.nat(100)), (dependencies, choices) => {
      const mission = play(dependencies);
      for (let n = 0; n < 200 && mission.steps().length > 0; n += 1) {
        expect(mission.standing()).toBe('running');
        const steps = mission.steps();
        const step = steps[(choices.next().value as number) % steps.length] as Step;
        expect(mission.take(step, 'well')).toBe(true);
      }
      expect([mission.standing(), mission.steps()]).toEqual(['merged', []]);
      const claims = mission.events.filter(({ payload }) => payload.to_lane === 'claimed');
      expect(claims.map(({ payload }) => String(payload.wp_id)).sort()).toEqual(
        Object.keys(dependencies).sort(),
      );
    }),
  );
});

test('D.37 D.38 nothing is accepted or merged while a work package is open; a refusal stands', () => {
  fc.assert(
    fc.property(graph, fc.infiniteStream(fc.tuple(fc.nat(100), outcome)), (waits, choices) => {
      const mission = play(waits);
      for (let n = 0; n < 60 && mission.steps().length > 0; n += 1) {
        const [choice, how] = choices.next().value as [number, Outcome];
        const steps = mission.steps();
        const isOpen = [...mission.now().wps.values()].some(
          ({ lane }) => !['approved', 'done', 'canceled'].includes(lane),
        );
        const ends = steps.filter((step) => !('wpId' in step));
        expect(ends.length).toBe(isOpen ? 0 : 1);
        expect(mission.take(steps[choice % steps.length] as Step, how)).toBe(true);
      }
      // At rest it is told why, and a repeat of any look does nothing.
      if (mission.steps().length === 0) {
        expect(['blocked', 'merge refused', 'merged']).toContain(mission.standing());
      }
      expect(mission.steps({ ...SETTINGS, active: false })).toEqual([]);
    }),
  );
});

test('a refused merge is tried again when that is asked for, and when it was accepted anew', () => {
  const mission = play({ WP01: [] });
  const go = (how: Outcome = 'well') => mission.take(mission.steps()[0] as Step, how);
  for (let n = 0; n < 5; n += 1) go();
  expect(mission.steps().map(({ kind }) => kind)).toEqual(['merge']);
  expect(mission.steps({ ...SETTINGS, merge: 'none' })).toEqual([]);
  expect(mission.standing({ ...SETTINGS, merge: 'none' })).toBe('accepted');
  go('blocked');
  expect([mission.steps(), mission.standing()]).toEqual([[], 'merge refused']);
  const again = mission.steps({ ...SETTINGS, merge_attempt: 2 });
  expect(again.map(({ kind }) => kind)).toEqual(['merge']);
  expect(mission.standing({ ...SETTINGS, active: false })).toBe('stopped');
  // Somebody takes it back and approves it: what was accepted before is accepted anew.
  mission.move('WP01', 'in_progress', 'alice', { reviewRef: 'r' });
  expect([mission.steps(), mission.standing()]).toEqual([[], 'running']);
  const evidence = { review: { reviewer: 'bob', verdict: 'approved', reference: 'r' } };
  expect(mission.move('WP01', 'approved', 'alice', { evidence })).toBe(true);
  expect(mission.steps().map(({ kind }) => kind)).toEqual(['accept']);
  go();
  expect(mission.steps().map(({ kind }) => kind)).toEqual(['merge']);
});

test('a mission whose work packages are all canceled is neither accepted nor merged', () => {
  const mission = play({ WP01: [] });
  expect(mission.move('WP01', 'canceled', 'alice')).toBe(true);
  expect([mission.steps(), mission.standing()]).toEqual([[], 'blocked']);
});

test('D.25 only what is blocked is brought back, and then it is started anew', () => {
  const mission = play({ WP01: [], WP02: ['WP01'] });
  const back = (wpId: string) =>
    mission.decide((board, now) => retry(board, now, { wpId, actor: 'ana', note: 'again' }));
  expect([back('WP01'), back('WP77')]).toEqual([false, false]);
  mission.take(mission.steps()[0] as Step, 'well');
  mission.take(mission.steps()[0] as Step, 'blocked');
  expect([mission.steps(), mission.standing()]).toEqual([[], 'blocked']);
  expect(back('WP01')).toBe(true);
  expect(mission.steps()).toEqual([{ kind: 'start', wpId: 'WP01', eventId: null }]);
  const last = mission.events.slice(-2).map(({ payload }) => [payload.actor, payload.to_lane]);
  expect(last).toEqual([
    ['ana', 'in_progress'],
    ['ana', 'planned'],
  ]);
});

test('rejections count from the last start; the run that was sent back is remembered', () => {
  const mission = play({ WP01: [] });
  const round = (how: Outcome) => {
    for (const wanted of ['implement', 'start review', 'review']) {
      const step = mission.steps().find(({ kind }) => kind === wanted) as Step;
      expect(mission.take(step, wanted === 'review' ? how : 'well')).toBe(true);
    }
  };
  mission.take(mission.steps()[0] as Step, 'well');
  round('sent back');
  round('sent back');
  const past = pastOf(mission.events, 'WP01');
  expect(past.rejections).toBe(2);
  expect(past.rejection).not.toBe(past.work);
  round('blocked');
  expect(pastOf(mission.events, 'WP01').rejections).toBe(2);
  mission.decide((board, now) => retry(board, now, { wpId: 'WP01', actor: 'ana', note: 'again' }));
  const none = { work: undefined, rejection: undefined, rejections: 0 };
  expect(pastOf(mission.events, 'WP01')).toEqual(none);
  expect(pastOf(mission.events, 'WP02')).toEqual(none);
});
