import type { MissionEnvelope } from '#libs/contracts';
import type { Board } from '../board.ts';
import type { Decided } from '../decide.ts';
import { toEnvelopes } from '../envelope.ts';
import type { Lane } from '../lanes.ts';
import type { Result } from '../result.ts';
import { fold, initialState, type MissionState } from '../state.ts';

export const POLICY = {
  orchestrator_id: 'orch',
  orchestrator_version: '0.1.3',
  agent_family: 'fake',
  approval_mode: 'supervised',
  sandbox_mode: 'workspace_write',
  network_mode: 'none',
  dangerous_flags: [] as string[],
  tool_restrictions: null,
};

export const BOARD: Board = {
  identity: { mission_slug: '064-demo', mission_number: '064', mission_type: 'software-dev' },
  targetBranch: 'main',
  wps: [
    { wp_id: 'WP01', title: 'One', dependencies: [] },
    { wp_id: 'WP02', title: 'Two', dependencies: ['WP01'] },
    { wp_id: 'WP03', title: 'Three', dependencies: ['WP02', 'WP04'] },
    { wp_id: 'WP04', title: 'Four', dependencies: [] },
    { wp_id: 'WP05', title: 'Five', dependencies: ['WP99'] },
  ],
};

export const EMITTER = {
  projectUuid: '5f0c4b52-0000-4000-8000-000000000001',
  nodeId: 'a1b2c3d4e5f6',
  buildId: '5f0c4b52-0000-4000-8000-000000000002',
};

export const REVIEW = { reviewer: 'rev', verdict: 'approved', reference: 'r/1' };

/** A mission in memory: decisions are applied at once, ids and times count up. */
export function script(board: Board = BOARD) {
  let state = initialState;
  let count = 0;
  const events: MissionEnvelope[] = [];
  const newId = (): string => {
    count += 1;
    return `01J${String(count).padStart(23, '0')}`;
  };
  const apply = <A>(decide: (board: Board, state: MissionState) => Result<Decided<A>>): A => {
    const decision = decide(board, state);
    if (!decision.ok) throw new Error(`${decision.error.code}: ${decision.error.message}`);
    const stamp = {
      newId,
      nowMs: 1_775_000_000_000,
      lamport: state.lamport,
      afterMs: state.lastMs,
    };
    const made = toEnvelopes(decision.value.events, board.identity, EMITTER, stamp);
    events.push(...made);
    state = fold(state, made);
    return decision.value.answer;
  };
  /** Puts a work package into a lane, by force. */
  const put = (wpId: string, lane: Lane, actor = 'impl'): void => {
    apply(() => ({
      ok: true,
      value: {
        answer: undefined,
        events: [
          {
            type: 'WPStatusChanged',
            wpId,
            payload: {
              wp_id: wpId,
              from_lane: state.wps.get(wpId)?.lane ?? 'planned',
              to_lane: lane,
              actor,
              force: true,
              reason: 'test',
            },
          },
        ],
      },
    }));
  };
  return { board, events, apply, put, state: () => state };
}
