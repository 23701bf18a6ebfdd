import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  initialState,
  type MissionState,
  parsePolicy,
  type WorkPackageState,
} from '#libs/missions';
import {
  boardOfState,
  IMPLEMENTER,
  ownPolicy,
  REVIEWER,
  type RunSettings,
  stepsOf,
  verdictOf,
} from './run-rules.ts';

const SETTINGS: RunSettings = {
  active: true,
  review: 'unit',
  merge: 'merge',
  theater_id: null,
  playbook: null,
  merge_attempt: 1,
};

function wp(more: Partial<WorkPackageState>): WorkPackageState {
  return {
    wp_id: 'WP01',
    lane: 'planned',
    actor: null,
    last_transition_at: null,
    last_event_id: null,
    transitions: 0,
    forced: 0,
    order: [2, 0, 'n', 'e'],
    created: undefined,
    resolved: new Set(),
    ...more,
  };
}
function stateOf(...wps: WorkPackageState[]): MissionState {
  const value = { mission_slug: 'm', mission_number: '1', mission_type: 't', target_branch: null };
  return {
    ...initialState,
    created: { order: [1, 0, 'n', 'e'], value },
    wps: new Map(wps.map((one) => [one.wp_id, one])),
  };
}
function kindsOf(state: MissionState, settings: Partial<RunSettings> = {}): string[] {
  const board = boardOfState(state);
  if (board === undefined) return [];
  return stepsOf(board, state, { ...SETTINGS, ...settings }).map(({ kind }) => kind);
}

test.each<[Partial<WorkPackageState>, string[]]>([
  [{}, ['start']],
  [{ lane: 'claimed', actor: IMPLEMENTER }, ['start']],
  [{ lane: 'claimed', actor: 'alice' }, []],
  [{ lane: 'in_progress', actor: IMPLEMENTER }, ['implement']],
  [{ lane: 'in_progress', actor: REVIEWER }, ['implement']],
  [{ lane: 'in_progress', actor: 'alice' }, []],
  [{ lane: 'for_review', actor: IMPLEMENTER }, ['start review']],
  [{ lane: 'for_review', actor: 'alice' }, []],
  [{ lane: 'in_review', actor: REVIEWER }, ['review']],
  [{ lane: 'in_review', actor: 'bob' }, []],
  [{ lane: 'approved', actor: REVIEWER }, ['accept']],
  [{ lane: 'canceled', actor: 'alice' }, []],
  [{ lane: 'blocked', actor: IMPLEMENTER }, []],
])('%j asks for %j; what others have claimed is theirs', (given, kinds) => {
  expect(kindsOf(stateOf(wp(given)))).toEqual(kinds);
  expect(kindsOf(stateOf(wp(given)), { active: false })).toEqual([]);
});

test('reviews that are left to people are neither claimed nor done', () => {
  for (const lane of ['for_review', 'in_review'] as const) {
    for (const actor of [IMPLEMENTER, REVIEWER]) {
      expect(kindsOf(stateOf(wp({ lane, actor })), { review: 'person' })).toEqual([]);
    }
  }
});

test('a dependency holds back, also one that is not there', () => {
  const created = {
    order: [1, 0, 'n', 'e'] as const,
    value: { title: 'Two', dependencies: ['WP01'] },
  };
  const two = wp({ wp_id: 'WP02', created });
  expect(kindsOf(stateOf(two))).toEqual([]);
  expect(kindsOf(stateOf(wp({ lane: 'approved' }), two))).toEqual(['start']);
  expect(boardOfState(initialState)).toBeUndefined();
});

test('a verdict is one word on a line of its own, whatever stands around it', () => {
  expect(verdictOf('VERDICT: approved')).toBe('approved');
  expect(verdictOf('# Review\n\n**Verdict:** Changes_Requested\nbecause')).toBe(
    'changes_requested',
  );
  expect(verdictOf('VERDICT: approved\nVERDICT: changes_requested')).toBeUndefined();
  expect(verdictOf('it would be VERDICT: approved')).toBeUndefined();
  expect(verdictOf('VERDICT: approvedly')).toBeUndefined();
  fc.assert(
    fc.property(
      fc.string().map((text) => text.replaceAll(/verdict/gi, '')),
      (text) => {
        expect(verdictOf(text)).toBeUndefined();
      },
    ),
  );
});

test('the own policy passes what is asked of the policies of others', () => {
  const policy = ownPolicy('1.0.0');
  expect(parsePolicy(JSON.stringify(policy), 'a run')).toEqual({ ok: true, value: policy });
});
