import { sentMilestoneEvent, type StoredEvent } from '#libs/contracts';
import { arbitraryLedger } from '#libs/testing';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MILESTONE_EVENTS, MILESTONE_KINDS, milestoneOf } from './milestones.ts';

const base = {
  seq: 7,
  event_id: 'e1',
  ts: '2026-03-01T10:00:00.000Z',
  garrison_id: 'g',
  theater_id: 't',
  run_id: 'r1',
  order_id: null,
  unit_id: null,
};
const event = (type: string, payload: object, over: object = {}): StoredEvent =>
  ({ ...base, ...over, type, payload }) as unknown as StoredEvent;
const SHA = 'a'.repeat(40);

describe('an event of ours as a milestone', () => {
  test('a completed run shows its artifacts and their commits', () => {
    const artifacts = [{ order_id: 'o1', path: 'outputs/r1/brief.md', commit_sha: SHA }];
    const told = milestoneOf(event('RUN_COMPLETED', { artifacts, duration_ms: 3_100 }), ['run']);
    expect(told).toMatchObject({
      milestoneId: 'run.completed.r1',
      timestampUtc: base.ts,
      riskStatus: 'completed',
      source: 'orchestrator',
      evidence: [
        { type: 'log', path: 'led.v1.g.t.r1._', ref: 'LEDGER:7' },
        { type: 'doc', path: 'outputs/r1/brief.md', ref: SHA },
      ],
    });
    expect(told?.claim).toContain('1 artifacts');
  });

  test('an integrated order shows the merge commit', () => {
    const payload = { attempt: 2, commit_sha: SHA, mainline: 'main' };
    const told = milestoneOf(event('INTEGRATED', payload, { order_id: 'o1' }), ['integration']);
    expect(told).toMatchObject({
      milestoneId: 'integration.passed.o1.2',
      evidence: [{ type: 'log' }, { type: 'commit', path: 'main', ref: SHA }],
    });
  });

  test('an escalation blocks or is a risk, by its severity', () => {
    const raised = (severity: string) =>
      milestoneOf(event('ESCALATION_RAISED', { escalation_id: 'x', severity }), ['escalation']);
    expect(raised('CRITICAL')?.riskStatus).toBe('blocked');
    expect(raised('LOW')?.riskStatus).toBe('at-risk');
    expect(raised('LOW')?.evidence[1]).toMatchObject({ type: 'issue', path: 'escalations/x' });
  });

  test('text of others is one line, cut, without control characters', () => {
    const objective = `a\n\u001b[31mb${'x'.repeat(500)}`;
    const { claim = '' } = milestoneOf(event('RUN_CREATED', { objective }), ['run']) ?? {};
    expect(claim).not.toMatch(/\p{Cc}/u);
    expect(claim.length).toBeLessThan(300);
  });

  test('is told only where its kind is asked for', () => {
    expect(milestoneOf(event('RUN_CREATED', {}), ['integration', 'escalation'])).toBeUndefined();
    expect(milestoneOf(event('RUN_CREATED', {}), ['none'])).toBeUndefined();
    expect(milestoneOf(event('ORDER_STARTED', {}), MILESTONE_KINDS)).toBeUndefined();
  });

  test('whatever is in it, is taken by the strict schema, and is the same each time', () => {
    let told = 0;
    fc.assert(
      fc.property(arbitraryLedger(), (events) => {
        for (const one of events) {
          const milestone = milestoneOf(one, MILESTONE_KINDS);
          expect(milestone !== undefined).toBe(MILESTONE_EVENTS.includes(one.type));
          if (milestone === undefined) continue;
          told += 1;
          expect(sentMilestoneEvent.parse(milestone)).toEqual(milestone);
          expect(milestoneOf(one, MILESTONE_KINDS)).toEqual(milestone);
        }
      }),
    );
    expect(told).toBeGreaterThan(0);
  });
});
