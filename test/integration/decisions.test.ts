import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { API } from '#libs/contracts';
import { waitFor } from '#libs/testing';
import { type Commanding, playbook, startCommanding, step } from './commanding.ts';

// Issue B, 8: a person decides; the wait survives restarts and can time out.

const BOOKS = [
  playbook('approved', [
    step('first', { approval: true }),
    step('second', { depends_on: ['first'] }),
  ]),
  playbook('asking', [step('only', { ask: true })]),
  playbook('plain', [step('only')]),
];
const BY = { by: 'ana' };

describe('decisions of people', () => {
  let it: Commanding;
  beforeAll(async () => {
    it = await startCommanding({ playbooks: BOOKS });
  });
  afterAll(() => it?.[Symbol.asyncDispose]());

  const decide = (word: 'approve' | 'deny', escalation_id: string, note = 'because') =>
    it.client.call(API.gateway[word], { escalation_id, ...BY, note });

  test('a result waits for approval before it is integrated', async () => {
    const run = await it.run({ playbook: 'approved' });
    await it.work(run, 'first');
    const { escalation_id, order_id, route, reason } = await it.question(run);
    expect(route).toBe('operator');
    expect(reason).toContain('approval');
    const order = await it.order(run, 'first', ({ integration }) => integration !== null);
    expect(order).toMatchObject({ order_id, integration: { state: 'READY' } });
    const integrate = { theater_id: order.theater_id as string, order_id: order_id as string };
    await expect(it.client.call(API.integration.integrate, integrate)).rejects.toMatchObject({
      code: 'ILLEGAL_TRANSITION',
    });
    const given = await decide('approve', escalation_id as string);
    expect(given).toEqual({ escalation_id, decision: 'approve' });
    expect(await decide('approve', escalation_id as string)).toEqual(given);
    await expect(decide('deny', escalation_id as string)).rejects.toMatchObject({
      code: 'ILLEGAL_TRANSITION',
    });
    await it.work(run, 'second');
    expect(await it.end(run)).toMatchObject({ status: 'COMPLETE' });
    const types = await it.types(run);
    expect(types.filter((type) => type === 'DECISION_GIVEN')).toHaveLength(1);
    expect(types.indexOf('DECISION_GIVEN')).toBeLessThan(types.indexOf('INTEGRATED'));
  });

  test('a denial ends the run with its note', async () => {
    const run = await it.run({ playbook: 'approved' });
    await it.work(run, 'first');
    const { escalation_id } = await it.question(run);
    await decide('deny', escalation_id as string, 'the tone is wrong');
    const ended = await it.end(run);
    expect(ended.status).toBe('FAILED');
    expect(ended.reason).toContain('the tone is wrong');
    expect(await it.types(run)).not.toContain('INTEGRATED');
  });

  test('a denial without a note is refused', async () => {
    const input = { escalation_id: 'x', ...BY } as never;
    await expect(it.client.call(API.co.deny, input)).rejects.toMatchObject({
      code: 'INVALID_REQUEST',
      field: 'note',
    });
  });

  test.each(['block', 'fail'] as const)('after %s a person lets it go on', async (how) => {
    const run = await it.run({ playbook: 'asking' });
    if (how === 'block') await it.block(run, 'only', 'which quarter is meant?');
    else await it.fail(run, 'only');
    const { escalation_id, reason } = await it.question(run);
    expect(reason).toContain(how === 'block' ? 'which quarter is meant?' : 'MODEL_ERROR');
    expect(await it.runView(run)).toMatchObject({ status: 'OPEN' });
    await decide('approve', escalation_id as string);
    await it.work(run, 'only', 'done after all', 2);
    expect(await it.end(run)).toMatchObject({ status: 'COMPLETE' });
  });

  test('nobody is asked where the playbook does not say so: the operator is told', async () => {
    const run = await it.run({ playbook: 'plain' });
    await it.block(run, 'only', 'the door is shut');
    const ended = await it.end(run);
    expect(ended.reason).toContain('the door is shut');
    const types = await it.types(run);
    expect(types.filter((type) => type === 'ESCALATION_RAISED')).toHaveLength(1);
    expect(types).toContain('ORDER_CANCELLED');
  });

  test('a setting of the run asks too; no answer in time fails it', async () => {
    const settings = { ask: true, decision_seconds: 1 };
    const run = await it.run({ playbook: 'plain', settings });
    await it.block(run, 'only', 'the door is shut');
    const { escalation_id } = await it.question(run);
    const ended = await it.end(run);
    expect(ended).toMatchObject({ status: 'FAILED' });
    expect(ended.reason).toContain('nobody decided');
    await expect(decide('approve', escalation_id as string)).rejects.toMatchObject({
      code: 'ILLEGAL_TRANSITION',
    });
  });

  test('an escalation is acknowledged once; one that asks nothing cannot be decided', async () => {
    const run = await it.run({ playbook: 'plain' });
    await it.block(run, 'only', 'shut');
    await it.end(run);
    const at_least = await it.system.tail();
    const { escalations } = await it.client.call(API.gateway.escalations, {
      run_id: run,
      at_least,
    });
    const escalation_id = escalations[0]?.escalation_id as string;
    for (let round = 0; round < 2; round += 1) {
      const acked = await it.client.call(API.gateway.ackEscalation, { escalation_id, ...BY });
      expect(acked).toEqual({ escalation_id, acked: true });
    }
    const types = await it.types(run);
    expect(types.filter((type) => type === 'ESCALATION_ACKED')).toHaveLength(1);
    await expect(decide('approve', escalation_id)).rejects.toMatchObject({
      code: 'ILLEGAL_TRANSITION',
    });
    await expect(decide('approve', 'nobody_raised_it')).rejects.toMatchObject({
      code: 'ESCALATION_NOT_FOUND',
    });
  });

  test('twenty decisions at once are one', async () => {
    const run = await it.run({ playbook: 'approved' });
    await it.work(run, 'first');
    const { escalation_id } = await it.question(run);
    const words = Array.from(
      { length: 20 },
      (_, i) => (['approve', 'deny'] as const)[(i % 2) as 0 | 1],
    );
    const answers = await Promise.allSettled(words.map((w) => decide(w, escalation_id as string)));
    const at_least = await it.system.tail();
    const seen = await it.client.call(API.ledger.escalations, { run_id: run, at_least });
    const decision = seen.escalations.find((one) => one.escalation_id === escalation_id)?.decision;
    for (const [index, answer] of answers.entries()) {
      expect(answer.status).toBe(words[index] === decision ? 'fulfilled' : 'rejected');
    }
    const types = await it.types(run);
    expect(types.filter((type) => type === 'DECISION_GIVEN')).toHaveLength(1);
  });
});

describe('a wait survives', () => {
  test('the end of the commanding officer and of the broker', async () => {
    await using it = await startCommanding({ playbooks: BOOKS, apart: true });
    const approved = await it.run({ playbook: 'approved' });
    await it.work(approved, 'first');
    const { escalation_id } = await it.question(approved);
    const late = await it.run({ playbook: 'asking', settings: { decision_seconds: 4 } });
    await it.block(late, 'only', 'what now?');
    await it.question(late);
    await it.system.process('co').kill();
    await it.system.testBroker.kill();
    await it.system.testBroker.restart();
    await it.system.process('co').restart();
    const input = { escalation_id: escalation_id as string, ...BY };
    await waitFor(() => it.client.call(API.co.approve, input), { timeoutMs: 30_000 });
    await it.work(approved, 'second');
    expect(await it.end(approved)).toMatchObject({ status: 'COMPLETE' });
    expect((await it.end(late)).reason).toContain('nobody decided');
  }, 120_000);
});
