import { expect, test } from 'vitest';
import type { StoredEvent } from '#libs/contracts';
import { eventScript } from '#libs/testing';
import { evolveEscalation, listEscalations } from './escalations.ts';
import { countAll } from './lists.ts';
import { testFolder, viewsOf } from './testdata/open.ts';

function story(): readonly StoredEvent[] {
  const script = eventScript();
  const raise = (escalation_id: string, theater_id: string | null) =>
    script.add('ESCALATION_RAISED', { escalation_id, severity: 'HIGH' }, { theater_id });
  script.add('ESCALATION_ACKED', { escalation_id: 'never-raised' });
  raise('seen', 'demo');
  raise('waits', 'demo');
  raise('approved', 'other');
  script.add('ESCALATION_ACKED', { escalation_id: 'seen', by: 'ana' });
  script.add('ESCALATION_ACKED', { escalation_id: 'approved', by: 'ana' });
  script.add('DECISION_GIVEN', { escalation_id: 'approved', decision: 'approve', by: 'ben' });
  script.add('DECISION_GIVEN', { escalation_id: 'approved', decision: 'deny', by: 'late' });
  raise('seen', 'demo');
  script.add('ORDER_STARTED', {}, { order_id: 'o1' });
  script.add('ORDER_COMPLETED', {}, { order_id: 'o2', theater_id: 'other', run_id: 'r2' });
  return script.events;
}

test('escalations are open, seen or decided; the first word counts', async () => {
  await using folder = await testFolder();
  const views = await viewsOf(folder.path, story());
  const ids = (filter: Partial<Parameters<typeof listEscalations>[1]>): string[] =>
    views
      .read((reader) => listEscalations(reader, { limit: 10, ...filter }))
      .escalations.map(({ escalation_id }) => escalation_id);
  expect(ids({})).toEqual(['approved', 'waits', 'seen']);
  expect(ids({ state: 'open' })).toEqual(['waits']);
  expect(ids({ state: 'acked' })).toEqual(['seen']);
  expect(ids({ state: 'decided' })).toEqual(['approved']);
  expect(ids({ theater_id: 'demo' })).toEqual(['waits', 'seen']);
  expect(ids({ theater_id: 'demo', state: 'open' })).toEqual(['waits']);
  const first = views.read((reader) => listEscalations(reader, { limit: 1 }));
  expect(first.escalations).toMatchObject([
    { escalation_id: 'approved', decision: 'approve', decided_by: 'ben', acked_by: 'ana' },
  ]);
  expect(ids({ cursor: first.next_cursor ?? '' })).toEqual(['waits', 'seen']);
  await views.close();
});

test('stats count runs and orders by status, of one theater or of all', async () => {
  await using folder = await testFolder();
  const views = await viewsOf(folder.path, story());
  expect(views.read((reader) => countAll(reader, undefined))).toEqual({
    runs: { OPEN: 2 },
    orders: { COMPLETED: 1, RUNNING: 1 },
  });
  expect(views.read((reader) => countAll(reader, 'other')).orders).toEqual({ COMPLETED: 1 });
  expect(views.read((reader) => countAll(reader, 'absent'))).toEqual({ runs: {}, orders: {} });
  await views.close();
});

test('an escalation without an id of its own is named by its event', () => {
  const script = eventScript();
  const raised = script.add('ESCALATION_RAISED', {});
  expect(evolveEscalation(undefined, raised)).toMatchObject({
    escalation_id: raised.event_id,
    severity: 'MEDIUM',
    decision: null,
  });
});
