import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { compileGate } from '#libs/missions';
import { expect, test } from 'vitest';
import { checkedBodies, faultOfBody } from './dossier-outgoing.ts';

type Shape = { body_sync: { required_fields: string[]; forbidden_fields: string[] } };

function gateOf(change: (shape: Shape) => void) {
  const file = join(import.meta.dirname, '../../libs/missionlog/upstream-3.0.0-shape.json');
  const shape = JSON.parse(readFileSync(file, 'utf8')) as Shape;
  change(shape);
  return compileGate(shape);
}
const row = (mission_slug: string, more: object = {}) => ({
  project_uuid: '0b0f4b0e-7a57-4f5e-9b1a-3d3c52a1d001',
  mission_slug,
  target_branch: 'main',
  mission_type: 'software-dev',
  manifest_version: '1',
  ...more,
});

test('D.44 of a page, what the shape refuses by now is withheld with field, context and reason', () => {
  const rows = [row('064-a'), row('064-b', { artifact_path: 'spec.md', mission_key: 'x' })];
  const { shown, withheld } = checkedBodies(
    gateOf(() => undefined),
    rows,
  );
  expect(shown).toEqual([rows[0]]);
  expect(withheld).toEqual([
    {
      project_uuid: rows[0]?.project_uuid,
      mission_slug: '064-b',
      artifact_path: 'spec.md',
      field: 'mission_key',
      reason: expect.stringContaining('at http out: mission_key is forbidden'),
    },
  ]);
  const stricter = gateOf(({ body_sync }) => body_sync.required_fields.push('team'));
  expect(checkedBodies(stricter, rows)).toMatchObject({
    shown: [],
    withheld: [{ artifact_path: null, field: 'team' }, { field: 'mission_key' }],
  });
});

test('a list is not withheld for the content that it leaves out', () => {
  const nine = ['artifact_path', 'content_hash', 'hash_algorithm', 'content_body'];
  const gate = gateOf(({ body_sync }) => body_sync.required_fields.push(...nine));
  expect(faultOfBody(gate, row('064-a'))).toBeUndefined();
  expect(faultOfBody(gate, row('064-a', { content_hash: '' }))?.field).toBe('content_hash');
});
