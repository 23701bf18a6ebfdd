import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { loadGate } from '#libs/missionlog';
import { checkedPage } from './outgoing.ts';

const SHIPPED = new URL('../../libs/missionlog/upstream-3.0.0-shape.json', import.meta.url);
const mission = { mission_slug: 'm', mission_number: '1', mission_type: 'research' };
const event = {
  event_id: '01ARZ3NDEKTSV4RRFFQ69G5FAV',
  event_type: 'MissionCreated',
  aggregate_id: 'm',
  aggregate_type: 'Mission',
  schema_version: '3.0.0',
  build_id: 'b',
  node_id: 'n',
  lamport_clock: 1,
  timestamp: '2026-04-06T05:39:39Z',
  payload: mission,
};

test('D.44 what the shape refuses now does not go out, whatever was kept before', () => {
  const folder = mkdtempSync(join(tmpdir(), 'ironclaw-outgoing-'));
  try {
    const page = [
      { seq: 1, event },
      { seq: 2, event: { ...event, x: 1 } },
    ];
    expect(checkedPage(loadGate(), page)).toEqual({ history: page, withheld: [] });
    const shape = JSON.parse(readFileSync(SHIPPED, 'utf8')) as {
      envelope: { required_fields: string[] };
    };
    shape.envelope.required_fields.push('x');
    const file = join(folder, 'shape.json');
    writeFileSync(file, JSON.stringify(shape));
    const { history, withheld } = checkedPage(loadGate({ IRONCLAW_CONTRACT_SHAPE: file }), page);
    expect(history.map(({ seq }) => seq)).toEqual([2]);
    const reason = expect.stringContaining('http out: x is required');
    expect(withheld).toEqual([{ seq: 1, field: 'x', reason }]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
