import { expect, test } from 'vitest';
import { eventScript } from '#libs/testing';
import {
  createRun,
  type Decision,
  EMPTY_RUN,
  evolveRunAggregate,
  evolveTheater,
  integrated,
  passIntegration,
  type PlannedStep,
  planRun,
  replanRun,
  type RunAggregate,
  startIntegration,
} from './mod.ts';

const mission = {
  project_uuid: '3f2b8c1e-6f0a-4d7b-9a55-0c1d2e3f4a5b',
  mission_slug: '064-demo',
  wp_id: 'WP01',
  wp_event_id: 'e1',
  branch: 'kitty/mission-064-demo-lane-a',
};
const step = (key: string): PlannedStep => ({
  key,
  type: 'draft',
  objective: `do ${key}`,
  profile: { name: 'executor_default', model: 'local' },
  constraints: { budget_seconds: 60, max_retries: 1 },
  depends_on: [],
  prompt: { system: 's', files: [], task: 'draft' },
  outputs: [{ path: `outputs/${key}.md`, type: 'text/markdown' }],
  inputs: [],
  gate_profile: 'default',
});

test('a run of a work package names it on itself, on all its orders, and where they end up', () => {
  const script = eventScript();
  let agg: RunAggregate = EMPTY_RUN;
  const decide = (decision: Decision): void => {
    if (!decision.ok) throw decision.error;
    for (const event of script.append(...decision.events)) agg = evolveRunAggregate(agg, event);
  };
  const place = { runId: 'r1', theaterId: 'demo', garrisonId: 'g', userId: 'u' };
  decide(createRun(agg, { ...place, objective: 'Do WP01', autopilot: true, mission }));
  decide(planRun(agg, [step('a')], { reply: [] }));
  decide(replanRun(agg, [step('b')], { reason: 'more', planOrderId: 'o' }));
  expect(agg.run?.mission).toEqual(mission);
  const orders = [...agg.orders.values()];
  expect(orders.map((order) => order.mission)).toEqual([mission, mission]);
  const now = () => [...agg.orders.values()][0] ?? orders[0];
  const first = () => {
    const order = now();
    if (order === undefined) throw new Error('no order');
    return { ...order, status: 'COMPLETED' as const };
  };
  decide(startIntegration(first(), { gateProfile: 'default' }));
  decide(passIntegration(first(), { headSha: 'a'.repeat(40), gates: [] }));
  decide(integrated(first(), { commitSha: 'b'.repeat(40), mainline: mission.branch }));
  const told = script.events.at(-1);
  expect(told).toMatchObject({
    type: 'INTEGRATED',
    payload: { mission, mainline: mission.branch },
  });
  // The theater's mainline has not moved.
  if (told === undefined) throw new Error('no event');
  expect(evolveTheater(undefined, told).head_sha).toBeNull();
  const { mission: _mission, ...payload } = told.payload as { mission: unknown };
  expect(evolveTheater(undefined, { ...told, payload } as typeof told).head_sha).not.toBeNull();
});
