import { describe, expect, test } from 'vitest';
import { readyOf, summaryOf, viewOf } from './board.ts';
import { startImplementation, startReview, transition, type TransitionCommand } from './decide.ts';
import {
  acceptMission,
  appendHistory,
  markSubtask,
  mergeFaults,
  recordMerge,
  withdrawHistory,
} from './decide-mission.ts';
import { EDGES, LANES, parseLane } from './lanes.ts';
import { parseJsonFlag } from './review.ts';
import { BOARD, POLICY, REVIEW, script } from './testdata/boards.ts';
import type { Result } from './result.ts';
import { fold, initialState } from './state.ts';

type It = ReturnType<typeof script>;

const start = (it: It, wpId: string, actor: string) =>
  startImplementation(BOARD, it.state(), { wpId, actor, policy: POLICY });
const review = (it: It, wpId: string, actor: string) =>
  startReview(BOARD, it.state(), { wpId, actor, policy: POLICY });

const facts = { subtasksComplete: true };
const move = (it: It, to: string, more: Partial<TransitionCommand> = {}) =>
  transition(BOARD, it.state(), { wpId: 'WP01', actor: 'impl', to, facts, ...more });

function code(result: Result<unknown>): string {
  return result.ok ? 'ok' : result.error.code;
}
function data(result: Result<unknown>): unknown {
  return result.ok ? undefined : result.error.data;
}

describe('boards', () => {
  test('D.8 untouched work packages are planned, with the dependencies of their files', () => {
    const view = viewOf(BOARD, script().state());
    expect(view.map(({ wp_id, lane }) => `${wp_id} ${lane}`)).toEqual(
      BOARD.wps.map(({ wp_id }) => `${wp_id} planned`),
    );
    expect(view[2]?.dependencies).toEqual(['WP02', 'WP04']);
  });

  test('D.11 after a start: in_progress, last_actor, summary of all', () => {
    const it = script();
    it.apply(() => start(it, 'WP01', 'alice'));
    const view = viewOf(BOARD, it.state());
    expect(view[0]).toMatchObject({ lane: 'in_progress', last_actor: 'alice' });
    expect(summaryOf(view)).toMatchObject({ in_progress: 1, planned: 4 });
  });

  test('D.13 ready: exactly WP01 and WP04; an unknown dependency is never satisfied', () => {
    const it = script();
    expect(readyOf(BOARD, it.state()).map(({ wp_id }) => wp_id)).toEqual(['WP01', 'WP04']);
    for (const { wp_id } of BOARD.wps.slice(0, 4)) it.put(wp_id, 'done');
    expect(readyOf(BOARD, it.state())).toEqual([]);
  });

  test('D.14 a dependency that is approved lets its dependents start, and is told once', () => {
    const it = script();
    it.put('WP01', 'in_progress');
    it.apply(() => move(it, 'approved', { evidence: { review: REVIEW } }));
    expect(readyOf(BOARD, it.state()).map(({ wp_id }) => wp_id)).toContain('WP02');
    it.apply(() => move(it, 'done', { evidence: { review: REVIEW } }));
    const told = it.events.filter(({ event_type }) => event_type === 'DependencyResolved');
    expect(told.map(({ payload }) => payload.wp_id)).toEqual(['WP02']);
  });
});

describe('claims', () => {
  test('D.19 an unknown work package', () => {
    expect(code(start(script(), 'WP77', 'a'))).toBe('WP_NOT_FOUND');
  });

  test('D.20 a dependent waits', () => {
    const answer = start(script(), 'WP02', 'a');
    expect(code(answer)).toBe('DEPENDENCIES_NOT_SATISFIED');
    expect(data(answer)).toMatchObject({ unsatisfied_dependencies: ['WP01'] });
  });

  test('D.21 a start is two transitions with the policy', () => {
    const it = script();
    const answer = it.apply(() => start(it, 'WP01', 'impl'));
    expect(answer).toEqual({ from_lane: 'planned', to_lane: 'in_progress', no_op: false });
    const moves = it.events.filter(({ event_type }) => event_type === 'WPStatusChanged');
    expect(moves.map(({ payload }) => payload.to_lane)).toEqual(['claimed', 'in_progress']);
    for (const { payload } of moves) expect(payload.policy_metadata).toEqual(POLICY);
  });

  test('D.22 the same actor again: no event; another: WP_ALREADY_CLAIMED', () => {
    const it = script();
    it.apply(() => start(it, 'WP01', 'impl'));
    const before = it.events.length;
    expect(it.apply(() => start(it, 'WP01', 'impl'))).toMatchObject({ no_op: true });
    expect(it.events).toHaveLength(before);
    const other = start(it, 'WP01', 'bob');
    expect(code(other)).toBe('WP_ALREADY_CLAIMED');
    expect(data(other)).toMatchObject({ claimed_by: 'impl', requesting_actor: 'bob' });
  });

  test('D.23 claimed, and in review', () => {
    const it = script();
    it.put('WP01', 'claimed');
    expect(code(start(it, 'WP01', 'bob'))).toBe('WP_ALREADY_CLAIMED');
    expect(it.apply(() => start(it, 'WP01', 'impl'))).toMatchObject({ from_lane: 'claimed' });
    it.put('WP01', 'for_review');
    expect(code(start(it, 'WP01', 'impl'))).toBe('TRANSITION_REJECTED');
  });

  test('D.34 reviews: wrong lane, claim, again, another reviewer, no start meanwhile', () => {
    const it = script();
    expect(code(review(it, 'WP77', 'rev'))).toBe('WP_NOT_FOUND');
    expect(code(review(it, 'WP01', 'rev'))).toBe('TRANSITION_REJECTED');
    it.put('WP01', 'for_review');
    expect(it.apply(() => review(it, 'WP01', 'rev'))).toMatchObject({ to_lane: 'in_review' });
    expect(it.apply(() => review(it, 'WP01', 'rev'))).toMatchObject({ no_op: true });
    expect(code(review(it, 'WP01', 'other'))).toBe('WP_ALREADY_CLAIMED');
    expect(code(start(it, 'WP01', 'rev'))).toBe('TRANSITION_REJECTED');
  });
});

describe('transitions', () => {
  test('D.25 every edge that is not in the table is rejected, also from untouched', () => {
    for (const from of LANES) {
      for (const to of LANES) {
        if (EDGES[from].includes(to)) continue;
        const it = script();
        it.put('WP01', from);
        const evidence = { review: REVIEW };
        const more = { note: 'n', reviewRef: 'r/1', evidence, reviewResult: REVIEW };
        expect(`${from} ${to} ${code(move(it, to, more))}`).toBe(
          `${from} ${to} TRANSITION_REJECTED`,
        );
      }
    }
    for (const to of ['nowhere', 'genesis', '', 'constructor']) {
      expect(code(move(script(), to))).toBe('TRANSITION_REJECTED');
    }
    expect(code(move(script(), 'in_progress'))).toBe('TRANSITION_REJECTED');
  });

  test('D.26 a blank actor cannot claim; names are trimmed, in any case, with an alias', () => {
    expect(code(move(script(), 'claimed', { actor: ' ' }))).toBe('TRANSITION_REJECTED');
    expect(code(start(script(), 'WP01', ''))).toBe('TRANSITION_REJECTED');
    const it = script();
    it.put('WP01', 'claimed');
    expect(it.apply(() => move(it, ' Doing '))).toMatchObject({ to_lane: 'in_progress' });
    expect(parseLane('toString')).toBeUndefined();
  });

  test.each(['{x', '[1]', '1', 'null'])('D.27 --evidence-json %s is a USAGE_ERROR', (text) => {
    expect(code(parseJsonFlag('--evidence-json', text))).toBe('USAGE_ERROR');
  });

  test('D.28 back to planned needs a note', () => {
    const it = script();
    it.put('WP01', 'in_progress');
    expect(code(move(it, 'planned'))).toBe('TRANSITION_REJECTED');
    expect(code(move(it, 'planned', { note: 'because' }))).toBe('ok');
  });

  test('D.29 open subtasks block for_review, as does the lack of evidence', () => {
    const it = script();
    it.put('WP01', 'in_progress');
    const open = { subtasksComplete: false };
    expect(code(move(it, 'for_review', { facts: open }))).toBe('TRANSITION_REJECTED');
    const none = { subtasksComplete: true, implementationEvidence: false };
    expect(code(move(it, 'for_review', { facts: none }))).toBe('TRANSITION_REJECTED');
    expect(code(move(it, 'for_review'))).toBe('ok');
  });

  test('D.30 for_review to done is rejected, even with evidence', () => {
    const it = script();
    it.put('WP01', 'for_review');
    expect(code(move(it, 'done', { evidence: { review: REVIEW } }))).toBe('TRANSITION_REJECTED');
  });

  test.each<[string, string, Partial<TransitionCommand>, string]>([
    ['none', 'done', {}, 'TRANSITION_REJECTED'],
    [
      'no reference',
      'done',
      { reviewResult: { ...REVIEW, reference: ' ' } },
      'TRANSITION_REJECTED',
    ],
    [
      'bad verdict',
      'done',
      { reviewResult: { ...REVIEW, verdict: 'fine' } },
      'TRANSITION_REJECTED',
    ],
    [
      'changes requested to done',
      'done',
      { reviewResult: { ...REVIEW, verdict: 'changes_requested' } },
      'TRANSITION_REJECTED',
    ],
    ['other ref', 'done', { reviewResult: REVIEW, reviewRef: 'r/2' }, 'TRANSITION_REJECTED'],
    [
      'other evidence',
      'done',
      { reviewResult: REVIEW, evidence: { review: { ...REVIEW, reviewer: 'x' } } },
      'TRANSITION_REJECTED',
    ],
    ['approved', 'done', { reviewResult: REVIEW, reviewRef: 'r/1' }, 'ok'],
    [
      'changes requested to in_progress',
      'in_progress',
      { reviewResult: { ...REVIEW, verdict: 'changes_requested' } },
      'ok',
    ],
  ])('D.31 leaving in_review: %s', (_name, to, more, expected) => {
    const it = script();
    it.put('WP01', 'in_review');
    expect(code(move(it, to, more))).toBe(expected);
  });

  test('D.32 force needs a note and an actor, then any edge, never to genesis', () => {
    const it = script();
    it.put('WP01', 'done');
    expect(code(move(it, 'planned', { force: true }))).toBe('TRANSITION_REJECTED');
    expect(code(move(it, 'planned', { force: true, note: 'n', actor: '' }))).toBe(
      'TRANSITION_REJECTED',
    );
    expect(code(move(it, 'genesis', { force: true, note: 'n' }))).toBe('TRANSITION_REJECTED');
    for (const to of LANES) expect(code(move(it, to, { force: true, note: 'n' }))).toBe('ok');
  });
});

describe('missions', () => {
  test('D.36 history: unknown work package, no note; lanes stay', () => {
    const it = script();
    const entryId = `hist-${'0'.repeat(32)}`;
    const add = (wpId: string, note: string) =>
      appendHistory(BOARD, it.state(), { wpId, actor: 'a', note, entryId });
    expect(code(add('WP77', 'n'))).toBe('WP_NOT_FOUND');
    expect(code(add('WP01', ''))).toBe('USAGE_ERROR');
    const note = 'quotes " \' unicode ✓ $(x) `y`';
    expect(it.apply(() => add('WP01', note))).toMatchObject({ history_entry_id: entryId });
    expect(it.state().history.map((entry) => entry.note)).toEqual([note]);
    expect(viewOf(BOARD, it.state())[0]).toMatchObject({ lane: 'planned', last_actor: null });
  });

  test('D.35 an entry that is withdrawn does not count, in whatever order both are read', () => {
    const it = script();
    const [kept, taken] = ['0', '1'].map((digit) => `hist-${digit.repeat(32)}`) as [string, string];
    for (const entryId of [kept, taken]) {
      it.apply(() =>
        appendHistory(BOARD, it.state(), { wpId: 'WP01', actor: 'a', note: entryId, entryId }),
      );
    }
    const why = { wpId: 'WP01', actor: 'a', entryId: taken, reason: 'a hook' };
    it.apply(() => withdrawHistory(BOARD, it.state(), why));
    for (const events of [it.events, it.events.toReversed()]) {
      const { history, withdrawn } = fold(initialState, events);
      expect(history.map(({ note }) => note)).toEqual([kept]);
      expect([...withdrawn]).toEqual([taken]);
    }
    const unknown = withdrawHistory(BOARD, it.state(), { ...why, wpId: 'WP77' });
    expect(code(unknown)).toBe('WP_NOT_FOUND');
  });

  test('D.37 accept too early names who is not done; then each call is an acceptance', () => {
    const it = script();
    const accept = (missing?: string) =>
      acceptMission(BOARD, it.state(), { actor: 'a', at: 't', workflowEvidenceMissing: missing });
    expect(data(accept())).toEqual({ incomplete_wps: BOARD.wps.map(({ wp_id }) => wp_id) });
    for (const { wp_id } of BOARD.wps) it.put(wp_id, wp_id === 'WP03' ? 'approved' : 'done');
    expect(code(accept('p'))).toBe('WORKFLOW_EVIDENCE_REQUIRED');
    expect(it.apply(() => accept())).toMatchObject({ accepted: true, merge_pending_wps: ['WP03'] });
    it.apply(() => accept());
    expect(it.state().closings).toHaveLength(2);
  });

  test('D.39 a merge makes approved ones done, is recorded once, and names all', () => {
    const it = script();
    expect(mergeFaults(BOARD, it.state())).not.toEqual([]);
    for (const { wp_id } of BOARD.wps) it.put(wp_id, 'approved');
    expect(mergeFaults(BOARD, it.state())).toEqual([]);
    const record = { target: 'main', strategy: 'squash', commit: 'c', at: 't' };
    const merge = () => recordMerge(BOARD, it.state(), record);
    const all = BOARD.wps.map(({ wp_id }) => wp_id);
    expect(it.apply(merge)).toEqual({ merged_wps: all });
    const before = it.events.length;
    expect(it.apply(merge)).toEqual({ merged_wps: all });
    expect(it.events).toHaveLength(before);
    expect(viewOf(BOARD, it.state()).every(({ lane }) => lane === 'done')).toBe(true);
  });

  test('a subtask is marked once', () => {
    const it = script();
    const mark = (done: boolean) =>
      markSubtask(BOARD, it.state(), { wpId: 'WP01', subtask: 'T001', done, actor: 'a' });
    expect(it.apply(() => mark(true))).toEqual({ changed: true });
    expect(it.apply(() => mark(true))).toEqual({ changed: false });
    expect(it.state().subtasks.get('T001')?.value.done).toBe(true);
  });
});
