import type { Role } from '#libs/contracts';
import { waitFor as waitBriefly } from '#libs/testing';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startSystem, type System } from './harness.ts';
import { importHarbour, REASON } from './projects.ts';
import * as theaters from './theaters.ts';
import { aarOf, commit, type OpenWorktree } from './theaters.ts';
import { type Answer, type Data, err, ok } from './wire.ts';

// Governance meets execution (point 6 of the issue): the integration gate, signs of life, advisory drafts.

let system: System;
/** Starts a system for the tests of one block. */
function useSystem(...roles: Role[]): void {
  beforeAll(async () => {
    const env = { IRONCLAW_GATE_PROFILE: 'governed' };
    system = await startSystem({
      roles: [...roles, 'ledger', 'vault', 'integration', 'projects'],
      env,
    });
  });
  afterAll(() => system?.[Symbol.asyncDispose]());
}

/** The machine may be busy. */
const waitFor = <T>(check: () => Promise<T>) => waitBriefly(check, { timeoutMs: 30_000 });
const call = (name: string, input: Data): Promise<Answer> => system.call('http', name, input);
const projectOf = async (project_id: string): Promise<Data> =>
  ok(await call('projects.get', { project_id })).document as Data;

async function decideGo(project_id: string): Promise<void> {
  const waiver = { project_id, artifact_id: 'art-a', rationale: REASON };
  ok(await call('projects.apply-waiver', waiver));
  ok(await call('projects.decide-gate', { project_id, phase_id: '1', decision: 'go' }));
}

/** An order that names a phase, with this file committed. */
async function governedOrder(governance: Data | undefined, files: Data): Promise<OpenWorktree> {
  const tree = await theaters.openWorktree(system, await theaters.openTheater(system));
  const { theater_id, order_id } = tree;
  const profile = { name: 'writer.v1', model: 'none' };
  const payload = { profile, ...(governance && { governance }) };
  const at = { theater_id, order_id };
  const events = [
    { ...at, type: 'ORDER_CREATED', payload },
    { ...at, type: 'ORDER_STARTED', payload: { attempt: 1 } },
    { ...at, type: 'ORDER_COMPLETED', payload: { attempt: 1 } },
  ];
  ok(await system.call('nats', 'ledger.append-batch', { events }));
  await commit(tree.tree, { ...files, 'aar.json': aarOf(order_id, []) });
  return tree;
}
const integrate = ({ theater_id, order_id }: OpenWorktree): Promise<Answer> =>
  call('integration.integrate', { theater_id, order_id, gate_profile: 'governed' });

describe('E an order that names a phase', () => {
  useSystem();

  test('E execution: passes its gate only after a go; its file becomes a draft, never a change', async () => {
    const { id: project_id } = await importHarbour(system);
    const artifacts = { 'outputs/plan.md': 'art-a', 'outputs/none.md': 'art-a' };
    const governance = { project_id, phase_id: '1', artifacts };
    const order = await governedOrder(governance, { 'outputs/plan.md': 'Berths one to four.' });
    const refused = err(await integrate(order), 'GATE_FAILED', 409);
    expect(refused.details?.gate).toBe('governance');
    expect(refused.message).toContain('is not decided go but pending');
    await decideGo(project_id);
    const { gates } = ok(await integrate(order));
    expect(gates).toContainEqual(expect.objectContaining({ gate: 'governance', passed: true }));
    const document = await waitFor(async () => {
      const read = await projectOf(project_id);
      return read.openclaw.advisoryDrafts['art-a'] === undefined ? undefined : read;
    });
    expect(document.openclaw.advisoryDrafts['art-a']).toMatchObject({
      draft_id: order.order_id,
      agent_id: 'writer_v1',
      content: { rationale: 'Berths one to four.' },
    });
    expect(document.openclaw.linkedAgentIds).toEqual(['writer_v1']);
    expect(document.phases[0].artifacts[0].rationale).toBe('');
    const draft = { project_id, artifact_id: 'art-a', draft_id: order.order_id, actor_id: 'kim' };
    ok(await call('projects.accept-draft', draft));
    const accepted = await projectOf(project_id);
    expect(accepted.phases[0].artifacts[0].rationale).toBe('Berths one to four.');
  });

  test('E execution: a reopened or a no-go gate lets nothing through, nor does an unknown phase', async () => {
    const { id: project_id } = await importHarbour(system);
    await decideGo(project_id);
    const order = await governedOrder({ project_id, phase_id: '1' }, { a: 'x' });
    const phase = { project_id, phase_id: '1' };
    ok(await call('projects.reopen-gate', { ...phase, reason: 'Not so fast.' }));
    err(await integrate(order), 'GATE_FAILED', 409);
    ok(await call('projects.decide-gate', { ...phase, decision: 'no-go' }));
    expect(err(await integrate(order), 'GATE_FAILED', 409).message).toContain('no-go');
    for (const governance of [
      { project_id, phase_id: '77' },
      { project_id: 'ghost', phase_id: '1' },
      undefined,
    ]) {
      const lost = await governedOrder(governance, { a: 'x' });
      expect(err(await integrate(lost), 'GATE_FAILED', 409).details?.gate).toBe('governance');
    }
  });
});

describe('E a run that names a phase', () => {
  useSystem('co', 'worker', 'observer', 'gateway');

  test('E execution: its orders wait for the go; their units are the signs of life of its agent', async () => {
    const { id: project_id } = await importHarbour(system);
    const { theater_id } = await theaters.openTheater(system);
    const governance = { project_id, phase_id: '1' };
    const chat = {
      message: 'Write a short note on what an event log is',
      theater_hint: theater_id,
      mode: 'async',
      governance,
    };
    const { run_id } = ok(await call('gateway.chat', chat));
    const failed = await waitFor(async () => {
      const events = await system.eventsOf({ run_id });
      return events.find(({ type }) => type === 'INTEGRATION_FAILED');
    });
    expect(failed.payload).toMatchObject({ gate: 'governance' });
    const document = await waitFor(async () => {
      const read = await projectOf(project_id);
      return read.openclaw.lastAgentHeartbeat === null ? undefined : read;
    });
    expect(document.openclaw.linkedAgentIds).toHaveLength(1);
    expect(document.lastModified).toBe('2026-01-02T03:04:05.006Z');
    const other = { ...chat, governance: { project_id: 'bad id', phase_id: '1' } };
    err(await call('gateway.chat', other), 'INVALID_REQUEST', 400);
  });

  test('E execution: after the go a run comes to its end, and its file to a draft', async () => {
    const { id: project_id } = await importHarbour(system);
    await decideGo(project_id);
    const { theater_id } = await theaters.openTheater(system);
    const { run_id } = ok(
      await call('co.create-run', {
        objective: 'Write a short note on what an event log is',
        theater_hint: theater_id,
        autopilot: true,
        governance: {
          project_id,
          phase_id: '1',
          artifacts: { 'outputs/{{run_id}}/model_output.txt': 'art-a' },
        },
      }),
      201,
    );
    const end = await waitFor(async () => {
      const events = await system.eventsOf({ run_id });
      return events.find(({ type }) => type === 'RUN_COMPLETED' || type === 'RUN_FAILED');
    });
    expect(end.type).toBe('RUN_COMPLETED');
    const passed = (await system.eventsOf({ run_id })).filter(
      ({ type }) => type === 'INTEGRATION_PASSED',
    );
    for (const { payload } of passed) {
      const gates = payload.gates as Data[];
      expect(gates.find(({ gate }) => gate === 'governance')).toMatchObject({ passed: true });
    }
    const draft = await waitFor(async () => {
      const { openclaw } = await projectOf(project_id);
      return openclaw.advisoryDrafts['art-a'] as Data | undefined;
    });
    expect(draft.content.rationale).not.toBe('');
  });
});
